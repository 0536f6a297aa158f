package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const sample = `Do a thing.

Usage: rc thing [FLAGS] X

What it does, with a \ and a --flag.

Exit code: always 0.

Examples:
  rc thing 1

Flags:
      --help           print this help
  -v, --volume A:B     mount  it
      --pull WHEN      when … (default "missing")
      --filter A, B    both
`

func TestParseHelp(t *testing.T) {
	h, err := parseHelp("thing", sample)
	if err != nil {
		t.Fatal(err)
	}
	want := &help{name: "thing", short: "Do a thing", usage: "rc thing [FLAGS] X", long: `What it does, with a \ and a --flag.`,
		exit: "Exit code: always 0.", examples: []string{"rc thing 1"},
		flags: []flag{{"", "--help", "", "print this help"}, {"-v", "--volume", "A:B", "mount  it"}, {"", "--pull", "WHEN", `when … (default "missing")`}, {"", "--filter", "A, B", "both"}}}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("%+v", h)
	}
}

// Headings have one order, and nothing follows the flags: rc and rc-image alike.
func TestHelpOutOfOrder(t *testing.T) {
	for _, text := range []string{
		"", "Do a thing\n\nUsage: rc thing\n\nFlags:\n      --help   x\n", "Do.\n\nUsage:\n  rc thing\n\nFlags:\n      --help   x\n",
		"Do.\n\nUsage: rc thing\n\nFlags:\n      --help   x\n\nExamples:\n  rc thing\n", "Do.\n\nUsage: rc thing\n\nExamples:\n  rc\n\nMore.\n\nFlags:\n      --help   x\n",
		"Do.\n\nUsage: rc thing\n\nFlags:\n  help\n", "Do.\n\nUsage: rc thing\n\nExamples:\n  rc thing\n",
	} {
		if h, err := parseHelp("thing", text); err == nil {
			t.Errorf("%q: %+v", text, h)
		}
	}
}

func TestParseSections(t *testing.T) {
	have, err := parseSections("# NOTES\nOne\nline.\n\n- `a`: first\n  goes on\n- `b`: second\n\n    shown  as\n    is\n\n# FILES\nx\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []section{
		{"NOTES", []block{{text: "One line."}, {kind: term, term: "`a`", text: "first goes on"}, {kind: term, term: "`b`", text: "second"}, {kind: shown, text: "shown  as\nis"}}},
		{"FILES", []block{{text: "x"}}},
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("%+v", have)
	}
	if _, err := parseSections("# HISTORY\nlong ago"); err == nil {
		t.Error("an unknown heading is taken")
	}
}

func TestPage(t *testing.T) {
	h, err := parseHelp("thing", sample)
	if err != nil {
		t.Fatal(err)
	}
	hand, err := parseSections("# NOTES\n.dotted `rc-x -y`\n\n    .shown 'as' is\n\n# SEE ALSO\nother(1).\n")
	if err != nil {
		t.Fatal(err)
	}
	have := page(h, hand)
	for _, want := range []string{
		".TH RC-THING 1 ", ".SH NAME\nrc\\-thing \\- do a thing\n.SH SYNOPSIS\n\\fBrc thing\\fR [\\fIFLAGS\\fR] X\n",
		"What it does, with a \\e and a \\-\\-flag.\n.SH OPTIONS\n.TP\n\\fB\\-\\-help\\fR\nPrint this help.\n.TP\n\\fB\\-v\\fR, \\fB\\-\\-volume\\fR \\fIA:B\\fR\n",
		"When \\[u2026] (default \"missing\").\n.TP\n", "\nBoth.\n.SH EXIT STATUS\nAlways 0.\n", ".SH NOTES\n\\&.dotted \\fBrc\\-x \\-y\\fR\n", "\n\\&.shown \\(aqas\\(aq is\n",
		".SH EXAMPLES\n.RS 4\n.nf\nrc thing 1\n.fi\n.RE\n", ".SH SEE ALSO\n\\fBrc\\fR(1),\nother(1).\n",
	} {
		if !strings.Contains(have, want) {
			t.Errorf("no %q in:\n%s", want, have)
		}
	}
	if got := flagsOf(have); !reflect.DeepEqual(got, []string{"--help", "-v, --volume A:B", "--pull WHEN", "--filter A, B"}) {
		t.Errorf("%q", got)
	}
}

// The verb of a group has a page, too; a page that says nothing more leads to rc(1).
func TestVerbOfAGroup(t *testing.T) {
	h, err := parseHelp("thing ls", strings.ReplaceAll(sample, "rc thing", "rc thing ls"))
	if err != nil {
		t.Fatal(err)
	}
	have := page(h, nil)
	for _, want := range []string{".TH RC-THING-LS 1 ", ".SH NAME\nrc\\-thing\\-ls \\- do a thing\n", "\n\\fBrc thing ls\\fR [", ".SH SEE ALSO\n\\fBrc\\fR(1)\n"} {
		if !strings.Contains(have, want) {
			t.Errorf("no %q in:\n%s", want, have)
		}
	}
	overview, err := parseHelp("", "rc does.\n\nUsage: rc [FLAGS]\n\nCommands:\n  thing ls   List  things\n  x          Do x\n\nFlags:\n      --help   x\n")
	if err != nil || !reflect.DeepEqual(overview.list, [][2]string{{"thing ls", "List  things"}, {"x", "Do x"}}) {
		t.Errorf("%v %v", overview, err)
	}
	if have := page(overview, nil); !strings.Contains(have, "\\fBrc\\-thing\\-ls\\fR(1)") {
		t.Error(have)
	}
}

// make man from an rc that is not there, or says something else, fails and
// writes nothing.
func TestGenerateFails(t *testing.T) {
	dir := t.TempDir()
	if _, err := generate(dir, dir); err == nil {
		t.Error("no rc, and no error")
	}
	if err := os.WriteFile(filepath.Join(dir, "rc"), []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := generate(dir, dir); err == nil || !strings.Contains(err.Error(), "rc --help") {
		t.Errorf("%v", err)
	}
}
