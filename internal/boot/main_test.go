package boot

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/stage/start"
)

// insideVariable is set in a test that runs itself again as root of a user
// namespace, or as a process that it may spoil.
const insideVariable = "RC_BOOT_TEST_INSIDE"

// again runs the calling test in a new process, below unshare(1) when arguments
// for it are given, and says whether this is that process. What the test changes
// of its thread, its ids or its mounts ends there.
func again(t *testing.T, unshare ...string) bool {
	t.Helper()
	if os.Getenv(insideVariable) != "" {
		runtime.LockOSThread()
		return true
	}
	self, err := os.Executable()
	must(t, err)
	line := []string{self, "-test.v", "-test.run=^" + t.Name() + "$"}
	if len(unshare) > 0 {
		if out, err := exec.Command("unshare", append(unshare, "--", "true")...).CombinedOutput(); err != nil {
			t.Skipf("uid %d cannot: unshare %s: %v: %s", os.Getuid(), strings.Join(unshare, " "), err, bytes.TrimSpace(out))
		}
		line = append(append(append([]string{"unshare"}, unshare...), "--"), line...)
	}
	cmd := exec.Command(line[0], line[1:]...)
	// One that leaves the root cannot clean up after itself: we do.
	cmd.Env = append(os.Environ(), insideVariable+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("%v: %s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	}
	return false
}

// leave ends a process whose test stands in another root: nothing could be
// cleaned up there.
func leave(t *testing.T) {
	if t.Failed() {
		os.Exit(1)
	}
	os.Exit(0)
}

// The namespaces that tests ask for: like U0's, with all subordinate ids, and
// with a single one, as where the user has none.
var (
	manyIDs   = []string{"--user", "--map-root-user", "--map-auto", "--mount", "--propagation", "private"}
	singleID  = []string{"--user", "--map-root-user", "--mount", "--propagation", "private"}
	ownKernel = append([]string{"--uts", "--net", "--ipc"}, singleID...)
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newBox is a container of nothing: its parts are filled in by the test.
func newBox() *box {
	return &box{
		cfg:   &start.InitConfig{Spec: &specs.Spec{Process: &specs.Process{Args: []string{"true"}, Capabilities: &specs.LinuxCapabilities{}}, Linux: &specs.Linux{}}},
		files: map[string]*os.File{},
	}
}

// onTmpfs gives the box a fresh root file system, mounted at the returned path.
func (b *box) onTmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("root", dir, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	b.root = openPath(t, dir)
	return dir
}

func openPath(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, unix.O_PATH|unix.O_NOFOLLOW, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// treeOf clones the mount at path, as the shim does for a bind mount.
func treeOf(t *testing.T, path string) *os.File {
	t.Helper()
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	must(t, err)
	return os.NewFile(uintptr(fd), path)
}

// write makes files: a name that ends in / is a folder, a text "-> x" a link.
func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := dir + "/" + name
		must(t, os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o755))
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case link:
			must(t, os.Symlink(target, path))
		case !strings.HasSuffix(name, "/"):
			must(t, os.WriteFile(path, []byte(text), 0o644))
		}
	}
}

// wantErr checks the errno and a part of the text.
func wantErr(t *testing.T, err, errno error, text string) {
	t.Helper()
	if err == nil || errno != nil && !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want %v and %q", err, errno, text)
	}
}
