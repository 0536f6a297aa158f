package keeper

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// forkedRole says what it is, and stays until its caller goes.
func forkedRole() error {
	c := stage.NewConn(connFD)
	inherited, err := slirp.ProcessOf(os.Getpid())
	if err != nil {
		return err
	}
	// Go raised the soft one at its start; what children get is what we were given.
	child, err := childsNoFile()
	if err != nil {
		return err
	}
	inherited.Limits[unix.RLIMIT_NOFILE] = child
	sid, _ := unix.Getsid(0)
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var mnt unix.Stat_t
	if err := unix.Stat("/proc/self/ns/mnt", &mnt); err != nil {
		return err
	}
	open, _ := os.ReadDir("/proc/self/fd")
	text := fmt.Sprintf("uid %d gid %d leader %v dumpable %d mount %d parent %d args %q env %q files %v", os.Getuid(), os.Getgid(), sid == os.Getpid(),
		dumpable, mnt.Ino, os.Getppid(), os.Args, os.Environ(), len(open) < 12)
	if err := c.Send(&report{result{Text: text, PID: os.Getpid()}, *inherited}); err != nil {
		return err
	}
	var o order
	_, _ = c.Recv(&o)
	return nil
}

type report struct {
	result
	slirp.Process
}

// childsNoFile is the limit of open files that a child of this process has.
func childsNoFile() (slirp.Limit, error) {
	pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "10"}, &syscall.ProcAttr{Env: []string{}})
	if err != nil {
		return slirp.Limit{}, err
	}
	defer func() { _ = unix.Kill(pid, unix.SIGKILL); _, _ = unix.Wait4(pid, nil, 0, nil) }()
	var l unix.Rlimit
	err = unix.Prlimit(pid, unix.RLIMIT_NOFILE, nil, &l)
	return slirp.Limit{Cur: l.Cur, Max: l.Max}, err
}

var errEnough = errors.New("enough")

// copyOfMounts is what rc sends: a mount namespace of U0's, and what a child inherits.
func (h *host) copyOfMounts(u0 *os.File) (mount *os.File, inherited *slirp.Process) {
	h.t.Helper()
	_, err := userns.Start(&userns.Program{
		Path: "/proc/self/exe", Args: []string{"forked"}, Files: []*os.File{u0},
		Plan: userns.Plan{Join: []userns.Join{{FD: 5, Type: unix.CLONE_NEWUSER}}, Unshare: unix.CLONE_NEWNS, Fork: true, BecomeRoot: true},
		Prepare: func(pid int) (err error) {
			if mount, err = linux.OpenNamespace(pid, unix.CLONE_NEWNS); err == nil {
				inherited, err = slirp.ProcessOf(pid)
			}
			return errors.Join(err, errEnough)
		},
	})
	if mount == nil || inherited == nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = mount.Close() })
	return mount, inherited
}

// request is a good one, with the other end of the conversation.
func (h *host) request(c *slirp.Client) (f *slirp.Fork, files [3]*os.File, ours *stage.Conn) {
	h.t.Helper()
	_, u0, err := c.Hello()
	if err != nil {
		h.t.Fatal(err)
	}
	defer u0.Close()
	mount, inherited := h.copyOfMounts(u0)
	self, err := os.OpenFile("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		h.t.Fatal(err)
	}
	_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
	h.t.Cleanup(func() { _ = self.Close(); _ = ours.Close(); _ = theirs.Close() })
	f = &slirp.Fork{Args: []string{"forked", "a", "b"}, Env: []string{"X=1"}, Namespaces: slirp.OwnNamespaces(), Process: *inherited}
	return f, [3]*os.File{self, mount, theirs.File()}, ours
}

// What a child of ours would have been, the keeper's is: whatever the keeper is.
func TestForkedIsLikeAChildOfTheCaller(t *testing.T) {
	h := newHost(t)
	c := h.mustStart()
	defer c.Close()
	// The keeper is there; now the caller is somebody else.
	runtime.LockOSThread() // nice value and affinity are a thread's, and its children's
	defer runtime.UnlockOSThread()
	niceBefore, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &before); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_CORE, &before) }()
	f, files, ours := h.request(c)
	f.Nice, f.OOMScoreAdj = 20-niceBefore+3, max(f.OOMScoreAdj, 0)+100
	f.CPUs = f.CPUs[:1]
	f.CPUs[0] &= -f.CPUs[0] // the first of our processors
	f.Limits[unix.RLIMIT_NOFILE] = slirp.Limit{Cur: 100, Max: 200}
	p, less, err := c.Fork(f, files[0], files[1], files[2])
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if len(less) != 0 {
		t.Errorf("it could not give %v", less)
	}
	var r report
	if _, err := ours.Recv(&r); err != nil {
		t.Fatal(err)
	}
	var mnt unix.Stat_t
	if err := unix.Fstat(int(files[1].Fd()), &mnt); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`uid 0 gid 0 leader true dumpable 0 mount %d parent %d args ["forked" "a" "b"] env ["X=1"] files true`, mnt.Ino, h.keeperPID())
	if r.Text != want || r.PID != p.PID {
		t.Errorf("it is\n%s\nwant\n%s", r.Text, want)
	}
	for which, l := range f.Limits {
		if r.Limits[which] != l {
			t.Errorf("limit %d is %v, want %v", which, r.Limits[which], l)
		}
	}
	if r.Nice != f.Nice || r.OOMScoreAdj != f.OOMScoreAdj || r.CPUs[0] != f.CPUs[0] {
		t.Errorf("nice %d, score %d, processors %x; want %d, %d, %x", r.Nice, r.OOMScoreAdj, r.CPUs[0], f.Nice, f.OOMScoreAdj, f.CPUs[0])
	}
	_ = ours.Close()
	if _, err := p.Wait(); err != nil && !errors.Is(err, linux.ErrNoExitInfo) {
		t.Errorf("its end: %v", err)
	}
	h.eventually("the keeper has reaped it", func() bool { return unix.Kill(p.PID, 0) == unix.ESRCH })
}

// A hard limit that the keeper itself has not, is said once.
func TestForkedWithLess(t *testing.T) {
	p := &slirp.Process{Limits: make([]slirp.Limit, unix.RLIMIT_CORE+1)}
	for which := range p.Limits {
		p.Limits[which] = slirp.Limit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	}
	s := &stand{}
	if got := s.news([]string{"a"}); len(got) != 1 {
		t.Errorf("the first: %v", got)
	}
	if got := s.news([]string{"a"}); got != nil {
		t.Errorf("the same again: %v", got)
	}
	if got := s.news(nil); got != nil {
		t.Errorf("nothing: %v", got)
	}
	if os.Getuid() == 0 {
		t.Skip("root may raise every limit")
	}
	cmd, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "ulimit -Hc 0; sleep 20"}, &syscall.ProcAttr{Env: []string{"PATH=/bin:/usr/bin"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Kill(cmd, unix.SIGKILL); _, _ = unix.Wait4(cmd, nil, 0, nil) }()
	var l unix.Rlimit
	for range 1000 {
		if err := unix.Prlimit(cmd, unix.RLIMIT_CORE, nil, &l); err != nil {
			t.Fatal(err)
		}
		if l.Max == 0 {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	less, err := (&slirp.Process{Limits: p.Limits, Nice: -5}).ApplyTo(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(less, ", "); !strings.Contains(text, "the hard limit of core size") || !strings.Contains(text, "the nice value") {
		t.Errorf("less: %q", text)
	}
}

func TestHostileFork(t *testing.T) {
	h := newHost(t)
	c := h.mustStart()
	defer c.Close()
	f, files, _ := h.request(c)
	own, err := linux.OpenNamespace(0, unix.CLONE_NEWNS)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	with := func(change func(*slirp.Fork)) *slirp.Fork { g := *f; change(&g); return &g }
	for name, c := range map[string]struct {
		f     *slirp.Fork
		files [3]*os.File
		says  string
	}{
		"no arguments":            {with(func(f *slirp.Fork) { f.Args = nil }), files, "0 arguments"},
		"a long environment":      {with(func(f *slirp.Fork) { f.Env = make([]string, 17) }), files, "17 variables"},
		"another network":         {with(func(f *slirp.Fork) { f.Namespaces = slirp.Namespaces{"net": 1} }), files, "other namespaces of the host (net, ipc"},
		"the host's mounts":       {f, [3]*os.File{files[0], own, files[2]}, "operation not permitted"},
		"a file for mounts":       {f, [3]*os.File{files[0], null, files[2]}, "not a mount namespace"},
		"a file for conversation": {f, [3]*os.File{files[0], files[1], null}, "no socket"},
		"a device for a program":  {f, [3]*os.File{null, files[1], files[2]}, "permission denied"},
		"too many limits":         {with(func(f *slirp.Fork) { f.Limits = make([]slirp.Limit, 17) }), files, "17 limits"},
		"too many processors":     {with(func(f *slirp.Fork) { f.CPUs = make([]uint, 17) }), files, "17 words"},
		"no processor":            {with(func(f *slirp.Fork) { f.CPUs = []uint{0} }), files, "sched_setaffinity"},
	} {
		fresh := h.mustStart()
		_, _, err := fresh.Fork(c.f, c.files[0], c.files[1], c.files[2])
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		fresh.Close()
	}
	if left := h.children("forked"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A keeper that is killed under a request: one clear line, and nothing half-made.
func TestKeeperKilledUnderAFork(t *testing.T) {
	h := newHost(t)
	c := h.mustStart()
	defer c.Close()
	f, files, ours := h.request(c)
	pid := h.keeperPID()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the keeper is dead", func() bool { return !alive(pid) })
	_, _, err := c.Fork(f, files[0], files[1], files[2])
	if !errors.Is(err, slirp.ErrNoKeeper) || !strings.Contains(err.Error(), "run the command again") {
		t.Errorf("%v", err)
	}
	_ = files[2].Close()
	var r report
	if _, err := ours.Recv(&r); err == nil {
		t.Errorf("somebody lives: %+v", r)
	}
}

// askedOnce is a systemd that counts.
type askedOnce struct {
	settled, asked int
	group          string
	err            error
}

func (a *askedOnce) Settle(int) (string, error) { a.settled++; return a.group, a.err }
func (a *askedOnce) Delegated(_ int, group string) (bool, error) {
	a.asked++
	return strings.HasSuffix(group, "yes.service"), a.err
}

func TestSystemdIsAskedOnce(t *testing.T) {
	a := &askedOnce{err: unix.ENOENT}
	s := &stand{place: a}
	for range 3 {
		if _, err := s.where(); !errors.Is(err, unix.ENOENT) || a.settled != 1 {
			t.Errorf("%v after %d", err, a.settled)
		}
	}
	var w slirp.Welcome
	if s.describe(&w); w.NoGroup == nil || w.Group != "" {
		t.Errorf("said %+v", w)
	}
	s.tried = time.Now().Add(-retryAfter) // the user has done what was said
	a.group, a.err = "/x/rc.scope", nil
	k := &keeper{stand: s}
	if k.idleLimit() != idleLimit {
		t.Error("it stays although it has no scope")
	}
	for range 3 {
		if group, err := s.where(); err != nil || group != "/x/rc.scope" || a.settled != 2 {
			t.Errorf("%s %v after %d", group, err, a.settled)
		}
	}
	if k.idleLimit() != idleInScope {
		t.Error("it goes at once, and systemd is asked again by the next")
	}
	for _, c := range []struct {
		unit  slirp.Unit
		want  bool
		asked int
	}{{slirp.Unit{Group: "/yes.service", Inode: 1}, true, 1}, {slirp.Unit{Group: "/yes.service", Inode: 1}, true, 1}, {slirp.Unit{Group: "/yes.service", Inode: 2}, true, 2},
		{slirp.Unit{Group: "/no.service", Inode: 3}, false, 3}, {slirp.Unit{Group: "/no.service", Inode: 3}, false, 3}} {
		if yes, err := s.delegated(&c.unit); err != nil || yes != c.want || a.asked != c.asked {
			t.Errorf("%+v: %v %v, asked %d times", c.unit, yes, err, a.asked)
		}
	}
	if yes, err := (&stand{}).delegated(&slirp.Unit{Group: "/yes.service"}); yes || err != nil {
		t.Errorf("nobody to ask: %v %v", yes, err)
	}
}
