package main

import (
	"fmt"
	"slices"
	"strings"
)

// Sizes in pixels.
const (
	width  = 1180
	left   = 70 // of the process's names
	row    = 15
	pad    = 8  // between processes
	head   = 40 // of title and scale
	letter = 5.6
)

// colours are readable on a light and on a dark page: GitHub shows an SVG as an image,
// whose media query the reader's browser answers.
const colours = `text{font:10px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600;font-size:14px}.g{stroke:#8c959f;stroke-opacity:.35}.in{fill:#fff}.e{stroke:#cf222e}
.rc{fill:#1f6feb}.shim{fill:#8250df}.init{fill:#1a7f37}.exec{fill:#1a7f37}.keeper{fill:#bf5b00}.wait{fill:#8c959f;fill-opacity:.25}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.in{fill:#fff}}`

// draw makes a picture of the run: a row for each depth of each lane of each process,
// time to the right, a red line where rc is done.
func draw(title string, r *run) string {
	end := r.took // of what is drawn: the shim has something left to do
	for _, s := range r.spans {
		end = max(end, s.to)
	}
	scale := float64(width-left-10) / end
	var b strings.Builder
	y := head
	for _, lane := range lanes(r) {
		if lane.first {
			y += pad
			fmt.Fprintf(&b, `<text x="0" y="%d">%s</text>`+"\n", y+11, lane.spans[0].process)
		}
		deepest := 0
		for _, s := range lane.spans {
			bar(&b, s, y, scale)
			deepest = max(deepest, s.depth)
		}
		y += (deepest + 1) * row
	}
	height := y + pad
	var top strings.Builder
	fmt.Fprintf(&top, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n<style>%s</style>\n", width, height, width, height, escape(title), colours)
	fmt.Fprintf(&top, `<text x="0" y="14" class="t">%s</text>`+"\n", escape(title))
	for ms := 0; float64(ms)*1000 < end; ms++ {
		x := left + float64(ms)*1000*scale
		fmt.Fprintf(&top, `<line class="g" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d">%d ms</text>`+"\n", x, x, head-8, height, x+2, head-10, ms)
	}
	x := left + r.took*scale
	fmt.Fprintf(&top, `<line class="e" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`+"\n", x, x, head-8, height)
	return top.String() + b.String() + "</svg>\n"
}

// bar draws one span, with its name where that fits; the pointer finds it elsewhere.
func bar(b *strings.Builder, s span, y int, scale float64) {
	x, w := left+s.from*scale, max((s.to-s.from)*scale, 0.6)
	class, name := s.process, s.name
	if s.waits {
		class, name = "wait", "waits: "+name
	}
	fmt.Fprintf(b, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s: %s, %.2f ms</title></rect>`,
		class, x, y+s.depth*row, max(w-0.5, 0.5), row-1, s.process, escape(name), (s.to-s.from)/1000)
	if room := int((w - 4) / letter); room >= 4 {
		if len(name) > room {
			name = name[:room-1] + "…"
		}
		inside := ` class="in"`
		if s.waits {
			inside = ""
		}
		fmt.Fprintf(b, `<text%s x="%.1f" y="%d">%s</text>`, inside, x+2, y+s.depth*row+11, escape(name))
	}
	b.WriteByte('\n')
}

type lane struct {
	spans []span
	first bool // of its process
}

// lanes are in the order in which the processes come to life.
func lanes(r *run) (list []lane) {
	for _, process := range []string{"rc", "keeper", "shim", "init", "exec"} {
		first := true
		for _, l := range []int{0, 1, 4} { // the kinds of internal/trace: aside is 1, apart 4
			spans := slices.DeleteFunc(slices.Clone(r.spans), func(s span) bool { return s.process != process || s.lane != l })
			if len(spans) > 0 {
				list = append(list, lane{spans, first})
				first = false
			}
		}
	}
	return list
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(s)
}
