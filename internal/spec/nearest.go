package spec

import (
	"strconv"
	"strings"
)

func quoted(s string) string { return strconv.Quote(s) }

// nearest returns the one of words that s is probably a misspelling of, "" when
// none is close: at most a third of the letters, rounded up, may differ (two
// letters swapped count twice).
func nearest(s string, words []string) string {
	if len(s) > 40 {
		return "" // no word is that long, and the work grows with its length
	}
	best, distance := "", (len(s)+2)/3+1
	for _, w := range words {
		if d := editDistance(s, w); d < distance {
			best, distance = w, d
		}
	}
	return best
}

// orNearest ends a refusal: "did you mean …", or the whole list.
func orNearest(s string, words []string, list string) string {
	if w := nearest(s, words); w != "" {
		return "did you mean " + w + "?"
	}
	return list
}

// editDistance is Levenshtein's, over bytes: names here are ASCII.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// words joins a list for a message: "a, b or c".
func words(list []string) string {
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	last := len(list) - 1
	return strings.Join(list[:last], ", ") + " or " + list[last]
}
