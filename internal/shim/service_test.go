package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/stage/start"
)

// datagrams is a pair of sockets; both ends are for Go's poller.
func datagrams(t *testing.T) (a, b *os.File) {
	t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	must(t, err)
	a, b = os.NewFile(uintptr(p[0]), "a"), os.NewFile(uintptr(p[1]), "b")
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// heard reads the next datagram; "" for none within a moment.
func heard(t *testing.T, f *os.File, moment time.Duration) string {
	t.Helper()
	must(t, f.SetReadDeadline(time.Now().Add(moment)))
	buf := make([]byte, 8192)
	n, _ := f.Read(buf)
	return string(buf[:n])
}

// serving is a shim that runs a container of a unit, without the container.
func serving(t *testing.T, u *start.Unit) (s *shim, manager, inside *os.File) {
	t.Helper()
	s = &shim{cfg: &start.Config{Unit: u}, done: make(chan struct{}), files: map[string]*os.File{}}
	s.files[toManager], manager = datagrams(t)
	if u.Notify == start.NotifyContainer {
		s.files[fromInside], inside = datagrams(t)
	}
	s.state.Status = record.Running
	t.Cleanup(func() { close(s.done) })
	return s, manager, inside
}

// What a container says goes on, but for what is not its affair; descriptors that
// come along are closed, and the shim is free to execute itself in between.
func TestPassNotify(t *testing.T) {
	s, manager, inside := serving(t, &start.Unit{Notify: start.NotifyContainer, Watchdog: time.Millisecond})
	s.serviceStarted()
	r, w, err := os.Pipe()
	must(t, err)
	must(t, unix.Sendmsg(int(inside.Fd()), []byte("FDSTORE=1\nREADY=1\nMAINPID=1\nSTATUS=up"), unix.UnixRights(int(w.Fd())), nil, 0))
	_ = w.Close()
	if got := heard(t, manager, 5*time.Second); got != "READY=1\nSTATUS=up" {
		t.Errorf("%q", got)
	}
	must(t, r.SetReadDeadline(time.Now().Add(5*time.Second)))
	if n, err := r.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Errorf("the descriptor is still open: %v", err)
	}
	must(t, unix.Sendmsg(int(inside.Fd()), []byte("BARRIER=1"), nil, nil, 0))
	must(t, unix.Sendmsg(int(inside.Fd()), []byte(strings.Repeat("STATUS=x\n", 1000)), nil, nil, 0))
	if got := heard(t, manager, 100*time.Millisecond); got != "" { // nor a sign of life of ours
		t.Errorf("%q", got)
	}
	s.work.mu.Lock()
	defer s.work.mu.Unlock()
	if s.work.n != 0 {
		t.Error("the shim is busy for ever")
	}
}

// A flood is slowed down.
func TestNotifyFlood(t *testing.T) {
	s, manager, inside := serving(t, &start.Unit{Notify: start.NotifyContainer})
	s.serviceStarted()
	go func() {
		for range burst + 40 {
			if sdnotify.Send(inside, sdnotify.Alive) != nil {
				return
			}
		}
	}()
	began := time.Now()
	for i := range burst + 40 {
		if got := heard(t, manager, 5*time.Second); got != sdnotify.Alive {
			t.Fatalf("%d: %q", i, got)
		}
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("all went through in %v", took)
	}
}

// Signs of life are the shim's where the payload gives none; a container that is
// unhealthy and was to be healthy gives none.
func TestSignsOfLife(t *testing.T) {
	for _, c := range []struct {
		mode, health string
		want         string
	}{
		{start.NotifyConmon, "", sdnotify.Alive}, {start.NotifyConmon, unhealthy, sdnotify.Alive}, {start.NotifyHealthy, unhealthy, ""},
	} {
		s, manager, _ := serving(t, &start.Unit{Notify: c.mode, Watchdog: 40 * time.Millisecond})
		if c.health != "" {
			s.state.Health = &record.Health{Status: c.health}
		}
		s.serviceStarted()
		for range 3 {
			if got := heard(t, manager, 300*time.Millisecond); got != c.want {
				t.Errorf("%+v: %q", c, got)
			}
		}
		if next, _ := s.parkLimit(); next > 20*time.Millisecond {
			t.Errorf("it would sleep for %v", next)
		}
	}
}

func TestReadyWhenHealthy(t *testing.T) {
	s, manager, _ := serving(t, &start.Unit{Notify: start.NotifyHealthy})
	s.state.Health = &record.Health{Status: starting}
	s.serviceStarted()
	if got := heard(t, manager, 50*time.Millisecond); got != "" {
		t.Errorf("%q", got)
	}
	s.state.Health = &record.Health{Status: healthy}
	s.sayHealthy()
	if got := heard(t, manager, 5*time.Second); got != sdnotify.Ready {
		t.Errorf("%q", got)
	}
}

// Sockets of a unit reach the payload as 3 and on, in each of its lives; and a pid
// file names the payload of each.
func TestRealSockets(t *testing.T) {
	c := newContainer(t, "sh", "-c", `echo $LISTEN_FDS $LISTEN_PID $$ $LISTEN_FDNAMES $(ls /proc/self/fd | wc -w); ls -l /proc/self/fd/3 /proc/self/fd/4 | sed 's/.*-> //; s/:.*//'; sleep 0.2; exit 3`)
	a, b := datagrams(t)
	pidfile := filepath.Join(t.TempDir(), "pid")
	c.cfg.Detach, c.cfg.PIDFile = true, pidfile
	c.cfg.Unit = &start.Unit{Sockets: []start.Socket{{Name: "one"}, {}}}
	c.files["listen-0"], c.files["listen-1"] = a, b
	must(t, c.store.SaveContainer(&record.Container{ID: testID, Name: "box", ImageName: "busybox", MachineID: record.MachineID(),
		Restart: record.RestartPolicy{Name: "on-failure", Max: 1}}))
	c.keepConfig()
	c.begin()
	if text, err := os.ReadFile(pidfile); err != nil || string(text) != fmt.Sprintln(c.state().PID) {
		t.Errorf("%q %v", text, err)
	}
	within(t, "the end", func() { _, _ = c.shim.Wait() })
	out, _ := c.logged()
	// ls has a descriptor of its own, of the folder.
	if life := "2 1 1 one:unknown 6\nsocket\nsocket\n"; out != life+life {
		t.Errorf("%q", out)
	}
	if _, err := os.Stat(pidfile); err == nil {
		t.Error("the pid file is still there")
	}
}
