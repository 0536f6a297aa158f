package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree makes one tree; change alters it before it is read.
func tree(t *testing.T, change func(dir string)) string {
	t.Helper()
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "d/sub"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "d/file"), []byte("text"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "latin-\xe9"), nil, 0o600))
	must(os.Link(filepath.Join(dir, "d/file"), filepath.Join(dir, "d/second")))
	must(os.Symlink("/nowhere", filepath.Join(dir, "link")))
	must(unix.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	if err := unix.Setxattr(filepath.Join(dir, "d/file"), "user.colour", []byte("blue"), 0); err != nil {
		t.Skip("this file system has no user xattrs: ", err)
	}
	change(dir)
	old := time.Unix(1700000000, 5)
	must(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts := []unix.Timespec{unix.NsecToTimespec(old.UnixNano()), unix.NsecToTimespec(old.UnixNano())}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	}))
	return dir
}

func TestEveryKindOfDifferenceIsSeen(t *testing.T) {
	same := tree(t, func(string) {})
	changes := map[string]func(dir string){
		"":                  func(string) {},
		"only in":           func(d string) { _ = os.WriteFile(d+"/new", nil, 0o644) },
		"sha256":            func(d string) { _ = os.WriteFile(d+"/d/file", []byte("TEXT"), 0o644) },
		"size":              func(d string) { _ = os.WriteFile(d+"/d/file", []byte("longer"), 0o644) },
		"mode":              func(d string) { _ = os.Chmod(d+"/d/sub", 0o700) },
		"target":            func(d string) { _ = os.Remove(d + "/link"); _ = os.Symlink("/elsewhere", d+"/link") },
		"names of the file": func(d string) { _ = os.Remove(d + "/d/second"); _ = os.WriteFile(d+"/d/second", []byte("text"), 0o644) },
		"xattr user.colour": func(d string) { _ = unix.Setxattr(d+"/d/file", "user.colour", []byte("red"), 0) },
		"xattr user.extra":  func(d string) { _ = unix.Setxattr(d+"/d/sub", "user.extra", []byte("x"), 0) },
	}
	for want, change := range changes {
		diff, files, err := Compare(same, tree(t, change), Options{})
		if err != nil || files != 8 {
			t.Fatalf("Compare: %d files, %v", files, err)
		}
		text := strings.Join(diff, "\n")
		if (want == "") != (text == "") || !strings.Contains(text, want) {
			t.Errorf("change %q gave %q", want, text)
		}
	}
}

func TestMtimeAndIgnoredXattrs(t *testing.T) {
	a, b := tree(t, func(string) {}), tree(t, func(d string) { _ = unix.Setxattr(d+"/d/file", "user.colour", []byte("red"), 0) })
	later := time.Unix(1800000000, 0)
	if err := os.Chtimes(b+"/d/file", later, later); err != nil {
		t.Fatal(err)
	}
	if diff, _, _ := Compare(a, b, Options{IgnoreXattr: []string{"user."}}); len(diff) != 2 || !strings.Contains(diff[0], "mtime") {
		t.Errorf("with times: %q", diff) // both names of the file
	}
	if err := os.Chtimes(a+"/d/file", later.Add(time.Hour), later.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if diff, _, _ := Compare(a, b, Options{Since: later.Unix(), IgnoreXattr: []string{"user."}}); len(diff) != 0 {
		t.Errorf("times after the beginning: %q", diff)
	}
	if diff, _, _ := Compare(a, b, Options{NoMtime: true, IgnoreXattr: []string{"user."}}); len(diff) != 0 {
		t.Errorf("without times: %q", diff)
	}
}
