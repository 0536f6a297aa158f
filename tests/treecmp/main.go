// Command treecmp compares two file trees over every file: names (any bytes),
// types, modes, owners, sizes, contents, link targets, device numbers, which
// names are one file, extended attributes and modification times.
//
//	treecmp [-no-mtime | -since SECONDS] [-ignore-xattr PREFIX]... A B
//
// It prints a line a difference and exits 1, or the number of files and exits 0.
// It is the judge of "the same image pulled by rc and by podman", so it trusts
// neither and shares no code with them.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

type prefixes []string

func (p *prefixes) String() string     { return strings.Join(*p, ",") }
func (p *prefixes) Set(s string) error { *p = append(*p, s); return nil }

func main() {
	var ignore prefixes
	noMtime := flag.Bool("no-mtime", false, "do not compare modification times")
	since := flag.Int64("since", 0, "take modification times after this (Unix seconds) as equal: folders that no layer names get the time of unpacking")
	flag.Var(&ignore, "ignore-xattr", "leave out extended attributes that begin with this")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: treecmp [-no-mtime | -since SECONDS] [-ignore-xattr PREFIX]... A B")
		os.Exit(2)
	}
	o := Options{NoMtime: *noMtime, Since: *since, IgnoreXattr: ignore}
	differences, files, err := Compare(flag.Arg(0), flag.Arg(1), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "treecmp:", err)
		os.Exit(2)
	}
	for _, d := range differences {
		fmt.Println(d)
	}
	if len(differences) > 0 {
		os.Exit(1)
	}
	fmt.Printf("%d files, no difference\n", files)
}
