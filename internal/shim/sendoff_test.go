package shim

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ahead starts a container as rc does where no port is to be written down: Start is
// there before the shim is.
func (c *container) ahead() {
	c.Helper()
	for name, keep := range map[string]**os.File{"stdout": &c.out, "stderr": &c.err} {
		r, w := callerPipe(c.T)
		*keep, c.files[name] = r, w
	}
	c.conn, c.shim = inU0(c.T, shimRole, &c.cfg, c.files)
	must(c.T, c.conn.Send(&start.Message{Kind: start.KindStart}))
	for _, f := range c.files {
		_ = f.Close()
	}
}

// The messages come in the same order, and nothing of the output is lost.
func TestRealStartAhead(t *testing.T) {
	c := newContainer(t, "sh", "-c", "echo $$; echo oops >&2; exit 7")
	c.ahead()
	c.want(start.KindCreated)
	c.want(start.KindStarted)
	out, err := io.ReadAll(c.out)
	must(t, err)
	errs, err := io.ReadAll(c.err)
	must(t, err)
	if m := c.want(start.KindExited); m.Exit.Code != 7 || string(out) != "1\n" || string(errs) != "oops\n" {
		t.Errorf("%+v %q %q", m.Exit, out, errs)
	}
	c.ended()
	if st := c.state(); st.Status != record.Exited || st.ExitCode != 7 {
		t.Errorf("%+v", st)
	}
}

// Of a container that its end removes the state is written once, as running, and is
// there before the payload.
func TestRealStartAheadSavesOnce(t *testing.T) {
	c := newContainer(t, "sh", "-c", "cat /folder/state.json; exec sleep 100")
	c.cfg.AutoRemove, c.cfg.Fresh = true, true
	c.cfg.Spec.Mounts = append(c.cfg.Spec.Mounts, specs.Mount{Type: "bind", Source: c.cfg.Dir, Destination: "/folder", Options: []string{"bind"}})
	c.ahead()
	c.want(start.KindCreated)
	c.want(start.KindStarted)
	var seen record.State
	must(t, json.NewDecoder(c.out).Decode(&seen))
	now := c.state()
	if seen.Status != record.Running || seen.PID == 0 || seen.PID != now.PID || seen.Fresh || seen.Started.IsZero() || !seen.Started.Equal(now.Started) || now.Status != record.Running {
		t.Errorf("the payload saw %+v, now it is %+v", seen, now)
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindSignal, Signal: int(unix.SIGKILL)}))
	if m := c.want(start.KindExited); m.Exit.Code != 137 {
		t.Errorf("%+v", m.Exit)
	}
	within(t, "the shim's end", func() { _, _ = c.shim.Wait() })
	if _, err := os.Lstat(c.cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

// A refusal comes as without: before Ready, and of the execve.
func TestRealStartAheadFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*container)
		says   string
	}{
		"before Ready": {func(c *container) { c.cfg.Spec.Process.Cwd = "/bin/busybox" }, "working"},
		"of the execve": {func(c *container) {
			must(c.T, os.WriteFile(c.cfg.RootfsDir+"/bin/bad", []byte("no program\n"), 0o755))
			c.cfg.Spec.Process.Args = []string{"bad"}
		}, "bad"},
	} {
		box := newContainer(t, "true")
		c.change(box)
		box.ahead()
		m := box.recv()
		if m.Kind == start.KindCreated {
			m = box.recv()
		}
		if m.Kind != start.KindFailed || !strings.Contains(m.Fail.Error().Error(), c.says) {
			t.Errorf("%s: %+v %+v", name, m, m.Fail)
		}
		_ = box.conn.Close()
		within(t, "the shim's end", func() { _, _ = box.shim.Wait() })
		noInit(t)
	}
}

// A caller that is gone has not called, whatever it has sent.
func TestRealStartAheadCallerGone(t *testing.T) {
	c := newContainer(t, "sh", "-c", "echo ran >&2; sleep 100")
	c.ahead()
	_ = c.conn.Close()
	within(t, "the shim's end", func() { _, _ = c.shim.Wait() })
	if errs, err := io.ReadAll(c.err); err != nil || len(errs) > 0 {
		t.Errorf("it ran: %q %v", errs, err)
	}
	if _, err := os.Lstat(c.cfg.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
	noInit(t)
}

// Where Ready is waited for, Start is left in the queue.
func TestCalledAhead(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*start.Config)
		want   bool
	}{
		"plain":            {func(*start.Config) {}, true},
		"a terminal":       {func(c *start.Config) { c.Spec.Process.Terminal = true }, false},
		"a unit":           {func(c *start.Config) { c.Unit = &start.Unit{} }, false},
		"a system":         {func(c *start.Config) { c.Systemd = start.SystemdAlways }, false},
		"--pidfile":        {func(c *start.Config) { c.PIDFile = "/p" }, false},
		"--conmon-pidfile": {func(c *start.Config) { c.ShimPIDFile = "/p" }, false},
	} {
		rc, ours, err := stage.Pair()
		must(t, err)
		s := &shim{rc: ours, cfg: &start.Config{Spec: &specs.Spec{Process: &specs.Process{}}}}
		c.change(s.cfg)
		if s.calledAhead() {
			t.Errorf("%s: nobody called", name)
		}
		must(t, rc.Send(&start.Message{Kind: start.KindStart}))
		if got := s.calledAhead(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if err := s.awaitStartNow(); (err == nil) == c.want {
			t.Errorf("%s: Start was taken: %v, should be %v", name, err != nil, c.want)
		}
		_ = rc.Close()
		if s.calledAhead() {
			t.Errorf("%s: it was gone", name)
		}
		_ = ours.Close()
	}
	if (&shim{cfg: &start.Config{}}).calledAhead() {
		t.Error("a restart by policy was called")
	}
}

// awaitStartNow takes Start if it is there; EAGAIN if not.
func (s *shim) awaitStartNow() error {
	raw, err := s.rc.File().SyscallConn()
	if err != nil {
		return err
	}
	n := -1
	_ = raw.Control(func(fd uintptr) { n, _, err = unix.Recvfrom(int(fd), make([]byte, 256), unix.MSG_DONTWAIT) })
	if err == nil && n <= 0 {
		err = io.EOF
	}
	return err
}
