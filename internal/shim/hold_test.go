package shim

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
)

// A pause that is held ends with its connection, however that ends, and no other
// pause does.
func TestHeldPause(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `while :; do sleep 0.05; done`)
	path, err := c.store.ControlPath(testID)
	must(t, err)
	status := func() record.Status {
		t.Helper()
		r, _, err := control.Ask(path, control.Request{Op: control.OpState}, 5*time.Second)
		must(t, err)
		return r.State.Status
	}
	// Released in order: it goes on before release returns.
	held, err := control.Hold(path, 5*time.Second)
	must(t, err)
	if held.ForGood || status() != record.Paused {
		t.Fatalf("%+v, %s", held, status())
	}
	if _, err := control.Hold(path, 5*time.Second); err == nil {
		t.Error("paused twice")
	}
	if held.Release(5 * time.Second); status() != record.Running {
		t.Errorf("after the release: %s", status())
	}
	// Killed: nothing is said, the connection ends.
	conn, err := stage.Dial(path)
	must(t, err)
	must(t, conn.Send(&control.Request{Op: control.OpPause, Hold: true}))
	_, err = conn.Recv(new(control.Reply))
	must(t, err)
	if status() != record.Paused {
		t.Error("it was not paused")
	}
	_ = conn.Close()
	for end := time.Now().Add(5 * time.Second); status() != record.Running; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the container stays paused after its holder has died")
		}
	}
	// The user lets it go on meanwhile, and pauses it: that pause stands.
	held, err = control.Hold(path, 5*time.Second)
	must(t, err)
	for _, op := range []control.Op{control.OpUnpause, control.OpPause} {
		_, _, err = control.Ask(path, control.Request{Op: op}, 5*time.Second)
		must(t, err)
	}
	if held.Release(5 * time.Second); status() != record.Paused {
		t.Error("the release has ended the user's pause")
	}
	// Held across the end of the container: its end is not held up.
	_, _, err = control.Ask(path, control.Request{Op: control.OpUnpause}, 5*time.Second)
	must(t, err)
	held, err = control.Hold(path, 5*time.Second)
	must(t, err)
	_, _, err = control.Ask(path, control.Request{Op: control.OpSignal, Signal: 9}, 5*time.Second)
	must(t, err)
	c.ended()
	held.Release(5 * time.Second)
}

// One that waits for its restart stays at rest while somebody reads its files, also
// over a stop; of one that is on its way up no root is lent, which would be the
// host's.
func TestHeldRest(t *testing.T) {
	c := detached(t, record.RestartPolicy{Name: "always"}, "exit 4")
	path, err := c.store.ControlPath(testID)
	must(t, err)
	c.until("restarts", func(st *record.State) bool { return st.Status == record.Restarting && st.RestartCount >= 3 })
	var held *control.Held
	for end := time.Now().Add(5 * time.Second); held == nil; time.Sleep(5 * time.Millisecond) {
		held, err = control.HoldRest(path, 5*time.Second)
		if err != nil && (!errors.Is(err, unix.EAGAIN) && !errors.Is(err, control.ErrGone) || time.Now().After(end)) {
			t.Fatal(err)
		}
	}
	before := c.state().RestartCount
	if _, _, err := control.Ask(path, control.Request{Op: control.OpRoot}, 5*time.Second); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("a root of nobody: %v", err)
	}
	time.Sleep(time.Second) // the back-off is at most 800 ms
	if now := c.state().RestartCount; now != before {
		t.Errorf("it was restarted while it was held: %d, %d", before, now)
	}
	held.Release(5 * time.Second)
	c.until("goes on", func(st *record.State) bool { return st.RestartCount > before })
}

// What runs is not kept at rest.
func TestHeldRestOfRunning(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `while :; do sleep 0.05; done`)
	path, err := c.store.ControlPath(testID)
	must(t, err)
	if _, err := control.HoldRest(path, 5*time.Second); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v", err)
	}
}
