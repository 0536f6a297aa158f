package engine

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/record"
)

// everyKind puts 300 containers of all kinds that there are, and returns the ids of
// those that a list shows.
func everyKind(w *workshop) (shown []string) {
	_, shim := sleeper(w.T)
	_, who := sleeper(w.T)
	made := time.Now().Add(-time.Hour).Round(0).UTC()
	for i := range 300 {
		c := &record.Container{ID: fmt.Sprintf("%064x", i+1), Name: fmt.Sprintf("c%d", i), Created: made.Add(time.Duration(i*7%300) * time.Second)}
		st := &record.State{Status: record.Exited, ExitCode: i, BootID: record.BootID()}
		listed := true
		switch i % 10 {
		case 1:
			st = &record.State{Status: record.Created, BootID: record.BootID()}
		case 2: // alive, and its lock is held
			st = running(who, shim)
			st.Status = []record.Status{record.Running, record.Paused, record.Restarting, record.Exited}[i/10%4]
			lock, err := w.Store.TakeLife(c.ID)
			must(w.T, err)
			w.Cleanup(func() { _ = lock.Close() })
		case 3: // alive, and its lock went with a logout
			st = running(who, shim)
		case 4:
			c.MachineID, st = "another", running(who, shim)
		case 5: // larger than a reader's buffer
			c.Labels = map[string]string{"long": strings.Repeat("x", 10000)}
		case 6: // its shim was killed
			st = running(deadProcess(w.T), deadProcess(w.T))
		case 7: // half-made
			st, listed = nil, false
		}
		w.put(c, st)
		switch i % 10 {
		case 8: // a power cut took its record
			must(w.T, os.WriteFile(w.Store.ContainerDir(c.ID)+"/container.json", make([]byte, 500), 0o600))
		case 9:
			must(w.T, os.Truncate(w.Store.ContainerDir(c.ID)+"/state.json", 0))
		}
		if listed {
			shown = append(shown, c.ID)
		}
	}
	return shown
}

// A list says of each container what Load says of it, and repairs what Load repairs.
func TestListIsLoadOfEach(t *testing.T) {
	w := newWorkshop(t)
	want := everyKind(w)
	list, err := w.List()
	must(t, err)
	if !slices.IsSortedFunc(list, func(a, b *Entry) int { return b.Created.Compare(a.Created) }) {
		t.Error("not the newest first")
	}
	var got []string
	for _, entry := range list {
		got = append(got, entry.ID)
		alone, err := w.Load(entry.ID)
		must(t, err)
		if !reflect.DeepEqual(entry, alone) {
			t.Errorf("in the list:\n%+v\nalone:\n%+v", entry, alone)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%d are listed, want %d", len(got), len(want))
	}
	again, err := w.List()
	must(t, err)
	if !reflect.DeepEqual(again, list) {
		t.Error("the second list is another one")
	}
	if len(w.warnings) > 0 {
		t.Error(w.warnings)
	}
}

// What cannot be read is told, and the others are listed.
func TestListTellsWhatIsDamaged(t *testing.T) {
	w := newWorkshop(t)
	exited := &record.State{Status: record.Exited, BootID: record.BootID()}
	bad := w.put(&record.Container{ID: ident('a'), Name: "bad"}, exited)
	w.put(&record.Container{ID: ident('b'), Name: "good"}, exited)
	must(t, os.WriteFile(w.Store.ContainerDir(bad)+"/state.json", []byte("{"), 0o600))
	list, err := w.List()
	must(t, err)
	if len(list) != 1 || list[0].Name != "good" || len(w.warnings) != 1 || !strings.Contains(w.warnings[0], "state.json") {
		t.Errorf("%d listed, %q", len(list), w.warnings)
	}
}

func TestInBlocks(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 63, 64, 65, 300, 1000} {
		var mu sync.Mutex
		times := make([]int, n)
		inBlocks(n, func(next func() (int, int)) {
			for from, to := next(); from < to; from, to = next() {
				mu.Lock()
				for i := from; i < to; i++ {
					times[i]++
				}
				mu.Unlock()
			}
			if from, to := next(); from < to {
				t.Errorf("of %d: a block after the end", n)
			}
		})
		if slices.ContainsFunc(times, func(k int) bool { return k != 1 }) {
			t.Errorf("of %d: %v", n, times)
		}
	}
}
