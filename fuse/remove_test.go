package fuse

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func removeIn(t *testing.T, dir, name string) error {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	return RemoveAll(fd, name)
}

func gone(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", path, err)
	}
}

func TestRemoveAll(t *testing.T) {
	dir := t.TempDir()
	l := &layer{TB: t, dir: dir + "/tree", format: tarFormat}
	must(t, os.Mkdir(l.dir, 0o755))
	must(t, os.Mkdir(dir+"/outside", 0o755))
	must(t, os.WriteFile(dir+"/outside/precious", nil, 0o644))
	l.file("a/b/c", "").file("\xff\n", "").symlink(dir+"/outside", "link").symlink("/nowhere", "dangling")
	l.file("locked/in/f", "").mode("locked/in", 0).mode("locked", 0).mkdir("empty-locked", 0).file("readonly/f", "").mode("readonly", 0o555)
	must(t, unix.Mkfifo(l.path("fifo"), 0))
	for i := range 1500 {
		must(t, os.WriteFile(l.path(fmt.Sprintf("a/%d", i)), nil, 0))
	}
	must(t, removeIn(t, dir, "tree"))
	gone(t, l.dir)
	must(t, os.Symlink("outside", dir+"/link"))
	must(t, removeIn(t, dir, "link"))
	must(t, removeIn(t, dir, "missing"))
	if _, err := os.Stat(dir + "/outside/precious"); err != nil {
		t.Error("a link was followed")
	}
	for _, bad := range []string{"", ".", "..", "a/b", "../x"} {
		if err := removeIn(t, dir, bad); !errors.Is(err, unix.EINVAL) {
			t.Errorf("RemoveAll(%q) says %v", bad, err)
		}
	}
}

// TestRemoveUnprivileged runs as a user without capabilities on its own files:
// closed folders are opened again.
func TestRemoveUnprivileged(t *testing.T) {
	if os.Getuid() == 0 {
		needNamespace(t)
		dir := t.TempDir()
		for p := dir; p != "/"; p = filepath.Dir(p) {
			_ = os.Chmod(p, 0o777)
		}
		cmd := exec.Command("setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps=-all",
			"/proc/self/exe", "-test.run=^TestRemoveAll$", "-test.v")
		cmd.Args[5], _ = os.Executable()
		cmd.Env = append(os.Environ(), "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("setpriv is not installed (util-linux)")
		}
		if err != nil || !strings.Contains(string(out), "PASS: TestRemoveAll") {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	TestRemoveAll(t)
}

// TestRemoveDeep removes 100 000 levels, whose path is far beyond PATH_MAX.
func TestRemoveDeep(t *testing.T) {
	const levels = 100_000
	dir := t.TempDir()
	if outside == "" { // faster than a disk
		must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
		defer unix.Unmount(dir, unix.MNT_DETACH)
	}
	must(t, os.Mkdir(dir+"/tree", 0o755))
	at, err := unix.Open(dir+"/tree", unix.O_PATH, 0)
	must(t, err)
	start := time.Now()
	for i := range levels {
		must(t, unix.Mkdirat(at, "d", 0o755))
		if i%1000 == 0 {
			fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY, 0)
			must(t, err)
			unix.Close(fd)
		}
		next, err := unix.Openat(at, "d", unix.O_PATH, 0)
		must(t, err)
		unix.Close(at)
		at = next
	}
	unix.Close(at)
	made := time.Since(start)
	start = time.Now()
	must(t, removeIn(t, dir, "tree"))
	t.Logf("%d levels: made in %v, removed in %v", levels, made, time.Since(start))
	gone(t, dir+"/tree")
}

// TestRemoveSwapped has a second party swap a folder for a link to an outside
// one all the while.
func TestRemoveSwapped(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/outside/sub", 0o755))
	must(t, os.WriteFile(dir+"/outside/sub/precious", nil, 0o644))
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			victim := dir + "/tree/sub"
			// A bounded number of names: rm -rf, too, runs for ever behind one who fills faster.
			_ = os.Rename(victim, fmt.Sprintf("%s/tree/old-%d", dir, i%64))
			_ = os.Symlink(dir+"/outside/sub", victim)
			_ = os.Remove(victim)
			_ = os.Mkdir(victim, 0o755)
			_ = os.WriteFile(victim+"/f", nil, 0o644)
		}
	}()
	for range 300 {
		_ = os.MkdirAll(dir+"/tree/sub/x", 0o755)
		_ = removeIn(t, dir, "tree")
	}
	close(done)
	<-stopped
	must(t, removeIn(t, dir, "tree"))
	if _, err := os.Stat(dir + "/outside/sub/precious"); err != nil {
		t.Errorf("the swap led outside: %v", err)
	}
}

// TestRemoveMounted: another mount is neither entered nor counted as removed,
// and everything beside it goes.
func TestRemoveMounted(t *testing.T) {
	needNamespace(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/tree/a/mnt", 0o755))
	must(t, os.WriteFile(dir+"/tree/a/f", nil, 0o644))
	must(t, os.Mkdir(dir+"/tree/b", 0o755))
	must(t, unix.Mount("tmpfs", dir+"/tree/a/mnt", "tmpfs", 0, ""))
	must(t, os.WriteFile(dir+"/tree/a/mnt/precious", nil, 0o644))
	err := removeIn(t, dir, "tree")
	if err == nil || !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "tree/a/mnt") || !strings.Contains(err.Error(), "umount") {
		t.Errorf("RemoveAll says %v", err)
	}
	if _, err := os.Stat(dir + "/tree/a/mnt/precious"); err != nil {
		t.Error("the mount was entered")
	}
	gone(t, dir+"/tree/a/f")
	gone(t, dir+"/tree/b")
	must(t, unix.Unmount(dir+"/tree/a/mnt", 0))
	must(t, removeIn(t, dir, "tree"))
}

// TestRemoveImmutable needs CAP_LINUX_IMMUTABLE on the host: `sudo go test`.
func TestRemoveImmutable(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/tree/sub", 0o755))
	for _, n := range []string{"f", "g"} {
		must(t, os.WriteFile(dir+"/tree/sub/"+n, nil, 0o644))
	}
	if out, err := exec.Command("chattr", "+i", dir+"/tree/sub/f").CombinedOutput(); err != nil {
		t.Skipf("chattr +i needs root of the host: %s", strings.TrimSpace(string(out)))
	}
	err := removeIn(t, dir, "tree")
	if err == nil || !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), `"tree/sub/f"`) || !strings.Contains(err.Error(), "chattr -R -i") {
		t.Errorf("RemoveAll says %v", err)
	}
	gone(t, dir+"/tree/sub/g")
	must(t, exec.Command("chattr", "-i", dir+"/tree/sub/f").Run())
	must(t, removeIn(t, dir, "tree"))
}

// TestRemoveForeign: files of every subordinate id go.
func TestRemoveForeign(t *testing.T) {
	needNamespace(t)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/tree/sub", 0o700))
	for _, id := range []int{1, 1000, 65534} {
		name := fmt.Sprintf("%s/tree/sub/%d", dir, id)
		must(t, os.Mkdir(name, 0o700))
		must(t, os.WriteFile(name+"/f", nil, 0))
		must(t, os.Chown(name+"/f", id, id))
		must(t, os.Chown(name, id, id))
	}
	must(t, removeIn(t, dir, "tree"))
}
