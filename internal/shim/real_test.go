package shim

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// The whole conversation with a real shim and a real container.
func TestRealContainer(t *testing.T) {
	c := newContainer(t, "sh", "-c", "id -u; echo $$; cat /proc/sys/kernel/hostname; echo oops >&2; exit 7")
	code, out, errs := c.run()
	if code != 7 || out != "0\n1\nbox\n" || errs != "oops\n" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	c.ended()
	st := c.state()
	if st.Status != record.Exited || st.ExitCode != 7 || st.PID != 0 || st.Started.IsZero() || st.Finished.Before(st.Started) || st.ShimPID != c.shim.PID {
		t.Errorf("%+v", st)
	}
	if got := logged(t, c.cfg.Dir+"/log"); !strings.Contains(got, "stdout:box\n") || !strings.Contains(got, "stderr:oops\n") {
		t.Errorf("log %q", got)
	}
}

// The state on disk is never ahead of, and never behind, what rc is told.
func TestRealStates(t *testing.T) {
	c := newContainer(t, "cat")
	c.cfg.Inside.Stdin = true
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	st := c.state()
	who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
	if st.Status != record.Created || !who.Alive() {
		t.Errorf("%+v", st)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindResize, Rows: 5, Cols: 5})) // allowed before Start
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	if st := c.state(); st.Status != record.Running || st.PID != who.PID {
		t.Errorf("%+v", st)
	}
	path, err := c.store.ControlPath(testID)
	must(t, err)
	r, _, err := control.Ask(path, control.Request{Op: control.OpState}, 5*time.Second)
	if err != nil || r.State.Status != record.Running {
		t.Errorf("%+v %v", r, err)
	}
	_, err = c.in.WriteString("through the container")
	must(t, err)
	_ = c.in.Close()
	if b, err := io.ReadAll(c.out); err != nil || string(b) != "through the container" {
		t.Errorf("%q %v", b, err)
	}
	if m := c.want(start.KindExited); m.Exit.Code != 0 {
		t.Errorf("%+v", m.Exit)
	}
	if st := c.state(); st.Status != record.Exited {
		t.Errorf("Exited was sent before it was recorded: %+v", st)
	}
	c.ended()
	if who.Alive() {
		t.Error("the payload lives on")
	}
}

func TestRealSignals(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		signal unix.Signal
		code   int
	}{
		"killed":  {"echo up; exec sleep 100", unix.SIGKILL, 137},
		"handled": {"trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done", unix.SIGTERM, 5},
	} {
		box := newContainer(t, "sh", "-c", c.script)
		if m := box.create(); m.Kind != start.KindCreated {
			t.Fatalf("%s: %+v %v", name, m, m.Fail)
		}
		must(t, box.conn.Send(&start.Message{Kind: start.KindStart}))
		box.want(start.KindStarted)
		_, err := io.ReadFull(box.out, make([]byte, 3))
		must(t, err)
		must(t, box.conn.Send(&start.Message{Kind: start.KindSignal, Signal: int(c.signal)}))
		if m := box.want(start.KindExited); m.Exit.Code != c.code {
			t.Errorf("%s: %+v", name, m.Exit)
		}
		box.ended()
	}
}

// --init: PID 1 is ours, passes signals on and reaps.
func TestRealInit(t *testing.T) {
	c := newContainer(t, "sh", "-c", "echo $$; (sleep 0.1 &); exit 9")
	c.cfg.Inside.Init = true
	code, out, errs := c.run()
	if code != 9 || out == "1\n" || errs != "" {
		t.Errorf("%d %q %q", code, out, errs)
	}
	c.ended()
}

func TestRealTerminal(t *testing.T) {
	c := newContainer(t, "sh", "-c", "test -t 0 && test -t 1 && test -t 2 && readlink /proc/self/fd/0 && read x && echo got $x")
	c.cfg.Spec.Process.Terminal, c.cfg.Rows, c.cfg.Cols = true, 20, 60
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	_, err := c.in.WriteString("hello\n")
	must(t, err)
	b, err := io.ReadAll(c.out)
	if err != nil || !strings.Contains(string(b), "/dev/pts/0\r\n") || !strings.Contains(string(b), "got hello\r\n") {
		t.Errorf("%q %v", b, err)
	}
	if m := c.want(start.KindExited); m.Exit.Code != 0 {
		t.Errorf("%+v", m.Exit)
	}
	c.ended()
}

// What the payload must not see of us: descriptors, environment, other processes,
// the socket of the conversation.
func TestRealPayloadIsBare(t *testing.T) {
	c := newContainer(t, "sh", "-c", "ls /proc/self/fd; cat /proc/self/environ | tr '\\0' ' '; echo; ps -o pid,comm; cat /proc/1/oom_score_adj /proc/self/setgroups")
	c.cfg.Spec.Process.Args[2] = strings.Replace(c.cfg.Spec.Process.Args[2], "tr '\\0' ' '", "busybox tr '\\0' ' '", 1)
	_, out, errs := c.run()
	lines := strings.Split(out, "\n")
	if len(lines) < 6 || lines[0] != "0" || lines[1] != "1" || lines[2] != "2" || lines[3] != "3" || lines[4] == "4" {
		t.Errorf("descriptors (3 is ls's own): %q %q", out, errs)
	}
	if strings.Contains(out, "RC_") || strings.Contains(out, "XDG") || strings.Contains(out, "rc-") {
		t.Errorf("something of ours shows: %q", out)
	}
	c.ended()
}

// The payload has ended and its reader is slow: the end is told when all output
// was taken, and not before.
func TestRealSlowReader(t *testing.T) {
	c := newContainer(t, "sh", "-c", "busybox seq 1 20000") // 109 kB, which the pipes hold
	c.cfg.AutoRemove = true
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	time.Sleep(500 * time.Millisecond)
	b, err := io.ReadAll(c.out)
	if err != nil || len(b) != 108894 || !strings.HasSuffix(string(b), "\n20000\n") {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if m := c.want(start.KindExited); m.Exit.Code != 0 {
		t.Errorf("%+v", m.Exit)
	}
	c.ended()
}

// Each refusal before Start leaves nothing that runs and names its exit code.
func TestRealRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*container)
		code  int
		text  string
	}{
		"unknown command": {func(c *container) { c.cfg.Spec.Process.Args = []string{"nope"} }, hint.ExitNotFound, `run "nope"`},
		"no program": {func(c *container) {
			must(c.T, os.WriteFile(c.cfg.RootfsDir+"/bin/text", nil, 0o644))
			c.cfg.Spec.Process.Args = []string{"text"}
		}, hint.ExitNotRunnable, `run "text"`},
		"unknown user":   {func(c *container) { c.cfg.Inside.Username = "nobody-here" }, hint.ExitRefused, "find user"},
		"no root folder": {func(c *container) { c.cfg.RootfsDir += "/missing" }, hint.ExitRefused, "missing"},
		"no source":      {func(c *container) { c.cfg.Spec.Mounts = append(c.cfg.Spec.Mounts, bind("/nonexistent", "/mnt")) }, hint.ExitRefused, "mount /nonexistent"},
		"workdir a file": {func(c *container) { c.cfg.Spec.Process.Cwd = "/bin/busybox" }, hint.ExitRefused, "working directory"},
		"other version":  {func(c *container) { c.cfg.Version = "another" }, hint.ExitRefused, "version another"},
		"no keeper":      {func(c *container) { c.cfg.Network = "slirp4netns" }, hint.ExitRefused, ""},
		"bad sysctl":     {func(c *container) { c.cfg.Spec.Linux.Sysctl = map[string]string{"net.no.such": "1"} }, hint.ExitRefused, "--sysctl net.no.such=1"},
	} {
		t.Run(name, func(t *testing.T) {
			box := newContainer(t, "true")
			c.spoil(box)
			m := box.create()
			if m.Kind != start.KindFailed || m.Fail == nil || m.Fail.Code != c.code || !strings.Contains(m.Fail.Error().Error(), c.text) {
				t.Errorf("%+v %v", m, m.Fail)
			}
			box.ended()
		})
	}
}

// A command that execve itself refuses is told after Start.
func TestRealExecRefused(t *testing.T) {
	c := newContainer(t, "/bin/bad")
	must(t, os.WriteFile(c.cfg.RootfsDir+"/bin/bad", []byte("no program\n"), 0o755))
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	m := c.want(start.KindFailed)
	if m.Fail.Code != hint.ExitNotRunnable || !errors.Is(m.Fail.Error(), unix.ENOEXEC) {
		t.Errorf("%+v", m.Fail)
	}
	c.ended()
}

// rc is killed between Created and Start: the shim takes everything down.
func TestRealCallerGone(t *testing.T) {
	c := newContainer(t, "sleep", "100")
	m := c.create()
	if m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	st := c.state()
	_ = c.conn.Close()
	c.ended()
	if (linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}).Alive() {
		t.Error("init lives on")
	}
	for _, path := range []string{c.cfg.Dir, c.store.Path("container-names/box")} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// rc is killed while the container runs: that goes on, and its end is recorded.
func TestRealCallerGoneLater(t *testing.T) {
	c := newContainer(t, "sh", "-c", "sleep 0.5; echo lost; exit 4")
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	_ = c.conn.Close()
	_ = c.out.Close()
	_ = c.err.Close()
	c.ended()
	if st := c.state(); st.Status != record.Exited || st.ExitCode != 4 {
		t.Errorf("%+v", st)
	}
	if got := logged(t, c.cfg.Dir+"/log"); got != "stdout:lost\n" {
		t.Errorf("%q", got)
	}
}

// --rm: the container is gone before Exited, and its files, those of subordinate ids
// included, with the shim.
func TestRealAutoRemove(t *testing.T) {
	c := newContainer(t, "true")
	c.cfg.AutoRemove, c.cfg.Anonymous = true, []string{"anon"}
	must(t, os.MkdirAll(c.store.Path("volumes/anon/_data/deep"), 0o700))
	must(t, os.MkdirAll(c.store.Path("volumes/named/_data"), 0o700))
	if code, _, _ := c.run(); code != 0 {
		t.Errorf("%d", code)
	}
	for _, path := range []string{c.cfg.Dir, c.store.Path("container-names/box"), c.store.Path("volumes/anon")} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if alive, err := c.store.Alive(c.cfg.ID); alive || err != nil {
		t.Errorf("its life lock is held: %v", err)
	}
	c.ended()
	if left, _ := os.ReadDir(c.store.Path("trash")); len(left) > 0 {
		t.Errorf("the trash holds %v", left)
	}
	if _, err := os.Lstat(c.store.Path("volumes/named")); err != nil {
		t.Error(err)
	}
}

// A bind mount that would show our sockets has them covered.
func TestRealRuntimeIsHidden(t *testing.T) {
	c := newContainer(t, "sh", "-c", "ls /host; ls /host/*; cat /host/visible")
	above := t.TempDir()
	must(t, os.WriteFile(above+"/visible", []byte("text"), 0o644))
	inside := above + "/runtime"
	must(t, os.MkdirAll(inside+"/c", 0o700))
	must(t, os.WriteFile(inside+"/secret", nil, 0o600))
	c.cfg.Runtime = inside
	c.cfg.Spec.Mounts = append(c.cfg.Spec.Mounts, bind(above, "/host"))
	code, out, errs := c.run()
	if code != 0 || strings.Contains(out, "secret") || !strings.HasSuffix(out, "text") {
		t.Errorf("%d %q %q", code, out, errs)
	}
}
