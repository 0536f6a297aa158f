// Command sizes measures the Go files of a tree against the figures of the
// house: lines of files and functions (median, p95, maximum), the share of
// comment lines, and lines of tests for each line of source. It fails on a file
// above 600 lines or a function above 90; the rest it only tells.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	maxFile     = 600
	maxFunction = 90
)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	m, err := measure(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "sizes:", err)
		os.Exit(1)
	}
	m.print()
	if len(m.tooLong) > 0 {
		os.Exit(1)
	}
}

type measures struct {
	files, functions     []int
	lines, comments      int
	testLines, testFiles int
	tooLong              []string
}

// measure walks root; folders that begin with a dot, bin and vendor are not ours.
func measure(root string) (*measures, error) {
	m := &measures{}
	return m, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "vendor" || name == "bin" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		return m.file(root, path)
	})
}

func (m *measures) file(root, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	n := strings.Count(string(text), "\n")
	rel, err := filepath.Rel(root, path)
	if err != nil {
		return err
	}
	if n > maxFile {
		m.tooLong = append(m.tooLong, fmt.Sprintf("%s: %d lines, at most %d", rel, n, maxFile))
	}
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
	if err != nil {
		return err
	}
	// Code that only tests run is a test, whatever the file is called.
	if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(rel, "tests"+string(filepath.Separator)) {
		m.testFiles++
		m.testLines += n
	} else {
		m.files = append(m.files, n)
		m.lines += n
		for _, group := range f.Comments {
			m.comments += fset.Position(group.End()).Line - fset.Position(group.Pos()).Line + 1
		}
	}
	ast.Inspect(f, func(node ast.Node) bool {
		fn, ok := node.(*ast.FuncDecl)
		if !ok {
			return true
		}
		length := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1
		// A test is a list of cases as often as it is logic: its length is its own.
		if strings.HasSuffix(path, "_test.go") {
			return true
		}
		m.functions = append(m.functions, length)
		if length > maxFunction {
			m.tooLong = append(m.tooLong, fmt.Sprintf("%s: %s has %d lines, at most %d", rel, fn.Name.Name, length, maxFunction))
		}
		return true
	})
	return nil
}

func (m *measures) print() {
	fmt.Printf("files      %4d   median %3d  p95 %3d  max %3d   (house: 100 / 400 / %d)\n", len(m.files), rank(m.files, 50), rank(m.files, 95), rank(m.files, 100), maxFile)
	fmt.Printf("functions  %4d   median %3d  p95 %3d  max %3d   (house: 10 / 50 / %d)\n", len(m.functions), rank(m.functions, 50), rank(m.functions, 95), rank(m.functions, 100), maxFunction)
	fmt.Printf("comments   %.0f %% of %d lines   (house: 15-25 %%)\n", 100*ratio(m.comments, m.lines), m.lines)
	fmt.Printf("tests      %.2f lines for each of source, %d lines in %d files   (house: at least 0.8)\n", ratio(m.testLines, m.lines), m.testLines, m.testFiles)
	for _, l := range m.tooLong {
		fmt.Println("too long: " + l)
	}
}

// rank is the value below which p per cent of v lie.
func rank(v []int, p int) int {
	if len(v) == 0 {
		return 0
	}
	s := slices.Clone(v)
	slices.Sort(s)
	return s[min(len(s)-1, len(s)*p/100)]
}

func ratio(a, b int) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}
