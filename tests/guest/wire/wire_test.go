package wire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestFramesArriveAsSent(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	big := strings.Repeat("x", 2*Max+1)
	for _, f := range []Frame{{Hello, 0, nil}, {Output, 7, []byte("a\x00b")}} {
		if err := w.Write(f); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := (Stream{w, Errors, 1<<32 - 1}).Write([]byte(big)); n != len(big) || err != nil {
		t.Fatalf("Stream.Write = %d, %v", n, err)
	}
	if f, err := Read(&b); err != nil || f.Kind != Hello || len(f.Body) != 0 {
		t.Errorf("first: %+v, %v", f, err)
	}
	if f, err := Read(&b); err != nil || f.ID != 7 || string(f.Body) != "a\x00b" {
		t.Errorf("second: %+v, %v", f, err)
	}
	got := ""
	for range 3 {
		f, err := Read(&b)
		if err != nil || f.ID != 1<<32-1 || f.Kind != Errors {
			t.Fatalf("piece: %+v, %v", f, err)
		}
		got += string(f.Body)
	}
	if got != big {
		t.Errorf("pieces of %d bytes together, want %d", len(got), len(big))
	}
	if _, err := Read(&b); !errors.Is(err, io.EOF) {
		t.Errorf("after the last: %v, want EOF", err)
	}
}

func TestBrokenFramesAreErrors(t *testing.T) {
	for name, in := range map[string]string{
		"header cut":  "\x00\x00",
		"body cut":    "\x00\x00\x00\x05O\x00\x00\x00\x01ab",
		"too long":    "\x7f\x00\x00\x00O\x00\x00\x00\x01",
		"length 2^32": "\xff\xff\xff\xffO\x00\x00\x00\x01",
	} {
		if _, err := Read(strings.NewReader(in)); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v, want an error that is not EOF", name, err)
		}
	}
	if err := NewWriter(io.Discard).Write(Frame{Body: make([]byte, Max+1)}); err == nil {
		t.Error("a body longer than Max was written")
	}
}
