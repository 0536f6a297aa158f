package engine

import (
	"errors"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/logs"
	"github.com/rc-containers/rc/internal/record"
)

// logged is an engine with one container at rest, whose log is open.
func logged(t *testing.T, c record.Container) (e *Engine, w *logs.Writer, ref string) {
	t.Helper()
	store, err := record.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	e = &Engine{Store: store, Warn: func(s string) { t.Log(s) }}
	c.ID, c.Name = strings.Repeat("ab", 32), "web"
	dir := store.ContainerDir(c.ID)
	for _, err := range []error{os.Mkdir(dir, 0o700), store.SaveContainer(&c), store.ClaimName(c.Name, c.ID),
		record.SaveState(dir, &record.State{Status: record.Exited, BootID: record.BootID()}, atomicfile.Fast)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	w, err = logs.Open(filepath.Join(dir, "log"), &logs.Options{Config: c.Log, ID: c.ID})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return e, w, "abab"
}

// shown runs Logs into two pipes.
func shown(t *testing.T, e *Engine, ref string, q LogsQuery) (out, errs string, code int, err error) {
	t.Helper()
	var texts [2]string
	var done [2]chan bool
	var ends [2]*os.File
	for i := range ends {
		r, w, perr := os.Pipe()
		if perr != nil {
			t.Fatal(perr)
		}
		ends[i], done[i] = w, make(chan bool)
		go func() {
			b, _ := io.ReadAll(r)
			texts[i] = string(b)
			close(done[i])
		}()
	}
	q.Out, q.Err = ends[0], ends[1]
	code, err = e.Logs(ref, q)
	for i := range ends {
		_ = ends[i].Close()
		<-done[i]
	}
	return texts[0], texts[1], code, err
}

func TestLogs(t *testing.T) {
	e, w, ref := logged(t, record.Container{Log: record.LogConfig{Attrs: [][2]string{{"k", "a b&"}}}})
	w.Write("stdout", []byte("one\n"))
	w.Write("stderr", []byte("oops\n"))
	w.Write("stdout", append([]byte(strings.Repeat("x", 20_000)), "\nlast"...))
	w.Close()
	out, errs, code, err := shown(t, e, ref, LogsQuery{Tail: -1, Follow: true})
	if err != nil || code != 0 || out != "one\n"+strings.Repeat("x", 20_000)+"\nlast" || errs != "oops\n" {
		t.Errorf("%d bytes, %q, %d, %v", len(out), errs, code, err)
	}
	// A prefix stands at the beginning of a line, not of each piece of it.
	out, errs, _, err = shown(t, e, ref, LogsQuery{Tail: -1, Timestamps: true, Details: true})
	lines := strings.Split(out, "\n")
	stamp := time.Now().UTC().Format("2006-01-02T")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], stamp) || !strings.HasSuffix(lines[0], "Z k=a+b%26 one") ||
		strings.Count(lines[1], stamp) != 1 || !strings.HasSuffix(errs, "Z k=a+b%26 oops\n") || !strings.HasSuffix(lines[2], " last") {
		t.Errorf("%.200q %q %v", out, errs, err)
	}
}

// One writer for both streams keeps their order where they are one file.
func TestLogsOnATerminal(t *testing.T) {
	e, w, ref := logged(t, record.Container{})
	for range 100 {
		w.Write("stdout", []byte("o\n"))
		w.Write("stderr", []byte("e\n"))
	}
	f, err := os.Create(t.TempDir() + "/both")
	if err != nil {
		t.Fatal(err)
	}
	again, err := os.OpenFile(f.Name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Logs(ref, LogsQuery{Tail: -1, Out: f, Err: again}); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(f.Name()); string(got) != strings.Repeat("o\ne\n", 100) {
		t.Errorf("%q", got)
	}
}

func TestLogsRefused(t *testing.T) {
	e, w, ref := logged(t, record.Container{AutoRemove: true, Log: record.LogConfig{Driver: "none"}})
	if w != nil {
		t.Error("a log with the driver none")
	}
	_, _, _, err := shown(t, e, ref, LogsQuery{Tail: -1})
	if hint.ExitCode(err) != 1 || !strings.Contains(err.Error(), "--log-driver none") {
		t.Errorf("%v", err)
	}
	id := strings.Repeat("ab", 32)
	c, _ := e.Store.LoadContainer(id)
	c.Log = record.LogConfig{}
	if err := e.Store.SaveContainer(c); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err = shown(t, e, ref, LogsQuery{Tail: -1}); hint.ExitCode(err) != 1 || !strings.Contains(err.Error(), "--rm") {
		t.Errorf("%v", err)
	}
	if err := record.SaveState(e.Store.ContainerDir(id), &record.State{Status: record.Created}, atomicfile.Fast); err != nil {
		t.Fatal(err)
	}
	if out, _, code, err := shown(t, e, ref, LogsQuery{Tail: -1}); out != "" || code != 0 || err != nil {
		t.Errorf("a container that was not started: %q %d %v", out, code, err)
	}
	if _, _, _, err := shown(t, e, "none", LogsQuery{}); !errors.Is(err, record.ErrNoContainer) {
		t.Errorf("%v", err)
	}
}

// A follower stays while somebody holds the life lock, and for the moment between
// the two halves of a restart.
func TestLogsFollowARestart(t *testing.T) {
	e, w, ref := logged(t, record.Container{})
	id := strings.Repeat("ab", 32)
	life, err := e.Store.TakeLife(id)
	if err != nil {
		t.Fatal(err)
	}
	w.Write("stdout", []byte("first\n"))
	type result struct {
		out string
		err error
	}
	done := make(chan result)
	go func() {
		out, _, _, err := shown(t, e, ref, LogsQuery{Tail: -1, Follow: true})
		done <- result{out, err}
	}()
	time.Sleep(100 * time.Millisecond)
	st := &record.State{Status: record.Exited, Stopped: true, Finished: time.Now(), BootID: record.BootID()}
	if err := record.SaveState(e.Store.ContainerDir(id), st, atomicfile.Fast); err != nil {
		t.Fatal(err)
	}
	e.Store.DropLife(id, life)
	w.Close()
	time.Sleep(150 * time.Millisecond)
	if life, err = e.Store.TakeLife(id); err != nil {
		t.Fatal(err)
	}
	w, err = logs.Open(filepath.Join(e.Store.ContainerDir(id), "log"), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Write("stdout", []byte("second\n"))
	time.Sleep(600 * time.Millisecond) // the moment is over: the lock counts
	w.Write("stdout", []byte("third\n"))
	w.Close()
	e.Store.DropLife(id, life)
	select {
	case r := <-done:
		if r.err != nil || r.out != "first\nsecond\nthird\n" {
			t.Errorf("%q %v", r.out, r.err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the follower does not end")
	}
}

func TestQueryEscape(t *testing.T) {
	for _, s := range []string{"", "a-b_c.d~e", "a b&c=d/é\x00\xff+%", "AZ09"} {
		if got := queryEscape(s); got != url.QueryEscape(s) {
			t.Errorf("%q: %q", s, got)
		}
	}
}

func TestSameFile(t *testing.T) {
	a, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(a.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	if !sameFile(a, os.NewFile(uintptr(fd), "a")) || sameFile(a, null) {
		t.Error("a duplicate is the same, another file is not")
	}
}
