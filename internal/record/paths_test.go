package record

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

func TestDefaultRoot(t *testing.T) {
	wd, err := os.Getwd()
	ok(t, err)
	passwd := passwdHome(os.Getuid())
	if passwd == "" {
		t.Logf("uid %d has no entry in /etc/passwd", os.Getuid())
	}
	for _, c := range []struct{ flag, root, data, home, want string }{
		{"/flag", "/env", "/data", "/home/u", "/flag"},
		{"rel", "", "", "", filepath.Join(wd, "rel")},
		{"", "/env", "/data", "/home/u", "/env"},
		{"", "env", "", "", filepath.Join(wd, "env")},
		{"", "", "/data", "/home/u", "/data/rc"},
		{"", "", "relative", "/home/u", "/home/u/.local/share/rc"}, // must be ignored: XDG base directory specification
		{"", "", "", "/home/u", "/home/u/.local/share/rc"},
		{"", "", "", "", filepath.Join(passwd, ".local/share/rc")},
		{"", "", "", "not/absolute", filepath.Join(passwd, ".local/share/rc")},
	} {
		t.Setenv("RC_ROOT", c.root)
		t.Setenv("XDG_DATA_HOME", c.data)
		t.Setenv("HOME", c.home)
		got, err := DefaultRoot(c.flag)
		if c.home == "" && passwd == "" && c.flag+c.root+c.data == "" {
			if err == nil || !strings.Contains(err.Error(), "--root DIR") {
				t.Errorf("nothing to go by: %q %v", got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%+v: %q %v", c, got, err)
		}
	}
}

func TestPasswdHome(t *testing.T) {
	if got := passwdHome(0); got != "/root" {
		t.Errorf("root's home is %q", got)
	}
	if got := passwdHome(2_000_000_001); got != "" {
		t.Errorf("a stranger's home is %q", got)
	}
}

func TestOpenMakesPrivateFolders(t *testing.T) {
	defer unix.Umask(unix.Umask(0))
	root := t.TempDir() + "/a/b"
	for range 2 {
		s, err := Open(root)
		ok(t, err)
		for _, dir := range []string{"", "containers", "container-names", "images", "image-names", "volumes", "trash"} {
			st, err := os.Stat(s.Path(dir))
			ok(t, err)
			if st.Mode() != os.ModeDir|0o700 {
				t.Errorf("%s has mode %v", dir, st.Mode())
			}
		}
	}
}

func TestOpenRefusals(t *testing.T) {
	file := t.TempDir() + "/file"
	ok(t, os.WriteFile(file, nil, 0o600))
	for root, errno := range map[string]error{file: unix.ENOTDIR, file + "/x": unix.ENOTDIR, "/proc/rc": unix.ENOENT} {
		_, err := Open(root)
		var h *hint.Error
		if !errors.As(err, &h) || !errors.Is(err, errno) || !strings.Contains(h.Fix, "--root DIR") || strings.Count(err.Error(), root) > 2 {
			t.Errorf("%s: %v", root, err)
		}
	}
}

func TestRuntimeIsChosenOnce(t *testing.T) {
	s := newBox(t)
	dir, err := s.Runtime()
	ok(t, err)
	if !strings.HasPrefix(dir, os.Getenv("XDG_RUNTIME_DIR")+"/rc-"+strconv.Itoa(os.Getuid())+"-") {
		t.Errorf("runtime folder %s", dir)
	}
	for _, d := range []string{dir, dir + "/c"} {
		if st, err := os.Stat(d); err != nil || st.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v %v", d, st, err)
		}
	}
	// cron and su have another environment, and must agree all the same.
	for _, env := range []string{t.TempDir(), "", "relative", "/nonexistent"} {
		t.Setenv("XDG_RUNTIME_DIR", env)
		if got, err := (&Store{Root: s.Root}).Runtime(); err != nil || got != dir {
			t.Errorf("with XDG_RUNTIME_DIR=%q: %s %v", env, got, err)
		}
	}
}

// TestRuntimeRace: first callers at the same moment agree on one folder and
// leave no second one.
func TestRuntimeRace(t *testing.T) {
	for range 20 {
		s := newBox(t)
		got := make([]string, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = (&Store{Root: s.Root}).Runtime(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, dir := range got {
			if dir != got[0] {
				t.Fatalf("two answers: %s and %s", dir, got[0])
			}
		}
		if made, err := os.ReadDir(os.Getenv("XDG_RUNTIME_DIR")); err != nil || len(made) != 1 {
			t.Fatalf("made %v, %v", made, err)
		}
	}
}

// A folder that is not ours alone is never used: what is recorded may have been
// replaced under /tmp by somebody else after a reboot or a cleaner.
func TestHostileRuntimeNote(t *testing.T) {
	mine := t.TempDir()
	ok(t, os.Chmod(mine, 0o700))
	link := t.TempDir() + "/link"
	ok(t, os.Symlink(mine, link))
	open := t.TempDir()
	ok(t, os.Chmod(open, 0o755))
	file := t.TempDir() + "/file"
	ok(t, os.WriteFile(file, nil, 0o700))
	others := "/usr" // root's; as root, a folder of somebody else
	if os.Getuid() == 0 {
		others = t.TempDir()
		ok(t, os.Chmod(others, 0o700))
		ok(t, os.Chown(others, 12345, 12345))
	}
	for name, note := range map[string]string{
		"another owner": others, "mode 0755": open, "a link": link, "a file": file, "gone": "/nonexistent/rc",
		"empty": "", "relative": ".", "two lines": mine + "\n" + open,
	} {
		t.Run(name, func(t *testing.T) {
			s := newBox(t)
			path := s.Path("hosts", MachineID(), BootID())
			ok(t, os.MkdirAll(filepath.Dir(path), 0o700))
			ok(t, os.WriteFile(path, []byte(note+"\n"), 0o600))
			dir, err := s.Runtime()
			ok(t, err)
			if !strings.HasPrefix(dir, os.Getenv("XDG_RUNTIME_DIR")+"/") {
				t.Fatalf("took %s", dir)
			}
			again, err := (&Store{Root: s.Root}).Runtime()
			if err != nil || again != dir {
				t.Errorf("the new choice was not recorded: %s %v", again, err)
			}
		})
	}
}

func TestRuntimeFallsBack(t *testing.T) {
	s := newBox(t)
	t.Setenv("XDG_RUNTIME_DIR", "/proc") // nobody can make a folder there
	dir, err := s.Runtime()
	ok(t, err)
	defer os.RemoveAll(dir)
	if strings.HasPrefix(dir, "/proc") || checkPrivate(dir) != nil {
		t.Errorf("%s: %v", dir, checkPrivate(dir))
	}
}

func TestRuntimeOfAParent(t *testing.T) {
	s := newBox(t)
	s.UseRuntime("/given")
	if dir, err := s.Runtime(); err != nil || dir != "/given" {
		t.Errorf("%s %v", dir, err)
	}
}

func TestHostNames(t *testing.T) {
	boot, machine := BootID(), MachineID()
	if len(boot) != 36 || strings.ContainsAny(boot, "\n /") {
		t.Errorf("boot id %q", boot)
	}
	if machine == "" || strings.ContainsAny(machine, "\n /") || strings.HasPrefix(machine, ".") {
		t.Errorf("machine id %q", machine)
	}
	if boot != BootID() || machine != MachineID() {
		t.Error("they change")
	}
}

func TestLockFile(t *testing.T) {
	path := t.TempDir() + "/lock"
	a, err := LockFile(path, unix.LOCK_SH)
	ok(t, err)
	b, err := LockFile(path, unix.LOCK_SH|unix.LOCK_NB)
	ok(t, err)
	if _, err := LockFile(path, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("exclusive beside two readers: %v", err)
	}
	ok(t, a.Close())
	waited := make(chan error, 1)
	go func() {
		f, err := LockFile(path, unix.LOCK_EX)
		if err == nil {
			err = f.Close()
		}
		waited <- err
	}()
	select {
	case err := <-waited:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	ok(t, b.Close())
	ok(t, <-waited)
}

func TestLockFileFollowsNoLink(t *testing.T) {
	dir := t.TempDir()
	ok(t, os.Symlink(dir+"/victim", dir+"/lock"))
	if _, err := LockFile(dir+"/lock", unix.LOCK_EX); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v", err)
	}
	if _, err := os.Lstat(dir + "/victim"); !errors.Is(err, os.ErrNotExist) {
		t.Error("made a file through a link")
	}
}
