package main

import (
	"fmt"
	"slices"
	"strings"
)

// section is written by hand in docs/man/src. Its form is small on purpose:
//
//	# HEADING
//	A paragraph; `words to type` are set bold.
//
//	- `term`: a line of a list of terms
//
//	    lines that are shown as they are
type section struct {
	heading string
	blocks  []block
}

type block struct {
	kind blockKind
	text string // lines joined by spaces, but for shown
	term string // of a term
}

type blockKind int

const (
	paragraph blockKind = iota
	term
	shown
)

// headings that may be written by hand, in the order of man-pages(7).
var headings = []string{"DESCRIPTION", "OPTIONS", "EXIT STATUS", "ENVIRONMENT", "FILES", "NOTES", "EXAMPLES", "SEE ALSO"}

func parseSections(text string) ([]section, error) {
	var list []section
	for part := range strings.SplitSeq("\n"+text, "\n# ") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		heading, body, _ := strings.Cut(part, "\n")
		if !slices.Contains(headings, heading) {
			return nil, fmt.Errorf("heading %q is none of %q", heading, headings)
		}
		s := section{heading: heading}
		for b := range strings.SplitSeq(strings.Trim(body, "\n"), "\n\n") {
			s.blocks = append(s.blocks, parseBlocks(b)...)
		}
		list = append(list, s)
	}
	return list, nil
}

// parseBlocks splits what stands between two empty lines: a list has a block for
// each of its terms.
func parseBlocks(text string) []block {
	if strings.HasPrefix(text, "    ") {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "    ")
		}
		return []block{{kind: shown, text: strings.Join(lines, "\n")}}
	}
	var list []block
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if item, ok := strings.CutPrefix(line, "- "); ok {
			name, rest, _ := strings.Cut(item, ": ")
			list = append(list, block{kind: term, term: name, text: rest})
		} else if len(list) == 0 {
			list = append(list, block{text: line})
		} else {
			list[len(list)-1].text += " " + line
		}
	}
	return list
}

// find gives the blocks under a heading.
func find(list []section, heading string) []block {
	for _, s := range list {
		if s.heading == heading {
			return s.blocks
		}
	}
	return nil
}
