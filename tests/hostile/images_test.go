package hostile

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

// civil: it works, or it is refused in one line of rc's own; never a crash, a hang
// or a word of Go's.
func civil(t *testing.T, r caller.Result) {
	t.Helper()
	switch {
	case r.Code == 0 || r.Code == 3:
	case r.Code != 125 && r.Code != 126 && r.Code != 127:
		t.Errorf("exit code %d: %s%s", r.Code, r.Out, r.Err)
	case strings.HasPrefix(r.Err, "rc-init: this program"): // the image made it the payload
	case strings.Count(r.Err, "\n") != 1 || !strings.HasPrefix(r.Err, "rc: "):
		t.Errorf("not one line of rc's: %q", r.Err)
	}
	if strings.Contains(r.Err, "goroutine ") || strings.Contains(r.Err, "panic") {
		t.Errorf("it crashed: %s", tail(r.Err))
	}
}

// breaches reports what an act got, whatever else happened.
func breaches(t *testing.T, r caller.Result) {
	t.Helper()
	for line := range strings.Lines(r.Out) {
		if strings.HasPrefix(line, "BREACH") {
			t.Error(line)
		}
	}
}

// A working directory that names a descriptor of the runtime (CVE-2024-21626), or
// leads to one by a link.
func TestWorkdirOfDescriptors(t *testing.T) {
	require(t)
	var dirs []string
	for fd := 3; fd < 24; fd++ {
		dirs = append(dirs, fmt.Sprintf("/proc/self/fd/%d", fd))
	}
	dirs = append(dirs, "/proc/self/cwd", "/proc/1/cwd", "/proc/self/root/..", "/proc/1/root", "/proc/self/fd/8/../../..", "/proc/thread-self/fd/7")
	for _, dir := range dirs {
		for _, f := range [][]string{{"-w", dir}, {"--privileged", "-w", dir}} {
			r := host.RC(flags([]string{"run", "--rm", "--network", "none"}, f, []string{image, "cwd", host.Dir})...)
			civil(t, r)
			breaches(t, r)
		}
	}
	for n, target := range []string{"/proc/self/fd/7", "/proc/self/fd/8", "../../../../../.." + host.Dir} {
		ref := build(t, fmt.Sprintf("workdir%d", n), func(c *images.Config) { c.WorkingDir = "/work/new" }, images.Symlink("work", target))
		r := host.RC("run", "--rm", "--network", "none", ref, "cwd", host.Dir)
		civil(t, r)
		breaches(t, r)
	}
	if _, err := os.Lstat(filepath.Join(host.Dir, "new")); err == nil {
		t.Error("a folder was made on the host")
	}
}

const loop, fifo = "a link to itself", "a FIFO"

// instead is what stands at a place in the image.
func instead(place, target string) images.Entry {
	switch target {
	case loop:
		return images.Symlink(place, filepath.Base(place))
	case fifo:
		return images.Device(place, tar.TypeFifo, 0, 0)
	}
	return images.Symlink(place, target)
}

// What rc itself writes or mounts on in an image is a link out of it, a FIFO, a
// device, a folder or a file where the other is wanted.
func TestLinksInImages(t *testing.T) {
	require(t)
	victim := filepath.Join(host.Dir, "target")
	if err := os.WriteFile(victim, []byte("untouched\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := "../../../../../../../.."
	targets := []string{up + victim, victim, "/proc/self/fd/5", "/proc/self/fd/0", "/proc/self/exe", "/proc/1/root" + victim, "/nowhere/at/all", loop, fifo}
	try := func(name, target string, places ...string) {
		var entries []images.Entry
		for _, place := range places {
			entries = append(entries, instead(place, target))
		}
		r := host.RC("run", "--rm", "--network", "none", build(t, name, nil, entries...), "leaks", secret, host.Dir)
		civil(t, r)
		breaches(t, r)
		if t.Failed() {
			t.Fatalf("%q -> %q", places, target)
		}
	}
	for n, target := range targets {
		try(fmt.Sprintf("files%d", n), target, "etc/resolv.conf", "etc/hosts", "etc/hostname", "etc/passwd", "etc/group", "run")
	}
	for _, place := range []string{"etc", "dev", "proc", "sys", "tmp", "dev/shm", "dev/pts", "dev/null", "dev/console", "sys/fs/cgroup", "proc/self"} {
		for n, target := range []string{up + host.Dir, "/proc/self/fd/5", loop, fifo} {
			try(fmt.Sprintf("%s%d", strings.ReplaceAll(place, "/", "-"), n), target, place)
		}
	}
	if got := read(victim); got != "untouched\n" {
		t.Errorf("the host's file is now %q", got)
	}
}

// Roots, volumes, users and entry points that no builder would make.
func TestOddImages(t *testing.T) {
	require(t)
	root := func(mode int64) images.Entry {
		return images.Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: mode}}
	}
	volume := func(paths ...string) func(*images.Config) {
		return func(c *images.Config) {
			c.Volumes = map[string]struct{}{}
			for _, p := range paths {
				c.Volumes[p] = struct{}{}
			}
		}
	}
	entry := func(argv ...string) func(*images.Config) {
		return func(c *images.Config) { c.Entrypoint, c.Cmd = argv, nil }
	}
	user := func(u string) func(*images.Config) { return func(c *images.Config) { c.User = u } }
	for name, odd := range map[string]struct {
		change  func(*images.Config)
		entries []images.Entry
	}{
		"root-closed":   {nil, []images.Entry{root(0)}},
		"root-foreign":  {nil, []images.Entry{root(0o700).Own(1000, 1000)}},
		"root-setuid":   {nil, []images.Entry{root(0o7777)}},
		"root-unmapped": {nil, []images.Entry{root(0o755).Own(4000000, 4000000)}},
		"root-link":     {nil, []images.Entry{images.Symlink("./", "/tmp")}},
		"root-file":     {nil, []images.Entry{images.File(".", 0o644, "x")}},
		"root-dotdot":   {nil, []images.Entry{images.Dir("..", 0o777)}},
		"volume-root":   {volume("/"), nil},
		"volume-proc":   {volume("/proc", "/proc/self", "/sys", "/dev"), nil},
		"volume-dots":   {volume("/../../../tmp/rc-pwned", "../x", "relative", "", "/a/../../b"), nil},
		"volume-many":   {volume("/attack", "/etc/passwd", "/dev/null", "/etc/hosts"), nil},
		"volume-cgroup": {volume("/sys/fs/cgroup", "/dev/pts", "/dev/shm", "/dev/mqueue"), nil},
		"entry-fd":      {entry("/proc/self/fd/5"), nil},
		"entry-exe":     {entry("/proc/1/exe", "rc-boot"), nil},
		"entry-init":    {entry("/proc/self/exe"), nil},
		"entry-folder":  {entry("/etc"), nil},
		"entry-stdin":   {entry("/dev/stdin"), nil},
		"entry-empty":   {entry(""), nil},
		"entry-dots":    {entry("../../../../../../" + host.Attack()), nil},
		"entry-host":    {entry(host.Attack(), "true"), nil},
		"user-huge":     {user("4294967295:4294967295"), nil},
		"user-negative": {user("-1"), nil},
		"user-overflow": {user("99999999999999999999"), nil},
		"user-lines":    {user("root\napp"), nil},
		"user-home":     {user("app"), []images.Entry{images.File("etc/passwd", 0o644, "app:x:1000:1000::/proc/self/fd/5\n:/attack\n")}},
		"user-long":     {user("app"), []images.Entry{images.File("etc/passwd", 0o644, strings.Repeat("x", 1<<20)+":x:0:0::/:\n")}},
		"user-uids":     {user("app"), []images.Entry{images.File("etc/passwd", 0o644, "app:x:-7:99999999999:::\n")}},
		"env": {func(c *images.Config) {
			c.Env = []string{"=x", "A", "LD_PRELOAD=/x", "RC_TEST_WITHOUT=fsopen-overlay", "_=\x01"}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := images.Image{Config: caller.Config(), Layers: []images.Layer{base}}
			if odd.entries != nil {
				i.Layers = append(i.Layers, images.MakeLayer(images.Plain, odd.entries...))
			}
			if odd.change != nil {
				odd.change(&i.Config)
			}
			ref := "localhost/odd/" + name + ":latest"
			if err := host.Load(ref, i.Build()); err != nil {
				t.Logf("refused when it was loaded: %v", err)
				return
			}
			for _, f := range [][]string{{}, {"--privileged"}, {"--read-only"}} {
				civil(t, host.RC(flags([]string{"run", "--rm", "--network", "none"}, f, []string{ref})...))
			}
		})
	}
	if _, err := os.Lstat("/tmp/rc-pwned"); err == nil {
		t.Error("/tmp/rc-pwned was made on the host")
	}
}
