package shim

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// What --health-on-failure began goes on, although the shim has nothing else to do and
// would execute itself: the kill after the patience, and the start after the end.
func TestRealUnwellStaysAwake(t *testing.T) {
	for action, want := range map[string]func(*record.State) bool{
		"restart": func(st *record.State) bool { return st.Status == record.Running && st.RestartCount == 1 },
		"stop":    func(st *record.State) bool { return st.Status == record.Exited && st.ExitCode == 137 },
	} {
		t.Run(action, func(t *testing.T) {
			c := newContainer(t, "sh", "-c", `trap "" TERM; while :; do sleep 0.1; done`)
			c.cfg.Detach, c.cfg.StopAfter = true, time.Second // ten times what it takes to park
			c.cfg.Health = &record.Healthcheck{Test: []string{"CMD", "nothing"}, Interval: 12 * time.Second, StartInterval: 100 * time.Millisecond, StartPeriod: 50 * time.Millisecond, Retries: 1, OnFailure: action}
			c.keepConfig()
			c.begin()
			c.until(action, want)
		})
	}
}

// The payload may have ended by itself before --health-on-failure stops it: whoever waited
// for the end of its next life would keep that from beginning.
func TestUnwellTooLate(t *testing.T) {
	s := newStand(t)
	s.cfg.StopAfter = 0
	s.update(func(st *record.State) { st.Status = record.Restarting })
	s.unwell("restart")
	within(t, "the next life", func() {
		for {
			if release, ok := s.quiesce(); ok {
				release()
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// descriptors counts those of the shim.
func (c *container) descriptors() int {
	c.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.shim.PID))
	if err != nil {
		c.Skipf("cannot look at the shim's descriptors: %v", err)
	}
	return len(entries)
}

// Whoever waits for the end and gives up leaves no descriptor in the shim, whether that
// is awake or executes itself meanwhile.
func TestRealWaitersThatLeave(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; while :; do sleep 0.05; done`)
	c.parked()
	before := c.descriptors()
	path, err := c.store.ControlPath(testID)
	must(t, err)
	for range 6 {
		for range 5 {
			conn, err := stage.Dial(path)
			must(t, err)
			must(t, conn.Send(&control.Request{Op: control.OpWait}))
			time.Sleep(10 * time.Millisecond)
			_ = conn.Close()
		}
		c.parked()
	}
	now := 0
	for range 20 { // a busy machine may put it to sleep before it has seen all of them
		_, err = c.ask(control.Request{Op: control.OpState}) // what died while it slept, it sees when it wakes
		must(t, err)
		time.Sleep(50 * time.Millisecond)
		c.parked()
		if now = c.descriptors(); now <= before {
			break
		}
	}
	if now > before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	c.stop()
}

// A SIGTERM that came while the shim is about to execute itself keeps it from that: it
// was taken, and the next program would not hear of it.
func TestTermKeepsFromExecve(t *testing.T) {
	s := &shim{done: make(chan struct{}), cfg: &start.Config{}}
	s.catchTerm()
	defer func() { signal.Stop(s.term.heard); signal.Stop(s.term.bell) }() // who ends the tests is heard again
	s.hearTerm()
	if s.term.came() {
		t.Error("it came before it was sent")
	}
	release, ok := s.quiesce()
	if !ok {
		t.Fatal("it is busy")
	}
	must(t, unix.Kill(os.Getpid(), unix.SIGTERM))
	within(t, "the reader", func() {
		for len(s.term.heard) == 0 {
			time.Sleep(time.Millisecond)
		}
	})
	time.Sleep(20 * time.Millisecond) // hearTerm has it, and waits for us
	if !s.term.came() {
		t.Error("it is not seen")
	}
	close(s.done) // nothing to stop
	release()
}

// A restart for which there is no descriptor now is put off, and one that cannot work
// is given up.
func TestScarce(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	defer w.Close()
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	s := &shim{}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: conversation + 2, Max: before.Max}))
	err = s.execAgain(new(handover), map[string]*os.File{"one": r, "two": r}, nil)
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before))
	if !scarce(err) {
		t.Errorf("%v: is given up", err)
	}
	_ = r.Close()
	if err := s.execAgain(new(handover), map[string]*os.File{"one": r}, nil); err == nil || scarce(err) {
		t.Errorf("%v: is put off", err)
	}
}

// A reader that takes neither of its two streams is given up once.
func TestBothStreamsBehind(t *testing.T) {
	old := callerPatience
	callerPatience = 20 * time.Millisecond
	defer func() { callerPatience = old }()
	full := bytes.Repeat([]byte("x"), 1<<20)
	for range 50 {
		var s streams
		r1, w1 := callerPipe(t)
		r2, w2 := callerPipe(t)
		c := newCaller(nil, w1, w2)
		s.join(c)
		var both sync.WaitGroup
		for stream := range streamNames {
			both.Go(func() { s.deliver(stream, full) })
		}
		both.Wait()
		<-c.behind
		_, _ = r1.Close(), r2.Close()
	}
}

// While the socket is being changed for one elsewhere, nobody executes us.
func TestQuietButForTheSocket(t *testing.T) {
	s := newStand(t)
	s.reopening.Lock()
	if _, ok := s.quiesce(); ok {
		t.Error("it is quiet")
	}
	s.reopening.Unlock()
	release, ok := s.quiesce()
	if !ok {
		t.Fatal("it is not quiet")
	}
	release()
	if _, err := s.ask(control.Request{Op: control.OpState}); err != nil {
		t.Error(err)
	}
}

// The life lock changes under its number.
func TestChangeLife(t *testing.T) {
	s := newStand(t)
	first, err := s.store.TakeLife(testID)
	must(t, err)
	s.files["life"] = first
	path, err := s.store.LifeLockPath(testID)
	must(t, err)
	must(t, os.Remove(path))
	second, err := s.store.TakeLife(testID)
	must(t, err)
	s.changeLife(second)
	if s.files["life"] != first || !linux.Leads(path, int(first.Fd())) {
		t.Error("it is another file, or leads elsewhere")
	}
	if alive, err := s.store.Alive(testID); err != nil || !alive {
		t.Errorf("the lock is not held: %v", err)
	}
	must(t, first.Close())
	if alive, err := s.store.Alive(testID); err != nil || alive {
		t.Errorf("somebody else holds it: %v", err)
	}
}

// A terminal has its size in the next life, too.
func TestRealRestartedTerminal(t *testing.T) {
	c := newContainer(t, "sh", "-c", "busybox stty size; sleep 0.5; exit 3")
	c.cfg.Detach, c.cfg.Spec.Process.Terminal, c.cfg.Rows, c.cfg.Cols = true, true, 31, 97
	must(t, c.store.SaveContainer(&record.Container{ID: testID, Name: "box", ImageName: "busybox", MachineID: record.MachineID(), Restart: record.RestartPolicy{Name: "on-failure", Max: 2}}))
	c.keepConfig()
	c.begin()
	c.until("the end", func(st *record.State) bool { return st.Status == record.Exited })
	if out, _ := c.logged(); out != strings.Repeat("31 97\r\n", 3) {
		t.Errorf("%q", out)
	}
}

// A log that cannot be opened for a while goes on afterwards.
func TestRealLogComesBack(t *testing.T) {
	c := detached(t, record.RestartPolicy{}, `trap 'exit 9' TERM; i=0; while :; do echo $((i=i+1)); sleep 0.4; done`)
	log := c.cfg.Dir + "/log"
	c.until("a log", func(*record.State) bool { _, err := os.Stat(log); return err == nil })
	must(t, os.Rename(log, log+".away"))
	must(t, os.Mkdir(log, 0o700))
	time.Sleep(time.Second) // it executes itself, several times
	must(t, os.Remove(log))
	must(t, os.Rename(log+".away", log))
	before, err := os.Stat(log)
	must(t, err)
	within(t, "the log", func() {
		for after := before; err == nil && after.Size() <= before.Size(); after, err = os.Stat(log) {
			time.Sleep(100 * time.Millisecond)
		}
	})
	must(t, err)
	c.stop()
}

// Before it sleeps, it says that it lives: it may have said so long ago.
func TestRealAliveBeforeSleep(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[0])
	c := newContainer(t, "sh", "-c", "trap 'exit 9' TERM; while :; do sleep 0.1; done")
	c.cfg.Detach, c.cfg.Unit = true, &start.Unit{Notify: start.NotifyConmon, Watchdog: 40 * time.Second}
	c.files[toManager] = os.NewFile(uintptr(pair[1]), "manager")
	c.keepConfig()
	c.begin()
	c.parked()
	said := 0
	for buf := make([]byte, 100); ; {
		n, err := unix.Read(pair[0], buf)
		if err != nil {
			break
		}
		if string(buf[:n]) == sdnotify.Alive {
			said++
		}
		must(t, unix.SetNonblock(pair[0], true))
	}
	if said < 2 {
		t.Errorf("it said so %d times", said)
	}
	c.stop()
}
