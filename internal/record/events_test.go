package record

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// appendMany is what the processes of TestEventsByManyProcesses do.
func appendMany() {
	s, who := &Store{Root: os.Getenv("RC_EVENTS_ROOT")}, os.Getenv("RC_EVENTS_WHO")
	maxEvents, keepEvents = 100_000, 100 // a follower that gets no processor loses none
	n, _ := strconv.Atoi(os.Getenv("RC_EVENTS_COUNT"))
	for i := range n {
		if err := s.AppendEvent("container", "start", who, map[string]string{"n": strconv.Itoa(i), "pad": strings.Repeat("p", i%500)}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func keptEvents(t *testing.T, size int64, files int) {
	t.Helper()
	s, k := maxEvents, keepEvents
	maxEvents, keepEvents = size, files
	t.Cleanup(func() { maxEvents, keepEvents = s, k })
}

// Eight processes append at once, through several files; a follower gets each
// event once, and those of one process in their order.
func TestEventsByManyProcesses(t *testing.T) {
	s := &Store{Root: t.TempDir()}
	r, err := s.ReadEvents(false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const processes, count = 8, 400
	var running atomic.Int32
	running.Store(processes)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for who := range processes {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "RC_EVENTS_ROOT="+s.Root, fmt.Sprintf("RC_EVENTS_WHO=%d", who), fmt.Sprintf("RC_EVENTS_COUNT=%d", count))
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go func() {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			running.Add(-1)
		}()
	}
	next, total := map[string]int{}, 0
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		over := running.Load() == 0
		if err := r.Next(func(e *Event) error {
			if n := e.Actor.Attributes["n"]; n != strconv.Itoa(next[e.Actor.ID]) {
				return fmt.Errorf("process %s: event %s, want %d", e.Actor.ID, n, next[e.Actor.ID])
			}
			next[e.Actor.ID]++
			total++
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if over {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the processes hang")
		}
	}
	if total != processes*count || r.Lost {
		t.Errorf("%d of %d events, lost: %v", total, processes*count, r.Lost)
	}
	if numbers := EventNumbers(s.EventsPath()); len(numbers) < 4 {
		t.Errorf("files %v", numbers)
	}
}

func TestEventHistory(t *testing.T) {
	keptEvents(t, 2000, 3)
	s := &Store{Root: t.TempDir()}
	collect := func(history bool) *[]string {
		r, err := s.ReadEvents(history)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		ids := []string{}
		if err := r.Next(func(e *Event) error { ids = append(ids, e.Actor.ID); return nil }); err != nil {
			t.Fatal(err)
		}
		return &ids
	}
	if got := *collect(true); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for n := range 200 {
		if err := s.AppendEvent("volume", "create", strconv.Itoa(n), nil); err != nil {
			t.Fatal(err)
		}
	}
	got := *collect(true)
	if len(got) < 60 || len(got) > 120 || got[len(got)-1] != "199" {
		t.Errorf("%d events, the last %v", len(got), got[len(got)-1])
	}
	for i := range got {
		if got[i] != strconv.Itoa(200-len(got)+i) {
			t.Fatalf("event %d is %s", i, got[i])
		}
	}
	if got := *collect(false); len(got) != 0 {
		t.Errorf("%v", got)
	}
	if st, err := os.Stat(s.EventsPath()); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
}

// A follower that slept while everything was put aside and removed says so.
func TestEventsLost(t *testing.T) {
	keptEvents(t, 500, 1)
	s := &Store{Root: t.TempDir()}
	_ = s.AppendEvent("volume", "create", "0", nil)
	r, err := s.ReadEvents(true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	each := func(e *Event) error { got = append(got, e.Actor.ID); return nil }
	if err := r.Next(each); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 100; n++ {
		_ = s.AppendEvent("volume", "create", strconv.Itoa(n), nil)
	}
	if err := r.Next(each); err != nil {
		t.Fatal(err)
	}
	if !r.Lost || got[len(got)-1] != "99" || len(got) > 20 {
		t.Errorf("lost %v, %v", r.Lost, got)
	}
}

// A full disk tears a line; the next one stands on its own, and an event that is
// longer than any buffer comes whole.
func TestTornEvent(t *testing.T) {
	s := &Store{Root: t.TempDir()}
	if err := os.WriteFile(s.EventsPath(), []byte(`{"Type":"container","Act`), 0o600); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("l", 1<<20)
	for _, id := range []string{"a", long, "b"} {
		if err := s.AppendEvent("image", "pull", id, map[string]string{"name": "x"}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := s.ReadEvents(true)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var got []string
	if err := r.Next(func(e *Event) error { got = append(got, e.Actor.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0] != "a" || got[1] != long || got[2] != "b" {
		t.Errorf("%d events", len(got))
	}
	f, err := os.Open(s.EventsPath())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := 0
	for sc := bufio.NewReader(f); ; lines++ {
		if _, err := sc.ReadString('\n'); err != nil {
			break
		}
	}
	if lines != 4 {
		t.Errorf("%d lines", lines)
	}
}

// Whoever is stopped while it renames the stream stops nobody else.
func TestAppendDoesNotWait(t *testing.T) {
	keptEvents(t, 100, 2)
	s := &Store{Root: t.TempDir()}
	_ = s.AppendEvent("volume", "create", strings.Repeat("x", 200), nil)
	holder, err := os.Open(s.EventsPath())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	for name, how := range map[string]int{"a writer that is stopped": unix.LOCK_SH, "a renamer that is stopped": unix.LOCK_EX} {
		if err := unix.Flock(int(holder.Fd()), how); err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := s.AppendEvent("volume", "create", "y", nil); err != nil || time.Since(begin) > 2*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(begin))
		}
	}
	no := &Store{Root: s.Root + "/none"}
	if err := no.AppendEvent("volume", "create", "z", nil); !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
}

// A copy of the test binary plays one of many processes.
func TestMain(m *testing.M) {
	if os.Getenv("RC_EVENTS_ROOT") != "" {
		appendMany()
		return
	}
	os.Exit(m.Run())
}
