package fuse

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests run inside a user namespace like U0 and a mount namespace of their
// own: TestMain starts the test binary again under util-linux's unshare(1). The
// same binary also plays the container (roles, in nested_test.go).
const (
	envInside = "RC_FUSE_TEST_INSIDE"
	envRole   = "RC_FUSE_TEST_ROLE"
)

var unshareArgs = []string{"--user", "--map-root-user", "--map-auto", "--mount", "--propagation", "private", "--"}

// outside says why the tests are not in a user namespace; "" if they are.
var outside string

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(playRole(role))
	}
	if os.Getenv(envInside) == "" {
		if out, err := exec.Command("unshare", append(unshareArgs, "true")...).CombinedOutput(); err != nil {
			outside = fmt.Sprintf("no user namespace with subordinate ids for uid %d: %v: %s", os.Getuid(), err, bytes.TrimSpace(out))
			os.Exit(m.Run())
		}
		cmd := exec.Command("unshare", append(append(unshareArgs, "/proc/self/exe"), os.Args[1:]...)...)
		// /proc/self/exe would be unshare's: name the file.
		self, err := os.Executable()
		if err != nil {
			panic(err)
		}
		cmd.Args[len(unshareArgs)+1] = self
		cmd.Env = append(os.Environ(), envInside+"=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			if cmd.ProcessState == nil {
				panic(err)
			}
			os.Exit(max(cmd.ProcessState.ExitCode(), 1))
		}
		os.Exit(0)
	}
	before := traces()
	code := m.Run()
	if after := traces(); code == 0 && after != before {
		fmt.Printf("FAIL: something was left behind\nbefore:\n%s\nafter:\n%s\n", before, after)
		code = 1
	}
	os.Exit(code)
}

// traces lists this namespace's mounts and this process's children.
func traces() string {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	var points []string
	for line := range strings.Lines(string(mounts)) {
		points = append(points, strings.Fields(line)[4])
	}
	children, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	return strings.Join(points, "\n") + "\nchildren: " + string(children)
}

func needNamespace(t testing.TB) {
	t.Helper()
	if outside != "" {
		t.Skip(outside)
	}
}

// needDriver skips where the host lacks the driver, with the probe's reason.
func needDriver(t testing.TB, d Driver) {
	t.Helper()
	needNamespace(t)
	if _, err := probe(d, t.TempDir()); err != nil {
		t.Skipf("driver %s does not work on this host: %v", d, err)
	}
}

// forEachDriver runs test as a subtest for each driver.
func forEachDriver(t *testing.T, test func(*testing.T, Driver)) {
	for _, d := range Drivers {
		t.Run(string(d), func(t *testing.T) {
			needDriver(t, d)
			test(t, d)
		})
	}
}

// box is a container's folder with the layers of its image.
type box struct {
	testing.TB
	Rootfs
	driver Driver
	root   string // where the root file system is mounted
	live   *Mounted
}

// newBox prepares upper and work beside the layers (topmost first).
func newBox(t testing.TB, d Driver, layers ...string) *box {
	dir := t.TempDir()
	b := &box{TB: t, driver: d, root: dir + "/root"}
	b.Layers, b.Upper, b.Work = layers, dir+"/upper", dir+"/work"
	for _, p := range []string{b.root, b.Upper, b.Work} {
		must(t, os.Mkdir(p, 0o700))
	}
	return b
}

// start mounts the box at b.root.
func (b *box) start() *box {
	b.Helper()
	m, err := Mount(b.driver, b.Rootfs)
	if err != nil {
		b.Fatal(err)
	}
	b.attach(m)
	return b
}

func (b *box) attach(m *Mounted) {
	b.Helper()
	must(b, unix.MoveMount(int(m.FD.Fd()), "", unix.AT_FDCWD, b.root, unix.MOVE_MOUNT_F_EMPTY_PATH))
	b.live = m
	b.Cleanup(b.stop)
}

// stop unmounts the box and expects that its helper ends by itself.
func (b *box) stop() {
	b.Helper()
	if b.live == nil {
		return
	}
	m := b.live
	b.live = nil
	m.Close()
	// A parallel test may be between fork and exec, with a copy of m.FD.
	err := unix.Unmount(b.root, 0)
	for i := 0; err == unix.EBUSY && i < 200; i++ {
		time.Sleep(5 * time.Millisecond)
		err = unix.Unmount(b.root, 0)
	}
	must(b, err)
	if m.Helper != nil {
		if err := m.Helper.Wait(); err != nil {
			b.Errorf("the helper did not end well: %v", err)
		}
	}
}

// restart stops and starts the box on the same upper folder.
func (b *box) restart() {
	b.Helper()
	b.stop()
	b.start()
}

func (b *box) path(name string) string { return b.root + "/" + name }

func (b *box) read(name string) string {
	b.Helper()
	data, err := os.ReadFile(b.path(name))
	must(b, err)
	return string(data)
}

func (b *box) write(name, data string) {
	b.Helper()
	must(b, os.WriteFile(b.path(name), []byte(data), 0o644))
}

func (b *box) stat(name string) unix.Stat_t {
	b.Helper()
	var st unix.Stat_t
	must(b, unix.Lstat(b.path(name), &st))
	return st
}

// hidden checks that the names do not exist.
func (b *box) hidden(names ...string) {
	b.Helper()
	for _, n := range names {
		if _, err := os.Lstat(b.path(n)); !os.IsNotExist(err) {
			b.Errorf("%s: should not exist, Lstat says %v", n, err)
		}
	}
}

// lists checks the names in a folder, in order.
func (b *box) lists(name string, want ...string) {
	b.Helper()
	entries, err := os.ReadDir(b.path(name))
	must(b, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		b.Errorf("%s lists %q, want %q", name, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func statFile(t testing.TB, path string) *syscall.Stat_t {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t)
}
