package boot

import (
	"errors"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// enterRoot makes dir the root of this process, for the parts of boot that run
// after pivot_root. Only in a process of the test's own.
func enterRoot(t *testing.T, dir string) {
	t.Helper()
	must(t, unix.Chroot(dir))
	must(t, unix.Chdir("/"))
}

var database = map[string]string{
	"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/var/www:/bin/false\nnohome:x:40:40:::\nbroken line\n1000:x:77:77::/seventyseven:\n",
	"etc/group":  "root:x:0:\nweb:x:33:\nvideo:x:44:web,root\naudio:x:45:web\nfar:x:70000:\n",
}

func TestResolveUser(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	dir := t.TempDir()
	write(t, dir, database)
	enterRoot(t, dir)
	for _, c := range []struct {
		user   string
		add    []string
		want   identity
		refuse string
	}{
		{user: "", want: identity{0, 0, nil, "/root"}},
		{user: "web", want: identity{33, 33, []int{44, 45}, "/var/www"}},
		{user: "33", want: identity{33, 33, []int{44, 45}, "/var/www"}},
		{user: "web:video", want: identity{33, 44, nil, "/var/www"}},
		{user: "0:45", want: identity{0, 45, nil, "/root"}},
		{user: "1234:5678", want: identity{1234, 5678, nil, "/"}},
		{user: "1000", want: identity{1000, 0, nil, "/"}}, // a number is never a name, as for Docker
		{user: "nohome", want: identity{40, 40, nil, "/"}},
		{user: "web", add: []string{"root", "1234"}, want: identity{33, 33, []int{0, 44, 45, 1234}, "/var/www"}},
		{user: "nobody", refuse: `find user "nobody"`},
		{user: "web:nogroup", refuse: `find user "web:nogroup"`},
		{user: "-1", refuse: `find user "-1"`},
		{user: "web", add: []string{"nogroup"}, refuse: "find --group-add nogroup"},
		{user: "60001", refuse: "become uid 60001: the container has 60000 user ids"},
		{user: "5:60000", refuse: "become gid 60000: the container has 60000 group ids"},
	} {
		b := newBox()
		b.cfg.Inside.Username, b.cfg.Inside.Groups = c.user, c.add
		b.cfg.Spec.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 0, Size: 1}, {ContainerID: 1, HostID: 1, Size: 59999}}
		b.cfg.Spec.Linux.GIDMappings = b.cfg.Spec.Linux.UIDMappings
		err := b.resolveUser()
		if c.refuse != "" {
			wantErr(t, err, nil, c.refuse)
			var h *hint.Error
			if !errors.As(err, &h) || h.Fix == "" {
				t.Errorf("%v has no fix", err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.user, err)
			continue
		}
		if len(b.who.groups) == 0 {
			b.who.groups = nil
		}
		slices.Sort(b.who.groups)
		if !reflect.DeepEqual(b.who, c.want) {
			t.Errorf("%q %v: %+v, want %+v", c.user, c.add, b.who, c.want)
		}
	}
}

// An image without the files has numbers all the same, and hostile ones, a FIFO,
// a folder, an endless link, hold nothing up.
func TestResolveUserWithoutDatabase(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	top := t.TempDir()
	enterRoot(t, top)
	for name, put := range map[string]func(string) error{
		"missing":   func(string) error { return nil },
		"a FIFO":    func(p string) error { return unix.Mkfifo(p, 0o644) },
		"a folder":  func(p string) error { return os.Mkdir(p, 0o755) },
		"a loop":    func(p string) error { return os.Symlink(p, p) },
		"dangling":  func(p string) error { return os.Symlink("/nowhere", p) },
		"a socket":  func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) },
		"below one": func(p string) error { return os.Symlink("/etc/group/x", p) },
		"empty":     func(p string) error { return os.WriteFile(p, nil, 0o644) },
	} {
		must(t, os.RemoveAll("/etc"))
		must(t, os.Mkdir("/etc", 0o755))
		must(t, put("/etc/passwd"))
		must(t, put("/etc/group"))
		b := newBox()
		b.cfg.Spec.Process.User = specs.User{UID: 5, GID: 6}
		b.cfg.Spec.Linux.UIDMappings = []specs.LinuxIDMapping{{Size: 100}}
		b.cfg.Spec.Linux.GIDMappings = b.cfg.Spec.Linux.UIDMappings
		done := make(chan error, 1)
		go func() { done <- b.resolveUser() }()
		select {
		case err := <-done:
			if err != nil || b.who.uid != 5 || b.who.gid != 6 || b.who.home != "/" {
				t.Errorf("%s: %+v %v", name, b.who, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s holds us up", name)
		}
	}
}

func TestDatabaseIsBounded(t *testing.T) {
	path := t.TempDir() + "/passwd"
	f, err := os.Create(path)
	must(t, err)
	must(t, f.Truncate(maxDatabase+4096)) // sparse
	r, err := openDatabase(path)
	must(t, err)
	if n, err := io.Copy(io.Discard, r); err != nil || n != maxDatabase {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

// A file of /proc says that it has no bytes.
func TestDatabaseWithoutSize(t *testing.T) {
	r, err := openDatabase("/proc/self/status")
	must(t, err)
	if text, err := io.ReadAll(r); err != nil || !strings.Contains(string(text), "CapBnd") {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func TestInside(t *testing.T) {
	for _, c := range []struct {
		id          int
		first, size uint32
		want        bool
	}{{0, 0, 1, true}, {1, 0, 1, false}, {-1, 0, 10, false}, {99, 1, 99, true}, {100, 1, 99, false}, {0, 1, 99, false}, {1<<32 - 2, 0, 1<<32 - 1, true}, {5, 5, 0, false}} {
		if got := inside(c.id, c.first, c.size); got != c.want {
			t.Errorf("%+v", c)
		}
	}
}

func TestEnterWorkdir(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "x", "sub/": "", "link": "-> sub", "loop": "-> loop", "dangling": "-> /made/by/link"})
	host, err := os.Open("/")
	must(t, err)
	enterRoot(t, dir)
	for cwd, want := range map[string]string{"": "/", "/": "/", "/sub": "/sub", "/link": "/sub", "/new/deep": "/new/deep", "/sub/../x": "/x"} {
		b := newBox()
		b.cfg.Spec.Process.Cwd = cwd
		if err := b.enterWorkdir(); err != nil {
			t.Errorf("%q: %v", cwd, err)
		}
		if got, _ := unix.Getwd(); got != want {
			t.Errorf("%q leads to %q", cwd, got)
		}
	}
	for cwd, errno := range map[string]error{"/file": unix.ENOTDIR, "/file/x": unix.ENOTDIR, "/loop": unix.ELOOP} {
		b := newBox()
		b.cfg.Spec.Process.Cwd = cwd
		wantErr(t, b.enterWorkdir(), errno, "enter the working directory "+cwd+": ")
	}
	// A descriptor of the host as the working directory: CVE-2024-21626.
	must(t, host.Chdir())
	b := newBox()
	b.cfg.Spec.Process.Cwd = "."
	wantErr(t, b.enterWorkdir(), nil, "it lies outside the container")
}

func TestFindCommand(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a/plain": "x", "b/tool": "x", "c/tool": "x", "b/folder/": "", "c/deny": "x", "d/only": "-> missing", "b/mixed": "x", "c/mixed/": ""})
	for _, name := range []string{"b/tool", "c/tool"} {
		must(t, os.Chmod(dir+"/"+name, 0o755))
	}
	must(t, unix.Mkfifo(dir+"/a/fifo", 0o777))
	t.Chdir(dir)
	path := "PATH=" + dir + "/a:" + dir + "/missing:" + dir + "/b:" + dir + "/c:" + dir + "/d"
	for _, c := range []struct {
		name string
		env  []string
		want string
		code int
	}{
		{"tool", []string{path}, dir + "/b/tool", 0},
		{dir + "/c/tool", nil, dir + "/c/tool", 0},
		{"c/tool", []string{path}, "c/tool", 0}, // with a slash: relative to the working directory
		{"./c/tool", []string{path}, "./c/tool", 0},
		{"tool", []string{"PATH=/nope", "PATH=b"}, "./b/tool", 0}, // the last one counts, as in execve's environment
		{"tool", []string{"PATH=c::" + dir + "/b"}, "./c/tool", 0},
		{"missing", []string{path}, "", 127},
		{"folder", []string{path}, "", 127}, // a folder is no command, as for Docker
		{"plain", []string{path}, "", 126},
		{"deny", []string{path}, "", 126},
		{"mixed", []string{path}, "", 126}, // not executable in one folder, a folder in the next
		{"fifo", []string{path}, "", 126},
		{"only", []string{path}, "", 127},
		{"", []string{path}, "", 127},
		{"tool", nil, "", 127},
		{"tool", []string{"PATH="}, "", 127},
		{dir + "/b/nope", nil, "", 127},
		{dir + "/a/plain/x", nil, "", 127},
		{dir + "/b", nil, "", 126},
		{dir + "/a/plain", nil, "", 126},
	} {
		b := newBox()
		b.cfg.Spec.Process.Args, b.cfg.Spec.Process.Env = []string{c.name}, c.env
		err := b.findCommand()
		if c.code == 0 {
			if err != nil || b.exe != c.want {
				t.Errorf("%q in %v: %q %v", c.name, c.env, b.exe, err)
			}
			continue
		}
		var h *hint.Error
		if !errors.As(err, &h) || hint.ExitCode(err) != c.code || h.Fix == "" || !strings.HasPrefix(err.Error(), `run "`+c.name+`": `) {
			t.Errorf("%q in %v: %v (%d), want %d", c.name, c.env, err, hint.ExitCode(err), c.code)
		}
	}
}

func TestCommandError(t *testing.T) {
	for errno, code := range map[error]int{unix.ENOENT: 127, unix.ENOTDIR: 127, unix.ELOOP: 127, unix.EACCES: 126, unix.ENOEXEC: 126,
		unix.EPERM: 126, unix.E2BIG: 126, unix.ETXTBSY: 126, unix.EIO: 126, unix.EISDIR: 126} {
		err := commandError("run", &os.PathError{Op: "fork/exec", Path: "/x", Err: errno})
		if hint.ExitCode(err) != code || !errors.Is(err, errno) || strings.Contains(err.Error(), "fork/exec") {
			t.Errorf("%v gives %d", err, hint.ExitCode(err))
		}
	}
}

func TestHome(t *testing.T) {
	b := newBox()
	b.who.home = "/root"
	b.cfg.Spec.Process.Env = []string{"A=1"}
	b.setHome()
	if got := envValue(b.cfg.Spec.Process.Env, "HOME"); got != "/root" {
		t.Errorf("HOME is %q", got)
	}
	b.cfg.Inside.HomeSet, b.who.home = true, "/other"
	b.cfg.Spec.Process.Env = []string{"HOME="}
	b.setHome()
	if got := strings.Join(b.cfg.Spec.Process.Env, " "); got != "HOME=" {
		t.Errorf("a HOME that the user set became %q", got)
	}
}
