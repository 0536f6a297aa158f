package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
)

// Between these lines README's figures are the bench's to write.
const (
	figuresBegin = "<!-- figures: written by make bench -->"
	figuresEnd   = "<!-- end of figures -->"
)

// figures are README's: the few that say it all, from the run that docs/benchmarks.md
// describes.
func (r *report) figures() string {
	var b strings.Builder
	of, _, _ := strings.Cut(strings.TrimPrefix(r.host, "Machine: "), " (")
	fmt.Fprintf(&b, "\n| on one machine of %s, in turns | rc | podman | rootless Docker | bubblewrap |\n|---|---:|---:|---:|---:|\n", of)
	for _, f := range []struct{ row, title, unit string }{
		{"start/default", "`run --rm IMAGE true`, default network", " ms"}, {"start/none", "the same, no network", " ms"},
		{parallelRow("default", 8), "starts a second, eight at a time", ""}, {"exec", "`exec NAME true`", " ms"},
		{"ps/many", fmt.Sprintf("`ps -a` of %d containers", r.o.containers), " ms"}, {"memory/default", "helpers' memory of an idle container", " KiB"},
	} {
		if r.get(f.row, rcTool) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s |", f.title)
		for _, tool := range []string{rcTool, podmanTool, dockerTool, bwrapTool} {
			if value := r.get(f.row, tool); value != 0 {
				fmt.Fprintf(&b, " %s%s |", short(value), f.unit)
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nbubblewrap has no image, no record and no network. All rows, with minima, commands and what was not reached: [docs/benchmarks.md](docs/benchmarks.md).\n\n")
	b.WriteString("![Milliseconds of single commands](docs/plots/start.svg)\n\n![Starts a second](docs/plots/parallel.svg)\n\n![Memory of helpers](docs/plots/memory.svg)\n")
	return b.String()
}

// rewrite puts text between the marks of a file. A file without marks is an error: nobody
// else's words are touched.
func rewrite(path, text string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := bytes.Cut(old, []byte(figuresBegin))
	_, after, closed := bytes.Cut(rest, []byte(figuresEnd))
	if !found || !closed {
		return fmt.Errorf("%s: no lines %q and %q to write figures between", path, figuresBegin, figuresEnd)
	}
	return os.WriteFile(path, fmt.Appendf(nil, "%s%s\n%s%s%s", before, figuresBegin, text, figuresEnd, after), 0o644)
}
