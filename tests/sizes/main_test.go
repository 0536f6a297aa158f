package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMeasure(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a.go", "package a\n\n// A says so.\nfunc A() {\n}\n")
	write("a_test.go", "package a\n\nfunc b() {}\n")
	write("tests/c/c.go", "package c\n")
	write("vendor/v.go", "not Go at all")
	write("long.go", "package a\n\nfunc long() {\n"+strings.Repeat("\tA()\n", 95)+"}\n")
	m, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.files) != 2 || m.comments != 1 || m.testLines != 4 || len(m.functions) != 2 {
		t.Errorf("%+v", m)
	}
	if len(m.tooLong) != 1 || !strings.Contains(m.tooLong[0], "long has 97 lines") {
		t.Errorf("%q", m.tooLong)
	}
}

func TestRank(t *testing.T) {
	v := []int{5, 1, 3, 2, 4}
	if rank(v, 50) != 3 || rank(v, 100) != 5 || rank(nil, 50) != 0 {
		t.Error(rank(v, 50), rank(v, 100), rank(nil, 50))
	}
}
