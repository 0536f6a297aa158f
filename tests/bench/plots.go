package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plots writes the figures as pictures. A plot without figures is not written, and what
// an earlier run has left of it goes.
func (r *report) plots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var errs []error
	for name, text := range map[string]string{
		"start.svg": r.startPlot(), "parallel.svg": r.parallelPlot(), "memory.svg": r.memoryPlot(),
	} {
		path := filepath.Join(dir, name)
		if text == "" {
			if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, err)
			}
			continue
		}
		errs = append(errs, os.WriteFile(path, []byte(text), 0o644))
	}
	return errors.Join(errs...)
}

// bars are those of a row, one for each tool.
func (r *report) bars(row, unit string, tools ...string) (all []bar) {
	for _, tool := range tools {
		if value := r.get(row, tool); value != 0 {
			all = append(all, bar{titles[tool], tool, value, short(value) + unit})
		}
	}
	return all
}

func (r *report) startPlot() string {
	tools := []string{bwrapTool, rcTool, podmanTool, runcTool, dockerTool}
	return svg("Milliseconds, median: shorter is better", []group{
		{"run --rm IMAGE true, default network", r.bars("start/default", " ms", tools...)},
		{"the same without a network", r.bars("start/none", " ms", tools...)},
		{"exec NAME true", r.bars("exec", " ms", tools...)},
		{fmt.Sprintf("ps -a of %d containers", r.o.containers), r.bars("ps/many", " ms", tools...)},
	})
}

func (r *report) parallelPlot() string {
	var groups []group
	for _, width := range widths {
		groups = append(groups, group{fmt.Sprintf("%d at a time, default network", width), r.bars(parallelRow("default", width), " /s", rcTool, podmanTool, dockerTool)})
	}
	none := parallelRow("none", 8)
	return svg("Starts a second: longer is better", append(groups, group{"8 at a time, no network", r.bars(none, " /s", cloneTool, floorTool, bwrapTool, rcTool, podmanTool, dockerTool)}))
}

func (r *report) memoryPlot() string {
	var bars []bar
	for _, g := range r.weights {
		network := strings.TrimPrefix(g.row, "memory/")
		if network == "many" {
			network = fmt.Sprintf("default, %d of them", g.number)
		}
		each := g.total() * 1024 / float64(g.number)
		bars = append(bars, bar{titles[g.tool.name] + ", " + network, g.tool.name, each, short(each) + " KiB"})
	}
	return svg("Memory of helpers for each idle container, PSS: shorter is better", []group{{"", bars}})
}
