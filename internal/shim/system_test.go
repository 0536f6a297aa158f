package shim

import (
	"os"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// system is the shim of a system container, as far as it decides things.
func system(kind string) *shim {
	return &shim{cfg: &start.Config{ID: testID, Systemd: kind, StopSignal: 37, Clone: unix.CLONE_NEWPID, Spec: &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}}}
}

// signaled is the wait status of an end by sig (wait(2)).
func signaled(sig unix.Signal) unix.WaitStatus { return unix.WaitStatus(sig) }

func TestShutdown(t *testing.T) {
	for _, c := range []struct {
		kind         string
		clone        int
		ws           unix.WaitStatus
		down, reboot bool
	}{
		{"true", unix.CLONE_NEWPID, signaled(unix.SIGINT), true, false},
		{"always", unix.CLONE_NEWPID, signaled(unix.SIGHUP), true, true},
		{"true", unix.CLONE_NEWPID, signaled(unix.SIGKILL), false, false},
		{"true", unix.CLONE_NEWPID, signaled(unix.SIGSEGV), false, false},
		{"true", unix.CLONE_NEWPID, 1 << 8, false, false}, // exit(1)
		{"", unix.CLONE_NEWPID, signaled(unix.SIGHUP), false, false},
		{"true", 0, signaled(unix.SIGHUP), false, false}, // anybody's signal
	} {
		s := system(c.kind)
		s.cfg.Clone = c.clone
		if down, reboot := s.shutdown(c.ws); down != c.down || reboot != c.reboot {
			t.Errorf("%+v: %v %v", c, down, reboot)
		}
	}
}

// A reboot is a new life whatever the policy, and counts as no failure; a user's
// stop that comes meanwhile goes before.
func TestRebootIsNoRestart(t *testing.T) {
	for _, c := range []struct {
		rebooted, stopped, remove bool
		policy                    string
		again                     bool
		count                     int
	}{
		{true, false, false, "", true, 2},
		{true, false, false, "no", true, 2},
		{true, true, false, "always", false, 2},
		{true, false, true, "", false, 2},
		{false, false, false, "always", true, 3},
		{false, false, false, "", false, 2},
	} {
		s := system("true")
		s.store, s.cfg.Dir = &record.Store{Root: t.TempDir()}, "/nonexistent/folder"
		s.known.Restart = record.RestartPolicy{Name: c.policy}
		must(t, os.MkdirAll(s.store.ContainerDir(testID), 0o755))
		must(t, s.store.SaveContainer(&record.Container{ID: testID, Restart: s.known.Restart}))
		s.rebooted, s.cfg.AutoRemove = c.rebooted, c.remove
		s.state = record.State{Stopped: c.stopped, RestartCount: 2, Started: time.Now()}
		if _, again := s.judge(0, false); again != c.again || s.state.RestartCount != c.count {
			t.Errorf("%+v: again %v, count %d", c, again, s.state.RestartCount)
		}
	}
}

func TestPassedOn(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP} {
		if got := system("true").passedOn(sig); got != 37 {
			t.Errorf("%v becomes %v", sig, got)
		}
		if got := system("").passedOn(sig); got != sig {
			t.Errorf("an ordinary container: %v becomes %v", sig, got)
		}
	}
	if got := system("true").passedOn(unix.SIGUSR1); got != unix.SIGUSR1 {
		t.Errorf("SIGUSR1 becomes %v", got)
	}
}

// Our end of the console reads nothing wrong while systemd has it closed, and its
// end once the container is gone.
func TestHoldConsole(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer master.Close()
	must(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	poll := func() int16 {
		fds := []unix.PollFd{{Fd: int32(master.Fd()), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 0)
		must(t, err)
		return fds[0].Revents
	}
	s := system("true")
	s.holdConsole(master)
	if s.console == nil || poll()&unix.POLLHUP != 0 {
		t.Fatalf("%v, events %#x", s.console, poll())
	}
	if fd, err := unix.FcntlInt(s.console.Fd(), unix.F_GETFD, 0); err != nil || fd&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x %v", fd, err)
	}
	if s.carriedFiles()[console] != s.console {
		t.Error("it does not go to the next program of the shim")
	}
	s.dropConsole()
	s.dropConsole()
	if poll()&unix.POLLHUP == 0 {
		t.Error("the end of the terminal is not seen")
	}
	ordinary := system("")
	if ordinary.holdConsole(master); ordinary.console != nil {
		t.Error("an ordinary container's terminal is held")
	}
}

func TestGiveCgroup(t *testing.T) {
	s := system("true")
	s.group = cgroup.Open(t.TempDir() + "/rc-none")
	s.cfg.UIDMap = []userns.IDMap{{Inside: 0, Outside: 0, Size: 10}}
	s.cfg.GIDMap = s.cfg.UIDMap
	must(t, s.giveCgroup()) // its root is ourselves: nothing is touched
	s.cfg.UIDMap = []userns.IDMap{{Inside: 0, Outside: 5, Size: 10}}
	if err := s.giveCgroup(); err == nil {
		t.Error("a group that is not there was given away")
	}
	s.cfg.UIDMap = []userns.IDMap{{Inside: 1, Outside: 5, Size: 10}}
	if err := s.giveCgroup(); err == nil {
		t.Error("a container without a root got a cgroup")
	}
	s.cfg.Systemd = ""
	must(t, s.giveCgroup())
}

func TestOwnCgroup(t *testing.T) {
	s := system("true")
	s.cfg.Spec.Mounts = []specs.Mount{{Destination: "/sys", Type: "bind"}, {Destination: "/sys/fs/cgroup", Type: "cgroup2"}, {Destination: "/x", Type: "tmpfs"}}
	for dest, want := range map[string]bool{"/sys/fs/cgroup": true, "/x": false, "/sys": false, "/host/sys/fs/cgroup": false} {
		if s.ownCgroup(dest) != want {
			t.Errorf("%s: %v", dest, !want)
		}
	}
}

// What tells a system container from another goes to the next program of the shim.
func TestSystemdIsKept(t *testing.T) {
	k := keep(system("always").cfg)
	if got := k.config().Systemd; got != "always" {
		t.Errorf("%q", got)
	}
}
