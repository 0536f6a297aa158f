package shim

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
)

// After an exec the shim stays awake for the next one, across a settling, too.
func TestAwakeForTheNextExec(t *testing.T) {
	old := restless
	restless = false
	defer func() { restless = old }()
	s := &shim{patience: parkAfter}
	if got := s.awakeFor(); got != parkAfter {
		t.Errorf("without an exec it parks after %v, not %v", got, parkAfter)
	}
	s.work.call()
	if got := s.awakeFor(); got != afterExec || !s.work.grown {
		t.Errorf("after an exec it parks after %v, not %v; worth settling: %t", got, afterExec, s.work.grown)
	}
	if got := nextPatience(s.awakeFor(), time.Time{}); got != afterExec {
		t.Errorf("and settled after %v", got)
	}
}

func TestNextPatience(t *testing.T) {
	old := restless
	restless = false
	defer func() { restless = old }()
	ago := func(d time.Duration) time.Time { return time.Now().Add(-d) }
	for _, c := range []struct {
		last   time.Duration
		parked time.Time
		want   time.Duration
	}{
		{0, time.Time{}, parkAfter}, {12 * time.Second, time.Time{}, 12 * time.Second},
		{parkAfter, ago(time.Second), 2 * parkAfter}, {50 * time.Second, ago(time.Second), maxPatience},
		{maxPatience, ago(time.Second), maxPatience}, {maxPatience, ago(goodSleep), parkAfter},
	} {
		if got := nextPatience(c.last, c.parked); got != c.want {
			t.Errorf("after %v and a sleep of %v: %v, not %v", c.last, time.Since(c.parked), got, c.want)
		}
	}
}

func TestEventsThatAreOver(t *testing.T) {
	var s streams
	if got := fmt.Sprint(s.events()); got != "[stream-out stream-tty stream-err]" {
		t.Error(got)
	}
	s.over[stdout] = true
	if got := fmt.Sprint(s.events()); got != "[stream-err]" {
		t.Error(got)
	}
}

// parked waits until the shim sleeps: it has one thread, which Go's never has, and
// waits in ppoll. (Its memory is the host's, and EACCES for us, until it executes
// itself.)
func (c *container) parked() {
	c.Helper()
	for range 1000 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.shim.PID))
		must(c.T, err)
		if strings.Contains(string(status), "\nThreads:\t1\n") && strings.Contains(string(status), "State:\tS") {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.Fatal("the shim did not park")
}

// Bursts with pauses: it sleeps in between, and each wakes it. Requests do too.
func TestRealParkLosesNothing(t *testing.T) {
	const bursts, lines = 12, 500
	c := detached(t, record.RestartPolicy{}, fmt.Sprintf(`b=0; while [ $b -lt %d ]; do i=0; while [ $i -lt %d ]; do echo "burst $b line $i"; i=$((i+1)); done; printf "torn $b "; echo err $b >&2; sleep 0.$((b %% 5)); echo apart; b=$((b+1)); done`, bursts, lines))
	st := c.state()
	before, err := linux.IdentityOf(c.shim.PID)
	must(t, err)
	c.parked()
	if now, err := linux.IdentityOf(c.shim.PID); err != nil || now != before {
		t.Errorf("%+v, then %+v %v", before, now, err)
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", c.shim.PID))
	if err != nil || string(comm) != "rc-init\n" {
		t.Errorf("it is called %q: %v", comm, err)
	}
	if alive, err := c.store.Alive(testID); err != nil || !alive {
		t.Errorf("the life lock is not held: %v", err)
	}
	for range 20 {
		r, err := c.ask(control.Request{Op: control.OpState})
		if err != nil || r.State.Status != record.Running {
			break // it has ended
		}
		if r.State.PID != st.PID {
			t.Errorf("%+v", r.State)
		}
		time.Sleep(130 * time.Millisecond)
	}
	within(t, "the end", func() { _, _ = c.shim.Wait() })
	var want [2]strings.Builder
	for b := range bursts {
		for i := range lines {
			fmt.Fprintf(&want[stdout], "burst %d line %d\n", b, i)
		}
		fmt.Fprintf(&want[stdout], "torn %d apart\n", b)
		fmt.Fprintf(&want[stderr], "err %d\n", b)
	}
	if out, errs := c.logged(); out != want[stdout].String() || errs != want[stderr].String() {
		t.Errorf("%d bytes of %d, %q", len(out), want[stdout].Len(), errs)
	}
	c.ended()
}

// logged reads the log.
func (c *container) logged() (out, errs string) {
	c.Helper()
	f, err := os.Open(c.cfg.Dir + "/log")
	must(c.T, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var e struct{ Log, Stream string }
		must(c.T, json.Unmarshal(lines.Bytes(), &e))
		if e.Stream == "stderr" {
			errs += e.Log
		} else {
			out += e.Log
		}
	}
	return out, errs
}

// A payload that closes its streams is at their end for ever: that wakes nobody.
func TestRealParkAfterEnd(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; exec >&- 2>&-; while :; do sleep 0.05; done`)
	time.Sleep(400 * time.Millisecond)
	c.parked()
	before := c.ticks()
	time.Sleep(time.Second)
	if spent := c.ticks() - before; spent > 1 {
		t.Errorf("it sleeps, and takes %d ticks a second", spent)
	}
	c.stop()
	if st := c.state(); st.ExitCode != 9 {
		t.Errorf("%+v", st)
	}
}

// ticks is the shim's processor time in hundredths of a second.
func (c *container) ticks() int {
	c.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.shim.PID))
	must(c.T, err)
	_, rest, _ := strings.Cut(string(text), ") ")
	var user, system int
	f := strings.Fields(rest)
	_, err = fmt.Sscan(f[11]+" "+f[12], &user, &system)
	must(c.T, err)
	return user + system
}

// SIGUSR2 wakes it, whenever it comes, and kills it never; SIGTERM is a stop.
func TestRealParkedSignals(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; while :; do sleep 0.05; done`)
	c.parked()
	for range 2000 {
		must(t, c.shim.Signal(unix.SIGUSR2))
		time.Sleep(300 * time.Microsecond)
	}
	c.parked()
	r, err := c.ask(control.Request{Op: control.OpState})
	if err != nil || r.State.Status != record.Running {
		t.Fatalf("%+v %v", r, err)
	}
	c.parked()
	must(t, c.shim.Signal(unix.SIGTERM))
	ws, err := c.shim.Wait()
	if err != nil || !ws.Exited() || ws.ExitStatus() != 9 {
		t.Errorf("%v %v", ws, err)
	}
	if st := c.state(); st.ExitCode != 9 || st.Status != record.Exited || st.Stopped {
		t.Errorf("%+v", st)
	}
}
