package main

import "strings"

// list is a flag that may be typed several times, each value as it is. pflag's own
// makes a csv.Writer of 4 KiB to print the default of each, which is nothing: 36 of
// them were a seventh of what `rc run` allocates.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

// Set adds one value.
func (l *list) Set(v string) error { *l = append(*l, v); return nil }

// Type is the name that pflag gives to such a flag.
func (l *list) Type() string { return "stringArray" }

// Append, Replace and GetSlice make it a pflag.SliceValue.
func (l *list) Append(v string) error { return l.Set(v) }

// Replace forgets what was typed before.
func (l *list) Replace(v []string) error { *l = v; return nil }

// GetSlice returns what was typed.
func (l *list) GetSlice() []string { return *l }
