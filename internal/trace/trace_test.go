package trace

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOffCostsNothing(t *testing.T) {
	if On() {
		t.Fatal("somebody traces")
	}
	var log *Log
	if n := testing.AllocsPerRun(100, func() {
		defer Begin("a").End()
		defer Aside("b").End()
		defer log.Begin("c").End()
		At("d")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkOff(b *testing.B) {
	for b.Loop() {
		func() { defer Begin("a").End() }()
	}
}

func BenchmarkOn(b *testing.B) {
	out := open(b)
	for b.Loop() {
		func() { defer Begin("a").End() }()
	}
	_ = out.Close(nil)
}

func open(t testing.TB) *Output {
	t.Helper()
	t.Cleanup(Leave)
	out, err := Open(filepath.Join(t.TempDir(), "trace.json"))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// file is the Trace Event Format as far as it is used.
type file struct {
	OtherData struct {
		Command string
		Origin  int64 `json:"origin_ns"`
	} `json:"otherData"`
	TraceEvents []struct {
		PH, Name string
		PID, TID int
		TS, Dur  float64
		Args     struct{ Name string }
	} `json:"traceEvents"`
}

func load(t *testing.T, o *Output, args ...string) (f file) {
	t.Helper()
	if err := o.Close(args); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(o.path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return f
}

func TestFile(t *testing.T) {
	Born()
	out := open(t)
	outer := Begin("outer")
	inner := Begin(`in"ner` + "\n\x80 of a name that is longer than a slot has room for")
	time.Sleep(time.Millisecond)
	inner.End()
	At("now")
	outer.End()
	Aside("beside").End()
	Merge(Keeper, []Mark{{Name: "far", Began: now(), Took: 5}})
	Begin("never ends")
	f := load(t, out, "run", `a"b`)
	if f.OtherData.Command != "rc run a?b" || f.OtherData.Origin <= 0 {
		t.Errorf("%+v", f.OtherData)
	}
	var got []string
	for _, e := range f.TraceEvents {
		got = append(got, e.PH+" "+e.Name+" "+e.Args.Name)
		if e.Name == "outer" && (e.Dur < 1000 || e.Dur > 1e6) {
			t.Errorf("outer took %v µs", e.Dur)
		}
	}
	want := []string{
		"M process_name rc", "M process_sort_index ", "X read the global flags ", "X outer ", "X in?ner?? of a name that is longer than a  ", "i now ", "X beside ",
		"M process_name keeper", "M process_sort_index ", "X far ",
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
}

// Another process of a command, as far as the memory is concerned: a mapping of its own.
func TestJoinAndLeave(t *testing.T) {
	out := open(t)
	f := File()
	mine := here.Swap(nil) // from here on it is the other one
	Join(f, Shim)
	if !On() {
		t.Fatal("not joined")
	}
	Join(File(), Init) // has a table already
	sp := Begin("late")
	go func() { time.Sleep(20 * time.Millisecond); Leave(); sp.End() }()
	Begin("mount").End()
	time.Sleep(time.Millisecond)
	began := time.Now()
	got := load(t, out) // waits for who has joined
	if time.Since(began) > patience/2 {
		t.Errorf("waited %v", time.Since(began))
	}
	mine.leave()
	names := map[string]int{}
	for _, e := range got.TraceEvents {
		names[e.Name] = e.PID
	}
	if names["mount"] != int(Shim) || names["late"] != 0 {
		t.Errorf("%v", names)
	}
	if File() != nil {
		t.Error("a descriptor of a table that was left")
	}
}

func TestStrangeMemory(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "x")
	_ = f.Truncate(int64(tableSize)) // not sealed: its sender could cut it under our feet
	Join(f, Shim)
	Join(nil, Shim)
	if On() {
		Leave()
		t.Error("a file that can be cut was mapped")
	}
}

func TestWildMarks(t *testing.T) {
	out := open(t)
	tab := out.all.table
	for i := range 5 {
		s := &tab.slots[i]
		s.began, s.took, s.role, s.size = 1, 2, 1, 255
		s.ready.Store(1)
	}
	tab.slots[0].role = 200
	tab.slots[1].kind = 99
	tab.slots[2].took = -1
	tab.slots[3].began = 0
	copy(tab.slots[4].name[:], "\"]}\x1b[2J</script>")
	tab.used.Store(1 << 31)
	f := load(t, out)
	if len(f.TraceEvents) != 3 || f.TraceEvents[2].Name[:16] != "?]}?[2J</script>" {
		t.Errorf("%+v", f.TraceEvents)
	}
}

func TestFull(t *testing.T) {
	out := open(t)
	for range slots + 10 {
		At("x")
	}
	if f := load(t, out); len(f.TraceEvents) != slots+2 {
		t.Errorf("%d events", len(f.TraceEvents))
	}
}

func TestLog(t *testing.T) {
	if Collect(false) != nil || Collect(false).Marks() != nil {
		t.Error("a log that nobody asked for")
	}
	l := Collect(true)
	for range maxMarks + 5 {
		l.Begin("a").End()
	}
	l.Aside("b").End()
	if m := l.Marks(); len(m) != maxMarks || m[0].Name != "a" || m[0].Took <= 0 || m[0].Began <= 0 {
		t.Errorf("%d marks", len(m))
	}
	Merge(Keeper, l.Marks()) // into nothing
}

func TestRefused(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no", "file")); err == nil || err.Error()[:19] != "write the trace to " {
		t.Errorf("%v", err)
	}
	if On() {
		t.Error("traced all the same")
	}
	dir := t.TempDir()
	link, pipe := filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.Symlink(filepath.Join(dir, "target"), link), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{link: unix.ELOOP, pipe: unix.ENXIO, dir: unix.EISDIR} {
		if _, err := Open(path); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	if _, err := os.Stat("/dev/full"); err == nil {
		out, err := Open("/dev/full")
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Close(nil); err == nil {
			t.Error("a full disk is no error")
		}
	}
}
