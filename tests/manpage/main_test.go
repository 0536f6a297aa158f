package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sample = `Do a thing.

Usage: rc thing [FLAGS] X

What it does, with a \ and a -flag.
.dotted line

Exit code: always 0.

Examples:
  rc thing 1

Flags:
      --help           print this help
  -v, --volume A:B     mount  it
      --pull WHEN      when … (default "missing")
`

func TestParse(t *testing.T) {
	p := parse(sample)
	if p.short != "Do a thing" || p.usage != "rc thing [FLAGS] X" || p.exit != "Exit code: always 0." || len(p.paragraphs) != 1 || len(p.examples) != 1 {
		t.Errorf("%+v", p)
	}
	if len(p.flags) != 3 || p.flags[1] != [2]string{"-v, --volume A:B", "mount  it"} {
		t.Errorf("%q", p.flags)
	}
	page := p.page("rc-thing")
	for _, want := range []string{".SH NAME\nrc\\-thing \\- do a thing\n", "with a \\e and a \\-flag.\n\\&.dotted line", ".B \\-v, \\-\\-volume A:B\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in:\n%s", want, page)
		}
	}
}

// docs/man is what the programs say, flag by flag.
func TestPagesAgreeWithHelp(t *testing.T) {
	bin := os.Getenv("RC_BIN")
	if bin == "" {
		t.Skip("RC_BIN is not set to the folder of rc's programs; `make test` sets it")
	}
	pages, err := generate(bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(pages) < 10 {
		t.Errorf("only %d pages", len(pages))
	}
	for name, text := range pages {
		have, err := os.ReadFile(filepath.Join("../../docs/man", name))
		if err != nil {
			t.Errorf("%v: run make man", err)
		} else if string(have) != text {
			t.Errorf("docs/man/%s is not what --help says: run make man", name)
		}
		if !strings.Contains(text, ".SH OPTIONS\n.TP") {
			t.Errorf("%s lists no flag", name)
		}
	}
	files, _ := filepath.Glob("../../docs/man/*.1")
	for _, f := range files {
		if pages[filepath.Base(f)] == "" {
			t.Errorf("%s is of no command", f)
		}
	}
}
