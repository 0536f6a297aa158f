package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// onlyFile fails when anything but want stands in dir.
func onlyFile(t testing.TB, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if strings.Join(names, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, want %q", names, want)
	}
}

func TestWrite(t *testing.T) {
	defer unix.Umask(unix.Umask(0o022))
	for _, d := range []Durability{Fast, Durable} {
		dir := t.TempDir()
		path := filepath.Join(dir, "state.json")
		for i, mode := range []os.FileMode{0o600, 0o644} {
			text := fmt.Sprintf("text %d", i)
			must(t, Write(path, []byte(text), mode, d))
			got, err := os.ReadFile(path)
			must(t, err)
			st, err := os.Stat(path)
			must(t, err)
			if string(got) != text || st.Mode() != mode {
				t.Errorf("%q, mode %v", got, st.Mode())
			}
		}
		must(t, Write(path, nil, 0o600, d))
		if st, err := os.Stat(path); err != nil || st.Size() != 0 {
			t.Errorf("an empty text: %v", err)
		}
		onlyFile(t, dir, "state.json")
	}
}

// A link at the target is replaced, never followed: its place may be hostile.
func TestLinkIsReplaced(t *testing.T) {
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "victim")
	must(t, os.WriteFile(other, []byte("kept"), 0o600))
	must(t, os.Symlink(other, dir+"/f"))
	must(t, Write(dir+"/f", []byte("new"), 0o600, Fast))
	if got, _ := os.ReadFile(other); string(got) != "kept" {
		t.Error("wrote through a symbolic link")
	}
	if st, err := os.Lstat(dir + "/f"); err != nil || !st.Mode().IsRegular() {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

func TestFailureLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir+"/missing/f", nil, 0o600, Fast); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no folder: %v", err)
	}
	must(t, os.Mkdir(dir+"/d", 0o700))
	must(t, os.WriteFile(dir+"/d/x", nil, 0o600))
	if err := Write(dir+"/d", []byte("x"), 0o600, Fast); err == nil {
		t.Error("replaced a folder")
	}
	onlyFile(t, dir, "d")
	if os.Getuid() != 0 {
		must(t, os.Chmod(dir, 0o500))
		if err := Write(dir+"/f", nil, 0o600, Durable); !errors.Is(err, unix.EACCES) {
			t.Errorf("folder not ours to write: %v", err)
		}
		must(t, os.Chmod(dir, 0o700))
	}
	if err := SyncDir(dir + "/missing"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("SyncDir: %v", err)
	}
}

// A process that was killed leaves its temporary file; a later one with the same
// pid must not stumble over it.
func TestLeftoverTemporary(t *testing.T) {
	dir := t.TempDir()
	next := counter.Load() + 1
	var left []string
	for i := range uint32(3) {
		name := fmt.Sprintf(".f.%d.%d", os.Getpid(), next+i)
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600))
		left = append(left, name)
	}
	must(t, Write(dir+"/f", []byte("whole"), 0o600, Fast))
	if got, _ := os.ReadFile(dir + "/f"); string(got) != "whole" {
		t.Errorf("%q", got)
	}
	onlyFile(t, dir, append(left, "f")...)
}

// A reader sees one writer's text or another's, whole, at every moment.
func TestConcurrentWritersAndReaders(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/f"
	text := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 10_000+i) }
	must(t, Write(path, text(0), 0o600, Fast))
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				got, err := os.ReadFile(path)
				if err != nil || len(got) < 10_000 || !bytes.Equal(got, text(int(got[0]-'a'))) {
					t.Errorf("a torn read: %v, %d bytes", err, len(got))
					return
				}
			}
		})
	}
	for i := range 8 {
		writers.Go(func() {
			for range 50 {
				if err := Write(path, text(i), 0o600, Fast); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
	onlyFile(t, dir, "f")
}

const role = "RC_ATOMICFILE_TEST"

// again runs the calling test in a child, and says whether this is the child.
func again(t *testing.T, attr *syscall.SysProcAttr) (*exec.Cmd, bool) {
	if os.Getenv(role) != "" {
		return nil, true
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env, cmd.SysProcAttr = append(os.Environ(), role+"=1"), attr
	return cmd, false
}

// A full disk keeps the old text and leaves no part of the new one. The disk is
// a tmpfs of 64 KiB in a user namespace of our own.
func TestFullDisk(t *testing.T) {
	cmd, inside := again(t, &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	})
	if !inside {
		out, err := cmd.CombinedOutput()
		var failed *exec.ExitError
		if err != nil && !errors.As(err, &failed) {
			t.Skipf("needs user namespaces: %v", err)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "tmpfs", 0, "size=64k"))
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	for _, d := range []Durability{Fast, Durable} {
		must(t, Write(dir+"/f", []byte("old"), 0o600, d))
		if err := Write(dir+"/f", make([]byte, 1<<20), 0o600, d); !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%v", err)
		}
		if got, _ := os.ReadFile(dir + "/f"); string(got) != "old" {
			t.Errorf("the old text became %q", got)
		}
		onlyFile(t, dir, "f")
	}
}

// A writer that is killed at any moment leaves a whole text at the path.
func TestKilledWriter(t *testing.T) {
	if os.Getenv(role) != "" {
		for i := 0; ; i++ {
			text := bytes.Repeat([]byte(strconv.Itoa(i%10)), 50_000)
			must(t, Write(os.Getenv("RC_ATOMICFILE_PATH"), text, 0o600, Fast))
		}
	}
	path := t.TempDir() + "/f"
	must(t, Write(path, bytes.Repeat([]byte("0"), 50_000), 0o600, Fast))
	for i := range 15 {
		cmd, _ := again(t, nil)
		cmd.Env = append(cmd.Env, "RC_ATOMICFILE_PATH="+path)
		must(t, cmd.Start())
		time.Sleep(time.Duration(10+7*i) * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		got, err := os.ReadFile(path)
		must(t, err)
		if len(got) != 50_000 || len(bytes.Trim(got, string(got[:1]))) != 0 {
			t.Fatalf("after kill %d: %d bytes", i, len(got))
		}
	}
}

// A new file has its mode whatever the caller's mask, and never takes another's place.
func TestMake(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077))
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"hosts": 0o644, "record": 0o600} {
		path := filepath.Join(dir, name)
		must(t, Make(path, []byte("text"), mode))
		got, err := os.ReadFile(path)
		must(t, err)
		if st, err := os.Lstat(path); err != nil || st.Mode() != mode || string(got) != "text" {
			t.Errorf("%q, mode %v, %v", got, st.Mode(), err)
		}
		if err := Make(path, []byte("other"), mode); !errors.Is(err, os.ErrExist) {
			t.Errorf("in the place of another: %v", err)
		}
	}
	must(t, os.Symlink("hosts", dir+"/link"))
	if err := Make(dir+"/link", []byte("x"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("through a link: %v", err)
	}
	if got, _ := os.ReadFile(dir + "/hosts"); string(got) != "text" {
		t.Errorf("%q", got)
	}
	if err := Make(dir+"/none/f", nil, 0o600); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
}
