package shim

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

func bind(source, dest string) specs.Mount {
	return specs.Mount{Destination: dest, Type: "bind", Source: source, Options: []string{"rbind", "rprivate"}}
}

// told runs a small role on a configuration and returns its answer.
func told(t *testing.T, role func(*stage.Conn) int, config any) (int, *start.Message) {
	t.Helper()
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer ours.Close()
	defer theirs.Close()
	sealed, err := stage.Seal("test", config)
	must(t, err)
	defer sealed.Close()
	must(t, ours.Send(&start.Message{Kind: start.KindConfig, Files: []string{"config"}}, sealed))
	code := role(theirs)
	var m start.Message
	_, err = ours.Recv(&m)
	must(t, err)
	return code, &m
}

func TestTidy(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"trash/a/deep/er", "trash/b", "volumes/v/_data", "containers/c", "trashy"} {
		must(t, os.MkdirAll(root+"/"+dir, 0o700))
	}
	must(t, os.Symlink(root+"/containers", root+"/trash/a/link"))
	must(t, os.Chmod(root+"/trash/a/deep", 0o500)) // owners may always
	code, m := told(t, Tidy, &start.TidyConfig{Root: root, Paths: []string{"trash/a", "volumes/v", "trash/missing"}})
	if code != 0 || m.Kind != start.KindExited {
		t.Errorf("%d %+v %v", code, m, m.Fail)
	}
	for path, there := range map[string]bool{"trash/a": false, "volumes/v": false, "trash/b": true, "containers/c": true} {
		if _, err := os.Lstat(root + "/" + path); (err == nil) != there {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Only what lies below trash/ and volumes/ is ever deleted.
func TestTidyRefuses(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/containers/c", 0o700))
	for _, path := range []string{"containers/c", "trash", "volumes", "trash/../containers/c", "/etc", "", ".", "..", "../x", "trash/../../x", "trashy/x", "volumes/../containers", "trash/", "trash//"} {
		code, m := told(t, Tidy, &start.TidyConfig{Root: root, Paths: []string{path}})
		if code != 1 || m.Kind != start.KindFailed || !strings.Contains(m.Fail.Text, "refuse to delete") {
			t.Errorf("%q: %d %+v", path, code, m)
		}
	}
	if _, err := os.Lstat(root + "/containers/c"); err != nil {
		t.Error(err)
	}
}

// A role that is told something else says so and does nothing.
func TestRolesRefuseOtherMessages(t *testing.T) {
	for name, role := range map[string]func(*stage.Conn) int{"tidy": Tidy, "probe": Probe, "unshare": Unshare} {
		for _, m := range []any{&start.Message{Kind: start.KindStart}, &start.Message{Kind: start.KindConfig}, &start.Message{}, []int{1}} {
			ours, theirs, err := stage.Pair()
			must(t, err)
			must(t, ours.Send(m))
			if code := role(theirs); code == 0 {
				t.Errorf("%s took %+v", name, m)
			}
			ours.Close()
			theirs.Close()
		}
		ours, theirs, err := stage.Pair()
		must(t, err)
		ours.Close()
		if code := role(theirs); code == 0 {
			t.Errorf("%s: nobody spoke", name)
		}
		theirs.Close()
	}
}

// Files of subordinate ids can be deleted by root of U0 only.
func TestTidyInU0(t *testing.T) {
	c := newContainer(t, "true")
	for _, f := range c.files {
		f.Close()
	}
	must(t, os.MkdirAll(c.store.Path("trash/x"), 0o700))
	owned(t, c.store.Path("trash/x"))
	if err := os.RemoveAll(c.store.Path("trash/x")); err == nil {
		t.Skip("uid 0 may delete everything: nothing to show")
	}
	conn, proc := inU0(t, "rc-tidy", &start.TidyConfig{Root: c.store.Root, Paths: []string{"trash/x"}}, nil)
	var m start.Message
	_, err := conn.Recv(&m)
	must(t, err)
	_, _ = proc.Wait()
	if m.Kind != start.KindExited {
		t.Errorf("%+v %v", m, m.Fail)
	}
	if _, err := os.Lstat(c.store.Path("trash/x")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is left: %v", err)
	}
}

// owned makes a folder of another id below dir, with a file in it.
func owned(t *testing.T, dir string) {
	t.Helper()
	conn, proc := inU0(t, "rc-unshare", &start.UnshareConfig{Dir: dir, Env: []string{"PATH=/usr/sbin:/usr/bin:/bin"},
		Args: []string{"sh", "-c", "mkdir sub && touch sub/f && chown -R 5:5 sub && chmod 700 sub"}}, nil)
	var m start.Message
	if _, err := conn.Recv(&m); err == nil {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	if ws, err := proc.Wait(); err != nil || ws.ExitStatus() != 0 {
		t.Fatalf("%v %v", ws, err)
	}
}

func TestUnshareRefuses(t *testing.T) {
	if wd, err := os.Getwd(); err == nil {
		defer os.Chdir(wd) // Unshare goes to the caller's folder
	}
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/text", []byte("x"), 0o644))
	for _, c := range []struct {
		cfg  start.UnshareConfig
		code int
		text string
	}{
		{start.UnshareConfig{Args: []string{"nope"}, Dir: "/", Env: []string{"PATH=/bin"}}, hint.ExitNotFound, "command not found"},
		{start.UnshareConfig{Args: []string{"nope"}, Dir: "/"}, hint.ExitNotFound, "command not found"},
		{start.UnshareConfig{Args: []string{dir + "/text"}, Dir: "/"}, hint.ExitNotRunnable, "permission denied"},
		{start.UnshareConfig{Args: []string{"true"}, Dir: "/nonexistent"}, hint.ExitRefused, "enter /nonexistent"},
	} {
		code, m := told(t, Unshare, &c.cfg)
		if code != c.code || m.Fail == nil || m.Fail.Code != c.code || !strings.Contains(m.Fail.Error().Error(), c.text) {
			t.Errorf("%+v: %d %+v", c.cfg, code, m.Fail)
		}
	}
}

func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/a/tool", 0o755)) // a folder of that name
	must(t, os.Mkdir(dir+"/b", 0o755))
	must(t, os.WriteFile(dir+"/b/tool", nil, 0o755))
	must(t, os.WriteFile(dir+"/b/text", nil, 0o644))
	env := []string{"X=1", "PATH=" + dir + "/a:/missing:" + dir + "/b"}
	if got, err := lookPath("tool", env); err != nil || got != dir+"/b/tool" {
		t.Errorf("%q %v", got, err)
	}
	if got, err := lookPath("./x", nil); err != nil || got != "./x" {
		t.Errorf("%q %v", got, err)
	}
	for _, name := range []string{"text", "none"} {
		if got, err := lookPath(name, env); err == nil {
			t.Errorf("%q is %q", name, got)
		}
	}
}

func TestProbe(t *testing.T) {
	conn, _ := inU0(t, "rc-probe", &start.ProbeConfig{Dir: t.TempDir()}, nil)
	var r start.ProbeReply
	_, err := conn.Recv(&r)
	must(t, err)
	works := map[fuse.Driver]bool{}
	for _, f := range r.Findings {
		works[f.Driver] = f.OK
	}
	if r.Fail != nil || len(works) != len(fuse.Drivers) || !works[fuse.Copy] {
		t.Errorf("%+v", r)
	}
}

func TestCgroupRefused(t *testing.T) {
	for _, errno := range []error{unix.EACCES, unix.EBUSY, unix.EOPNOTSUPP, unix.ENOSYS, userns.ErrKilled} {
		if !cgroupRefused(hint.New("clone", errno, "")) {
			t.Errorf("%v has a second try", errno)
		}
	}
	for _, err := range []error{unix.ENOMEM, unix.EPERM, errors.New("x")} {
		if cgroupRefused(err) {
			t.Errorf("%v has none", err)
		}
	}
}
