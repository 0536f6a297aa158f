// Command manpage writes the man pages:
//
//	manpage BIN DIR      (make man)
//
// The flags, the usage and the examples are what the programs in BIN say
// themselves, so that a flag cannot be in one and not in the other; the sections
// written by hand are in DIR/src. Its test fails when docs/man is not what the
// programs of $RC_BIN say.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: manpage BIN DIR")
		os.Exit(2)
	}
	pages, err := generate(os.Args[1], filepath.Join(os.Args[2], "src"))
	if err == nil {
		err = write(os.Args[2], pages)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manpage:", err)
		os.Exit(1)
	}
}

func write(dir string, pages map[string]string) error {
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate asks rc in bin for every help text and returns the pages by file
// name. A command needs no hand-written file in src.
func generate(bin, src string) (map[string]string, error) {
	overview, commands, err := readHelp(bin)
	if err != nil {
		return nil, err
	}
	pages := map[string]string{}
	for _, h := range append([]*help{overview}, commands...) {
		text, err := os.ReadFile(filepath.Join(src, h.page()+".txt"))
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		hand, err := parseSections(string(text))
		if err != nil {
			return nil, fmt.Errorf("%s.txt: %w", h.page(), err)
		}
		pages[h.page()+".1"] = page(h, hand)
	}
	return pages, nil
}
