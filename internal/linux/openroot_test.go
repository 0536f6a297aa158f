package linux

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestOpenInRootStaysInside(t *testing.T) {
	dir, root := folder(t)
	must(t, os.MkdirAll(dir+"/etc", 0o755))
	must(t, os.WriteFile(dir+"/etc/passwd", []byte("inside"), 0o644))
	must(t, os.Symlink("/etc/passwd", dir+"/absolute"))
	must(t, os.Symlink("../../../../../../etc/passwd", dir+"/etc/upward"))
	must(t, os.Symlink("/proc/self/root", dir+"/magic"))
	for _, path := range []string{"/etc/passwd", "etc/passwd", "absolute", "etc/upward", "../../etc/passwd", "/etc/../../etc/passwd"} {
		f, err := OpenInRoot(root, path, unix.O_RDONLY, 0)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		data, _ := os.ReadFile(ProcFD(f))
		flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		if string(data) != "inside" || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s: %q, flags %#x", path, data, flags)
		}
		f.Close()
	}
	if _, err := OpenInRoot(root, "magic/etc", unix.O_RDONLY, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a link to /proc that the root does not have: %v", err)
	}
	proc, err := os.Open("/proc/self")
	must(t, err)
	defer proc.Close()
	if _, err := OpenInRoot(int(proc.Fd()), "root/etc", unix.O_RDONLY, 0); !errors.Is(err, unix.ELOOP) {
		t.Errorf("magic link: %v", err)
	}
}

func TestOpenInRootCreates(t *testing.T) {
	dir, root := folder(t)
	f, err := OpenInRoot(root, "/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o640)
	must(t, err)
	f.Close()
	if st, err := os.Stat(dir + "/new"); err != nil || st.Mode().Perm()&0o700 != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	if _, err := OpenInRoot(root, "/new", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o640); !errors.Is(err, unix.EEXIST) {
		t.Error(err)
	}
	// A mode without O_CREAT is ignored as open(2) does, not refused.
	f, err = OpenInRoot(root, "/", unix.O_RDONLY|unix.O_DIRECTORY, 0o755)
	must(t, err)
	f.Close()
	if st, err := StatInRoot(root, "new"); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		t.Errorf("%+v, %v", st, err)
	}
}

func TestOpenBeneath(t *testing.T) {
	dir, root := folder(t)
	must(t, os.Symlink(".", dir+"/link"))
	for path, want := range map[string]error{"link": unix.ELOOP, "/etc": unix.EXDEV, "..": unix.EXDEV, "none": unix.ENOENT} {
		if _, err := OpenBeneath(root, path, unix.O_RDONLY, 0); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}

// While a thread swaps a folder for a link to the outside, no lookup gets there.
func TestOpenInRootAgainstSwaps(t *testing.T) {
	dir, root := folder(t)
	outside := t.TempDir()
	must(t, os.WriteFile(outside+"/secret", nil, 0o644))
	must(t, os.MkdirAll(dir+"/a/b", 0o755))
	must(t, os.Symlink(outside, dir+"/link"))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, dir+"/a", unix.AT_FDCWD, dir+"/link", unix.RENAME_EXCHANGE)
			}
		}
	}()
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		if f, err := OpenInRoot(root, "a/secret", unix.O_PATH, 0); err == nil {
			t.Error("reached the outside")
			f.Close()
			break
		}
		if f, err := MkdirAllInRoot(root, "a/made/deep", 0o755, -1, -1); err == nil {
			f.Close()
		}
	}
	close(stop)
	<-done
	if _, err := os.Stat(outside + "/made"); err == nil {
		t.Error("made a folder outside")
	}
}

func TestMkdirAllInRoot(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir, root := folder(t)
	must(t, os.MkdirAll(dir+"/have", 0o700))
	must(t, os.WriteFile(dir+"/file", nil, 0o644))
	must(t, os.Symlink("/run", dir+"/dangling"))
	must(t, os.Symlink("../../../up/there", dir+"/have/upward"))
	must(t, os.Symlink("loop2", dir+"/loop1"))
	must(t, os.Symlink("loop1", dir+"/loop2"))
	for path, want := range map[string]string{
		"/one/two/three":      "/one/two/three",
		"have/x":              "/have/x",
		"/":                   "/",
		"//one//./four/":      "/one/four",
		"/dangling/lock":      "/run/lock",
		"have/upward/deep":    "/up/there/deep",
		"/../../outside":      "/outside",
		"have/../have/../six": "/six",
		"\xff\xfe/\n":         "/\xff\xfe/\n",
	} {
		f, err := MkdirAllInRoot(root, path, 0o755, -1, -1)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		if got, _ := os.Readlink(ProcFD(f)); strings.TrimSuffix(got, "/") != strings.TrimSuffix(dir+want, "/") {
			t.Errorf("%q: %q, want %q", path, got, dir+want)
		}
		f.Close()
	}
	if st, err := os.Stat(dir + "/one/two"); err != nil || st.Mode().Perm() != 0o755 {
		t.Errorf("mode %v, %v: the umask must not count", st.Mode(), err)
	}
	if st, err := os.Stat(dir + "/have"); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("mode of an existing folder became %v, %v", st.Mode(), err)
	}
	for path, want := range map[string]error{
		"file": unix.ENOTDIR, "file/x": unix.ENOTDIR, "none/../x": unix.ENOENT,
		"loop1/x": unix.ELOOP, strings.Repeat("n", 300): unix.ENAMETOOLONG,
	} {
		if f, err := MkdirAllInRoot(root, path, 0o755, -1, -1); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, %v, want %v", path, f, err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Dir(dir) + "/outside"); len(left) > 0 {
		t.Error("made outside")
	}
}

func TestMkdirAllInRootOwner(t *testing.T) {
	_, root := folder(t)
	f, err := MkdirAllInRoot(root, "a/b", 0o2750, os.Getuid(), os.Getgid())
	must(t, err)
	defer f.Close()
	var st unix.Stat_t
	must(t, unix.Fstat(int(f.Fd()), &st))
	if int(st.Uid) != os.Getuid() || st.Mode&0o7777 != 0o2750 {
		t.Errorf("owner %d mode %o", st.Uid, st.Mode)
	}
	if os.Getuid() == 0 {
		t.Skip("the rest needs a user who cannot give folders away")
	}
	g, err := MkdirAllInRoot(root, "a/c", 0o755, 12345, 12345)
	must(t, err)
	g.Close()
}

func TestReopen(t *testing.T) {
	dir, root := folder(t)
	must(t, os.WriteFile(dir+"/f", []byte("text"), 0o600))
	path, err := OpenInRoot(root, "f", unix.O_PATH, 0)
	must(t, err)
	defer path.Close()
	must(t, os.Rename(dir+"/f", dir+"/g")) // a second lookup would fail
	f, err := Reopen(path, unix.O_RDWR)
	must(t, err)
	defer f.Close()
	buf := make([]byte, 4)
	if _, err := f.Read(buf); err != nil || string(buf) != "text" {
		t.Errorf("%q, %v", buf, err)
	}
}
