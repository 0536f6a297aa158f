package logs

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// What a reader kept from the writer is removed after both, down to the bound,
// and not under a reader that is still there.
func TestTidy(t *testing.T) {
	cfg := record.LogConfig{MaxSize: 4096, MaxFile: 3}
	l, path := create(t, cfg)
	l.Write("stdout", []byte("first\n"))
	d, err := openFolder(path)
	must(t, err)
	defer d.close()
	held, err := d.take(0)
	must(t, err)
	for n := range 300 {
		l.Write("stdout", fmt.Appendf(nil, "%d %s\n", n, strings.Repeat("x", 30)))
	}
	l.Close()
	files := func() int {
		t.Helper()
		names, err := filepath.Glob(path + "*")
		must(t, err)
		return len(names)
	}
	before := files()
	if before <= 3 {
		t.Fatalf("%d files: the reader kept none", before)
	}
	Tidy(path, &cfg)
	if files() != before {
		t.Errorf("%d files of %d are left, though the first of them is being read", files(), before)
	}
	must(t, unix.Close(held))
	Tidy(path, &cfg)
	if files() != 3 {
		t.Errorf("%d files are left of %d, want 3", files(), before)
	}
	if got := ask(t, path, func(q *Query) { q.Tail = 1 }); !strings.Contains(got, "299 x") {
		t.Errorf("last line %q", got)
	}
	Tidy(filepath.Join(t.TempDir(), "none", "log"), &cfg)
}
