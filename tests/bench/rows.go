package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// section is a part of a run, with the rows that it fills.
type section struct {
	name string
	of   func(*world, *report) error
	rows []string
}

// sections are all, in their order.
func sections() []section {
	return []section{
		{"single commands", (*world).single, singleRows},
		{"side by side", (*world).sideBySide, parallelRows()},
		{"in a row", (*world).inARow, []string{"loop", "cold"}},
		{"memory", (*world).weighAll, []string{"memory/default", "memory/bridge", "memory/none", "memory/many"}},
		{"files", (*world).fileWork, []string{"files"}},
		{"virtual machine", (*world).machines, []string{vmRow}},
		{"network", (*world).networks, []string{"network"}},
	}
}

// rows are all that there are.
func rows() (all []string) {
	for _, s := range sections() {
		all = append(all, s.rows...)
	}
	return all
}

// chosen tells whether -only names the row, or the row and tool: the name of a row is that
// row alone, and anything else a pattern of how it begins.
func (o *options) chosen(name string) bool {
	row := name
	if i := strings.LastIndexByte(name, '/'); i > 0 && slices.Contains(columns, name[i+1:]) {
		row = name[:i]
	}
	if slices.Contains(rows(), o.only) {
		return row == o.only
	}
	return o.only == "" || o.pattern.MatchString(name) || o.pattern.MatchString(row)
}

// anyChosen also takes a pattern that names a tool in one of the rows.
func (o *options) anyChosen(rows []string) bool {
	return slices.ContainsFunc(rows, func(row string) bool {
		return o.chosen(row) || slices.ContainsFunc(columns, func(tool string) bool { return o.chosen(row + "/" + tool) })
	})
}

// list prints the rows that -only leaves, and fails where those are none.
func (o *options) list(to io.Writer) error {
	some := false
	for _, row := range rows() {
		if o.anyChosen([]string{row}) {
			some = true
			fmt.Fprintln(to, row)
		}
	}
	if !some {
		return fmt.Errorf("no row is called %q, or begins so; -list shows all, and each can have a tool behind it, as start/default/podman: %v", o.only, columns)
	}
	return nil
}
