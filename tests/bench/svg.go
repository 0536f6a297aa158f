package main

import (
	"encoding/xml"
	"fmt"
	"strings"
)

// bar is one figure of a plot.
type bar struct {
	label string // beside it
	tool  string // its colour
	value float64
	text  string // at its end
}

// group is bars under one heading; "" for none.
type group struct {
	heading string
	bars    []bar
}

// Sizes of a plot, in pixels at its natural size.
const (
	plotWidth  = 760
	labelWidth = 220
	endWidth   = 70 // for the text behind the longest bar
	barHeight  = 18
	barGap     = 6
	headHeight = 26
)

// style is readable on a light and on a dark page: GitHub shows an SVG as an image, whose
// media queries the reader's browser answers.
const style = `text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px } .heading { font-weight: 600 } .end { font-size: 12px }
.rc { fill: #1f6feb } .podman { fill: #8250df } .runc { fill: #b08fe8 } .docker { fill: #12857a } .bwrap { fill: #bf8700 } .clone { fill: #8c959f }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .rc { fill: #58a6ff } .podman { fill: #a98bf0 } .runc { fill: #c9b5f5 } .docker { fill: #3fb8a9 } .bwrap { fill: #d9a520 } .clone { fill: #8b949e } }`

var classes = map[string]string{rcTool: "rc", podmanTool: "podman", runcTool: "runc", dockerTool: "docker", bwrapTool: "bwrap", floorTool: "clone", cloneTool: "clone"}

// svg draws groups of horizontal bars, all to one scale that begins at nought. Groups and
// bars without figures are left out; without any there is no plot: "".
func svg(title string, groups []group) string {
	longest := 0.0
	for _, g := range groups {
		for _, b := range g.bars {
			longest = max(longest, b.value)
		}
	}
	if longest == 0 {
		return ""
	}
	var body strings.Builder
	y := 36
	text := func(x, y int, class, anchor, s string) {
		fmt.Fprintf(&body, `<text x="%d" y="%d" class="%s" text-anchor="%s">%s</text>`+"\n", x, y, class, anchor, escape(s))
	}
	text(0, 16, "title", "start", title)
	for _, g := range groups {
		drawn := 0
		for _, b := range g.bars {
			if b.value == 0 {
				continue
			}
			if drawn++; drawn == 1 && g.heading != "" {
				text(0, y+13, "heading", "start", g.heading)
				y += headHeight
			}
			wide := b.value / longest * (plotWidth - labelWidth - endWidth)
			text(labelWidth-8, y+13, "label", "end", b.label)
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" class="%s"/>`+"\n", labelWidth, y, max(wide, 1), barHeight, classes[b.tool])
			text(labelWidth+int(wide)+6, y+13, "end", "start", b.text)
			y += barHeight + barGap
		}
		if drawn > 0 && g.heading != "" {
			y += barGap
		}
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n<style>%s</style>\n%s</svg>\n",
		plotWidth, y, plotWidth, y, escape(title), style, body.String())
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
