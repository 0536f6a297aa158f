package logs

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/rc-containers/rc/internal/record"
)

// Any bytes come back, and encoding/json reads what is written.
func FuzzEntry(f *testing.F) {
	for _, s := range []string{"", "a\n", "\x00\xff\ufffd", "\\n\",\"stream\":\"", "\xed\xa0\x80", "é\u2028\n", "\"\\\b\f"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		b := append(appendEntry(nil, line, "stdout", []byte("2024-01-01T00:00:00.000000000Z"), nil), '}')
		var e Entry
		var text []byte
		if !e.fast(b, &text) || !bytes.Equal(e.Line, line) || e.Stream != "stdout" {
			t.Fatalf("%q came back as %q from %s", line, e.Line, b)
		}
		if !e.other(b, &text) || !bytes.Equal(e.Line, line) {
			t.Fatalf("%q came back as %q from %s, by encoding/json", line, e.Line, b)
		}
		if endsLine(b) != bytes.HasSuffix(line, []byte{'\n'}) {
			t.Errorf("does %q end a line?", line)
		}
		if len(b) > worst(len(line)) {
			t.Errorf("%d bytes for %d", len(b), len(line))
		}
		if utf8.Valid(line) {
			var v struct{ Log string }
			if err := json.Unmarshal(b, &v); err != nil || v.Log != string(line) || bytes.Contains(b, []byte(`"raw"`)) {
				t.Errorf("%s: %v", b, err)
			}
		}
	})
}

// What is no entry is none, and does no harm.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"log":"a\u0041\n","stream":"stdout","time":"2024-01-01T00:00:00Z","raw":"AA=="}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var e Entry
		var text []byte
		if e.decode(line, &text) {
			_ = e.Time()
			_ = e.Attrs()
		}
		_ = endsLine(line)
	})
}

// go test -bench Write ./internal/logs: MB/s of the payload's bytes.
func BenchmarkWrite(b *testing.B) {
	for name, line := range map[string][]byte{
		"80":     append(bytes.Repeat([]byte("x"), 79), '\n'),
		"1000":   append(bytes.Repeat([]byte("lorem ipsum "), 83), '\n'),
		"binary": bytes.Repeat([]byte{0xff, 0, 'a', 0xc3}, 100),
	} {
		b.Run(name, func(b *testing.B) {
			data := bytes.Repeat(line, 32<<10/len(line))
			l, err := Open(filepath.Join(b.TempDir(), "log"), nil)
			must(b, err)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				l.Write("stdout", data)
			}
			l.Close()
		})
	}
}

func BenchmarkRead(b *testing.B) {
	l, path := create(b, record.LogConfig{MaxSize: -1})
	data := bytes.Repeat(append(bytes.Repeat([]byte("x"), 79), '\n'), 400)
	for range 1000 {
		l.Write("stdout", data)
	}
	l.Close()
	b.SetBytes(int64(1000 * len(data)))
	for b.Loop() {
		n := 0
		_, err := Read(path, Query{Tail: -1, Entry: func(e *Entry) error { n += len(e.Line); return nil }})
		if must(b, err); n != 1000*len(data) {
			b.Fatal(n)
		}
	}
}

// For comparison: what the writer would cost with encoding/json.
func BenchmarkStandardLibrary(b *testing.B) {
	line := string(append(bytes.Repeat([]byte("x"), 79), '\n'))
	b.SetBytes(80)
	for b.Loop() {
		_, _ = json.Marshal(struct {
			Log    string    `json:"log"`
			Stream string    `json:"stream"`
			Time   time.Time `json:"time"`
		}{line, "stdout", time.Now()})
	}
}
