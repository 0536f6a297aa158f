package userns

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

const allSeven = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET |
	unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

func TestStartWithoutNamespaces(t *testing.T) {
	p, _ := program(t, "exit")
	process, err := Start(p)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	status, err := process.Wait()
	if err != nil || status.ExitStatus() != 3 {
		t.Errorf("status %#x, %v, want exit 3", int(status), err)
	}
	if err := process.Signal(unix.SIGTERM); !errors.Is(err, unix.ESRCH) {
		t.Errorf("signal after the end: %v, want ESRCH", err)
	}
}

func TestDescriptorsOfTheConvention(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	leak, err := unix.Dup(int(null.Fd())) // without close-on-exec, as a careless shell leaves them
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	high, err := unix.FcntlInt(null.Fd(), unix.F_DUPFD, 40)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(high)
	s := show(t, func(p *Program) { p.Conn, p.Files = null, []*os.File{null, null} })
	if !slices.Equal(s.Open, []string{"4 /dev/null", "5 /dev/null", "6 /dev/null"}) || len(s.Inheritable) > 0 {
		t.Errorf("open %v, not close-on-exec %v: want 4, 5 and 6 only, all close-on-exec", s.Open, s.Inheritable)
	}
}

// Whatever number the program's own descriptor has, none that the child is given takes
// its place; and one that is all that there is room for will do.
func TestProgramByDescriptor(t *testing.T) {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	tried := 0
	for n := 3; n < 48; n++ {
		fd, err := unix.FcntlInt(exe.Fd(), unix.F_DUPFD_CLOEXEC, n)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "program")
		if fd == n { // else it is somebody's
			tried++
			show(t, func(p *Program) {
				p.Path, p.File = "the program", file
				p.Files = []*os.File{exe, exe, exe, exe, exe, exe, exe, exe, exe} // most of them have to move
			})
		}
		_ = file.Close()
	}
	if tried < 30 {
		t.Errorf("only %d numbers were free", tried)
	}
	var before unix.Rlimit
	const last = 60
	fd, err := unix.FcntlInt(exe.Fd(), unix.F_DUPFD_CLOEXEC, last)
	if err = errors.Join(err, unix.Getrlimit(unix.RLIMIT_NOFILE, &before), unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: last + 17, Max: before.Max})); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &before) }()
	high := os.NewFile(uintptr(fd), "high")
	defer high.Close()
	show(t, func(p *Program) {
		p.Path, p.File, p.Files = "the program", exe, []*os.File{high, exe, exe, exe, exe, exe, exe, exe, exe}
	})
}

func TestSingleIDNeedsNoTool(t *testing.T) {
	needUserNS(t)
	t.Setenv("PATH", "/nowhere")
	m := Single(errors.New("test"))
	s := show(t, func(p *Program) {
		p.Plan = Plan{Unshare: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, BecomeRoot: true}
		p.MapIDs = m
	})
	want := []IDMap{{0, number(t, me(t).Uid), 1}}
	if !slices.Equal(s.UIDMap, want) || !s.SetgroupsDenied || s.UID != 0 || s.GID != 0 {
		t.Errorf("got %+v, want map %v and setgroups denied", s, want)
	}
}

func TestUserNamespaceWithRanges(t *testing.T) {
	m := needRanges(t)
	s := show(t, func(p *Program) {
		p.Plan = Plan{Unshare: unix.CLONE_NEWUSER, BecomeRoot: true}
		p.MapIDs, p.Setsid = m, true
	})
	if !slices.Equal(s.UIDMap, m.UID) || !slices.Equal(s.GIDMap, m.GID) || s.SetgroupsDenied {
		t.Errorf("got maps %v %v, want %v %v", s.UIDMap, s.GIDMap, m.UID, m.GID)
	}
	if s.UID != 0 || s.GID != 0 || s.CapEff == "0000000000000000" || s.Dumpable != 1 || s.SID != s.PID {
		t.Errorf("got %+v, want root with capabilities, dumpable, session leader", s)
	}
}

func TestJoinRegainsCapabilities(t *testing.T) {
	m := needRanges(t)
	ns := u0(t, m)
	s := show(t, func(p *Program) {
		p.Files = []*os.File{ns}
		p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Unshare: unix.CLONE_NEWNS, BecomeRoot: true}
	})
	if !slices.Equal(s.UIDMap, m.UID) || s.UID != 0 || s.CapEff == "0000000000000000" {
		t.Errorf("got %+v, want root of U0", s)
	}
	if own, _ := os.Readlink("/proc/self/ns/mnt"); s.Namespaces["mnt"] == own {
		t.Error("the mount namespace is still the caller's")
	}
}

func TestCloneOfASandbox(t *testing.T) {
	m := needRanges(t)
	ns := u0(t, m)
	uid, gid := m.Nested()
	var pid int
	s := show(t, func(p *Program) {
		p.Files, p.Setsid = []*os.File{ns}, true
		p.Prepare = func(child int) error { pid = child; return nil }
		p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven,
			UIDMap: uid, GIDMap: gid, BecomeRoot: true, NonDumpable: true}
	})
	if s.PID != 1 || s.SID != 1 || s.UID != 0 || s.GID != 0 || s.Dumpable != 0 || pid <= 1 {
		t.Errorf("got %+v (pid %d outside), want a non-dumpable PID 1, root, session leader", s, pid)
	}
	for name, link := range s.Namespaces {
		if own, _ := os.Readlink("/proc/self/ns/" + name); link == own || link == "" {
			t.Errorf("%s namespace %q is the caller's", name, link)
		}
	}
	// Seen from inside, the lines of U0 are one to one.
	if len(s.UIDMap) != len(m.UID) || Count(s.UIDMap) != Count(m.UID) || s.UIDMap[0] != (IDMap{0, 0, 1}) {
		t.Errorf("map %v, want the identity of %v", s.UIDMap, m.UID)
	}
}

func TestKeepIDAndAutoInTheKernel(t *testing.T) {
	m := needRanges(t)
	ns := u0(t, m)
	keepU, keepG, err := m.KeepID(1000, 100)
	if err != nil {
		t.Fatal(err)
	}
	autoU, autoG, err := m.Auto(1024, []IDMap{{0, 1, 1024}})
	if err != nil {
		t.Fatal(err)
	}
	for name, maps := range map[string][2][]IDMap{"keep-id": {keepU, keepG}, "auto": {autoU, autoG}} {
		s := show(t, func(p *Program) {
			p.Files = []*os.File{ns}
			p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven,
				UIDMap: maps[0], GIDMap: maps[1], BecomeRoot: true}
		})
		if !slices.Equal(s.UIDMap, maps[0]) || s.UID != 0 || s.GID != 0 {
			t.Errorf("%s: got %+v, want %v", name, s, maps[0])
		}
		if s.CapEff == "0000000000000000" {
			t.Errorf("%s: root lost its capabilities", name)
		}
	}
}

func TestNamespacesAreOpenedBeforeTheChildIsClosed(t *testing.T) {
	m := needRanges(t)
	ns := u0(t, m)
	uid, gid := m.Nested()
	var net *os.File
	init := holder(t, func(p *Program) {
		p.Files = []*os.File{ns}
		p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven,
			UIDMap: uid, GIDMap: gid, BecomeRoot: true, NonDumpable: true}
		p.Prepare = func(pid int) (err error) {
			net, err = linux.OpenNamespace(pid, unix.CLONE_NEWNET)
			return err
		}
	})
	defer net.Close()
	if kind, err := linux.NamespaceKind(net); err != nil || kind != unix.CLONE_NEWNET {
		t.Errorf("kind %#x, %v", kind, err)
	}
	if os.Getuid() == 0 {
		t.Skip("the second half needs a user without CAP_SYS_PTRACE on the host")
	}
	if _, err := linux.OpenNamespace(init.PID, unix.CLONE_NEWNET); !errors.Is(err, unix.EACCES) {
		t.Errorf("open afterwards: %v, want EACCES", err)
	}
}

func TestFailuresNameTheStep(t *testing.T) {
	needUserNS(t)
	netns := namespace(t, 0, unix.CLONE_NEWNET)
	broken := func(int) error { return hint.Newf("prepare", "", "on purpose") }
	for name, c := range map[string]struct {
		change func(p *Program)
		want   string
		errno  error
	}{
		"wrong type": {func(p *Program) {
			p.Files, p.Plan = []*os.File{netns}, Plan{Join: []Join{{5, unix.CLONE_NEWUTS}}}
		}, "join the uts namespace: ", unix.EINVAL},
		"not passed":      {func(p *Program) { p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUTS}}} }, "was not passed", nil},
		"no such program": {func(p *Program) { p.Path = "/nonexistent/rc-init" }, "start /nonexistent/rc-init: ", unix.ENOENT},
		"no constructor":  {func(p *Program) { p.Path = "/bin/true" }, "ended before it was set up: exit code 0", nil},
		"killed": {func(p *Program) {
			p.Plan.Fork, p.Prepare = true, func(pid int) error { return unix.Kill(pid, unix.SIGKILL) }
		}, "ended before it was set up: signal 9", nil},
		"no maps":     {func(p *Program) { p.Plan.Unshare = unix.CLONE_NEWUSER }, "without ID maps", nil},
		"overlapping": {func(p *Program) { p.Plan = Plan{Clone: unix.CLONE_NEWUSER, UIDMap: []IDMap{{0, 0, 2}, {1, 5, 1}}} }, "overlaps", nil},
		"others' ids": {func(p *Program) {
			p.Plan = Plan{Clone: unix.CLONE_NEWUSER, UIDMap: []IDMap{{0, 4242, 9}}, GIDMap: []IDMap{{0, 4242, 9}}}
		}, "map of the new user namespace", unix.EPERM},
		"prepare":           {func(p *Program) { p.Plan.Fork, p.Prepare = true, broken }, "on purpose", nil},
		"descriptor folder": {func(p *Program) { p.Dir = "/nonexistent" }, "start /proc/self/exe: ", unix.ENOENT},
	} {
		t.Run(name, func(t *testing.T) {
			if name == "others' ids" && os.Getuid() == 0 {
				t.Skip("root may map any id")
			}
			p, _ := program(t, "exit")
			c.change(p)
			process, err := Start(p)
			if err == nil {
				_, _ = process.Wait()
				t.Fatal("no error")
			}
			var h *hint.Error
			if !errors.As(err, &h) || !strings.Contains(err.Error(), c.want) || c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("got %v (%T), want %q and %v", err, err, c.want, c.errno)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q has more than one line", err)
			}
			if _, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != unix.ECHILD {
				t.Errorf("a child is left: %v", err)
			}
		})
	}
}

// A cgroup that is not ours refuses clone3, and the error says that it was the
// cgroup, so that the caller can try again and move the process in Prepare.
func TestRefusedCgroupIsNamed(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("needs a user to whom the root cgroup does not belong")
	}
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p, _ := program(t, "exit")
		p.Files, p.Plan = []*os.File{f}, Plan{CgroupFD: 5}
		if _, err = Start(p); !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "in its cgroup") {
			t.Errorf("got %v, want EACCES in its cgroup", err)
		}
		return
	}
	t.Skip("needs a cgroup v2 mount")
}

// In the rig (tests/rig/cgroup2-exec USER go test …) the clone lands in its
// cgroup, which is the root of its cgroup namespace from the first instruction.
func TestCloneIntoCgroup(t *testing.T) {
	top := os.Getenv("RIG_CGROUP")
	if top == "" {
		t.Skip("needs a delegated cgroup: run the test in tests/rig/cgroup2-exec")
	}
	m := needRanges(t)
	ns := u0(t, m)
	uid, gid := m.Nested()
	dir := top + "/userns-test"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var outside string
	s := show(t, func(p *Program) {
		p.Files = []*os.File{ns, f}
		p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven, CgroupFD: 6, UIDMap: uid, GIDMap: gid, BecomeRoot: true}
		p.Prepare = func(pid int) error {
			data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
			outside = string(data)
			return err
		}
	})
	if !strings.Contains(outside, "/userns-test\n") || !strings.Contains(s.Cgroup, "0::/\n") {
		t.Errorf("outside %q, inside %q", outside, s.Cgroup)
	}
}

// A keyring made in U0 counts against a subordinate id, not against the user.
func TestKeyringIsChargedToASubordinateID(t *testing.T) {
	ns := u0(t, needRanges(t))
	p, out := program(t, "keyring")
	p.Files, p.Plan = []*os.File{ns}, Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, BecomeRoot: true}
	if got := run(t, p, out); !strings.HasPrefix(got, "keyring;5;") || !strings.HasSuffix(got, " 0 0 0\n") {
		t.Errorf("got %q", got)
	}
}

func TestStandsAside(t *testing.T) {
	text := []byte("rc-plan1 and more than enough text after it")
	plain, err := os.CreateTemp(t.TempDir(), "plan")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err = plain.Write(text); err != nil {
		t.Fatal(err)
	}
	short, err := linux.SealedMemfd("short", text)
	if err != nil {
		t.Fatal(err)
	}
	defer short.Close()
	other, err := linux.SealedMemfd("other", make([]byte, 16384))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for name, extra := range map[string][]*os.File{
		"by hand": nil, "file": {plain}, "truncated plan": {short}, "another memory file": {other},
	} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env, cmd.ExtraFiles = []string{roleVariable + "=stand"}, extra
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "stood aside" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	m := needRanges(t)
	ns := u0(t, m)
	uid, gid := m.Nested()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				p, _ := program(t, "exit")
				p.Files = []*os.File{ns}
				p.Plan = Plan{Join: []Join{{5, unix.CLONE_NEWUSER}}, Clone: allSeven, UIDMap: uid, GIDMap: gid, BecomeRoot: true}
				process, err := Start(p)
				if err != nil {
					t.Error(err)
					return
				}
				if status, err := process.Wait(); err != nil || status.ExitStatus() != 3 {
					t.Errorf("status %#x, %v", int(status), err)
				}
				process.Close()
			}
		})
	}
	wg.Wait()
}

// What a starter does between Begin and Finish may take longer than a constructor may.
func TestFinishComesLate(t *testing.T) {
	p, _ := program(t, "exit")
	s, err := Begin(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ours.sock.SetReadDeadline(time.Now().Add(-time.Second)); err != nil { // as after half a minute
		t.Fatal(err)
	}
	process, err := s.Finish()
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	if status, err := process.Wait(); err != nil || status.ExitStatus() != 3 {
		t.Errorf("status %#x, %v, want exit 3", int(status), err)
	}
}
