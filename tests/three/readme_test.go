package three

import (
	"os"
	"strings"
	"testing"
)

// heading begins the section of the README that is run here, as it stands there.
const heading = "## Three services on one network\n"

// section is that part of the README: what its reader types, block by block.
type section struct{ build, start, use, replace, remove string }

func readme(t *testing.T) section {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), heading)
	if !found {
		t.Fatalf("README.md has no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	blocks := blocks(rest)
	if len(blocks) != 5 {
		t.Fatalf("the section has %d blocks: build, start, use, replace and remove are wanted", len(blocks))
	}
	return section{blocks[0], blocks[1], blocks[2], blocks[3], blocks[4]}
}

// blocks are the fenced ones of a text, without the fences.
func blocks(text string) []string {
	var all []string
	for i, part := range strings.Split(text, "```") {
		if i%2 == 1 {
			_, body, _ := strings.Cut(part, "\n") // after the fence, the language
			all = append(all, body)
		}
	}
	return all
}

func TestBlocks(t *testing.T) {
	got := blocks("a\n```\none\ntwo\n```\nb\n```sh\nthree\n```\n")
	if len(got) != 2 || got[0] != "one\ntwo\n" || got[1] != "three\n" {
		t.Errorf("%q", got)
	}
	s := readme(t)
	for want, in := range map[string]string{"docs/examples/shop/build": s.build, "rc network create shop": s.start,
		"curl": s.use, "-v shop-data:/var/lib/mysql": s.replace, "rc network rm shop": s.remove} {
		if !strings.Contains(in, want) {
			t.Errorf("no %q in %q", want, in)
		}
	}
}
