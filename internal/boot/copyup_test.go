package boot

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// describe lists a tree: type, mode, owner, text or target, attributes.
func describe(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	var walk func(rel string)
	walk = func(rel string) {
		path := dir + rel
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		line := fmt.Sprintf("%q %o %d:%d", rel, st.Mode, st.Uid, st.Gid)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			f, err := os.Open(path)
			must(t, err)
			names, err := f.Readdirnames(-1)
			must(t, err)
			f.Close()
			for _, name := range names {
				walk(rel + "/" + name)
			}
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			must(t, err)
			line += fmt.Sprintf(" %q", text)
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			must(t, err)
			line += " -> " + target
		}
		buf := make([]byte, 4096)
		if n, err := unix.Llistxattr(path, buf); err == nil {
			names := strings.Split(strings.Trim(string(buf[:n]), "\x00"), "\x00")
			sort.Strings(names)
			for _, name := range names {
				if m, err := unix.Lgetxattr(path, name, buf); err == nil {
					line += fmt.Sprintf(" %s=%q", name, buf[:m])
				}
			}
		}
		lines = append(lines, line)
	}
	walk("")
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// capNetRaw is a file capability, cap_net_raw+ep, in the form of linux/capability.h.
var capNetRaw = []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// TestCopyUpIsFaithful: owners, modes with set-uid bits, links, attributes and
// file capabilities, FIFOs, names that are not UTF-8.
func TestCopyUpIsFaithful(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	unix.Umask(0o077) // must not matter
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"f": "text", "empty": "", "d/e/g": "deep", "link": "-> /etc/passwd", "dangling": "-> ../../x", "\xff\xfe": "not UTF-8", " \n": "odd"})
	must(t, unix.Mkfifo(src+"/fifo", 0o622))
	for path, mode := range map[string]uint32{"": 0o1777, "/f": 0o4755, "/empty": 0, "/d": 0o2750, "/d/e": 0o500, "/d/e/g": 0o640, "/fifo": 0o622} {
		must(t, os.Lchown(src+path, 7+len(path), 8))
		must(t, unix.Chmod(src+path, mode))
	}
	must(t, os.Lchown(src+"/link", 33, 44))
	if err := unix.Setxattr(src+"/d", "user.kept", []byte("v\x00w"), 0); err != nil {
		t.Logf("no user attributes here: %v", err)
	}
	must(t, unix.Setxattr(src+"/d/e/g", "security.capability", capNetRaw, 0))
	must(t, copyUp(openPath(t, src), openPath(t, dst)))
	if got, want := describe(t, dst), describe(t, src); got != want {
		t.Errorf("the volume has\n%s\nand the image\n%s", got, want)
	}
	if !strings.Contains(describe(t, dst), "security.capability") {
		t.Error("a file lost its capability")
	}
}

// With a single id, whoever owns a file in the image owns it as root: chown to
// anybody else fails, and the copy must not.
func TestCopyUpWithASingleID(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"f": "text", "d/g": "deep"})
	must(t, copyUp(openPath(t, src), openPath(t, dst)))
	if got, want := describe(t, dst), describe(t, src); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestCopyUpLeavesDataAlone(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"f": "image's"})
	write(t, dst, map[string]string{".hidden": "user's"})
	must(t, os.Chmod(dst, 0o705))
	must(t, copyUp(openPath(t, src), openPath(t, dst)))
	if _, err := os.Lstat(dst + "/f"); !errors.Is(err, os.ErrNotExist) {
		t.Error("copied over somebody's data")
	}
	if st, _ := os.Stat(dst); st.Mode().Perm() != 0o705 {
		t.Error("changed the mode of somebody's folder")
	}
}

// Nothing of the source is followed, opened for effect or waited for: a socket
// and a device are left out, a FIFO without a writer does not block.
func TestCopyUpOddFiles(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	must(t, unix.Mkfifo(src+"/fifo", 0o600))
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: src + "/sock"}))
	write(t, src, map[string]string{"out": "-> " + dst, "abs": "-> /etc"})
	done := make(chan error, 1)
	go func() { done <- copyUp(openPath(t, src), openPath(t, dst)) }()
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("waits for a FIFO")
	}
	names, err := os.ReadDir(dst)
	must(t, err)
	var got []string
	for _, n := range names {
		got = append(got, n.Name()+n.Type().String()[:1])
	}
	if strings.Join(got, " ") != "absL fifop outL" {
		t.Errorf("%v", got)
	}
}

func TestCopyUpFailures(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	write(t, src, map[string]string{"file": "x"})
	wantErr(t, copyUp(openPath(t, src+"/file"), openPath(t, dst)), unix.ENOTDIR, "")
	if os.Getuid() != 0 {
		must(t, os.Chmod(src+"/file", 0))
		wantErr(t, copyUp(openPath(t, src), openPath(t, dst)), unix.EACCES, "copy file")
	}
}

// A full disk is an error, and the descriptors are given back.
func TestCopyUpFullDisk(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	src, dst := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(src+"/big", bytes.Repeat([]byte("x"), 1<<20), 0o600))
	must(t, unix.Mount("small", dst, "tmpfs", 0, "size=64k"))
	defer func() { must(t, unix.Unmount(dst, unix.MNT_DETACH)) }()
	from, to := openPath(t, src), openPath(t, dst)
	before, _ := os.ReadDir("/proc/self/fd")
	wantErr(t, copyUp(from, to), unix.ENOSPC, "copy big")
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) != len(before) {
		t.Errorf("%d descriptors leaked", len(after)-len(before))
	}
}
