package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestAsk(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = serve(l) }()
	r, err := bulk(l.Addr().String(), 100*time.Millisecond)
	if err != nil || r.Send < 1e6 || r.Receive < 1e6 || r.Moved < 1e5 || r.CPU <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = small(l.Addr().String(), 100*time.Millisecond)
	if err != nil || r.Connections < 10 || r.RoundTrip <= 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestAskNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	for name, kind := range kinds {
		if r, err := kind(l.Addr().String(), 10*time.Millisecond); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"serve"}, {"bulk", "a:1", "soon"}, {"serve", "nonsense"}} {
		if err := run(args); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
}

func TestOnFiles(t *testing.T) {
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "0"), []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "work")
	took, err := onFiles(work, data)
	if err != nil || len(took) != 9 || took["create"] <= 0 || took["again"] <= 0 {
		t.Errorf("%v, %v", took, err)
	}
	if text, _ := os.ReadFile(filepath.Join(data, "0")); string(text) != "axc" {
		t.Errorf("changed: %q", text)
	}
	if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder stays: %v", err)
	}
	if _, err := onFiles(work, filepath.Join(data, "nothing")); err == nil {
		t.Error("no error without data")
	}
}
