package shim

import (
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/boot"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

func init() { roles["rc-exec"] = boot.Exec }

// running is a container with this payload, started detached.
func running(t *testing.T, script string) *container {
	t.Helper()
	c := newContainer(t, "sh", "-c", script)
	c.cfg.Detach = true
	c.keepConfig()
	c.begin()
	return c
}

// exec runs a command in it as rc does, and returns its exit code and output; a
// refusal comes as the error.
func (c *container) exec(change func(*specs.Process), args ...string) (int, string, error) {
	c.Helper()
	p := *c.cfg.Spec.Process
	p.Args = args
	if change != nil {
		change(&p)
	}
	sealed, err := stage.Seal("test", &start.ExecConfig{Process: &p, Inside: start.Inside{HomeSet: true}})
	must(c.T, err)
	defer sealed.Close()
	path, err := c.store.ControlPath(testID)
	must(c.T, err)
	conn, err := stage.Dial(path)
	must(c.T, err)
	defer conn.Close()
	must(c.T, conn.SetDeadline(time.Now().Add(60*time.Second)))
	r, w := callerPipe(c.T)
	must(c.T, conn.Send(&control.Request{Op: control.OpExec, TTY: p.Terminal, Rows: 7, Cols: 8, Files: []string{"config", "stdout", "stderr"}}, sealed, w, w))
	_ = w.Close()
	var reply control.Reply
	_, err = conn.Recv(&reply)
	must(c.T, err)
	if reply.Fail != nil {
		return 0, "", reply.Fail.Error()
	}
	out, err := io.ReadAll(r)
	must(c.T, err)
	var m start.Message
	_, err = conn.Recv(&m)
	must(c.T, err)
	if m.Kind != start.KindExited {
		c.Fatalf("%+v", m)
	}
	return m.Exit.Code, string(out), nil
}

func (c *container) await(path string) {
	c.Helper()
	for range 500 {
		code, _, err := c.exec(nil, "ls", path)
		must(c.T, err)
		if code == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	c.Fatalf("%s does not come", path)
}

func TestRealExec(t *testing.T) {
	c := running(t, "sleep 60")
	code, out, err := c.exec(nil, "sh", "-c", "echo out; echo err >&2; exit 3")
	if err != nil || code != 3 || !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") {
		t.Errorf("%d %q %v", code, out, err)
	}
	if code, _, err := c.exec(nil, "sh", "-c", "kill -9 $$"); err != nil || code != 137 {
		t.Errorf("%d %v", code, err)
	}
	for want, args := range map[int][]string{hint.ExitNotFound: {"nothing"}, hint.ExitNotRunnable: {"/etc"}} {
		if _, _, err := c.exec(nil, args...); hint.ExitCode(err) != want {
			t.Errorf("%v: %v", args, err)
		}
	}
	// The same namespaces as init's, and no descriptor but the three.
	code, out, err = c.exec(nil, "sh", "-c", "for n in user net ipc uts pid mnt cgroup; do [ $(readlink /proc/self/ns/$n) = $(readlink /proc/1/ns/$n) ] || echo $n; done; ls /proc/self/fd")
	if err != nil || code != 0 || strings.Join(strings.Fields(out), " ") != "0 1 2 3" { // 3 is ls's own
		t.Errorf("%d %q %v", code, out, err)
	}
	code, out, err = c.exec(func(p *specs.Process) { p.Terminal = true }, "sh", "-c", "readlink /proc/self/fd/0; busybox stty size")
	if err != nil || code != 0 || !strings.Contains(out, "/dev/pts/") || !strings.Contains(out, "7 8") {
		t.Errorf("%d %q %v", code, out, err)
	}
}

// Folders that are no longer what the image made of them.
func TestRealExecWorkdir(t *testing.T) {
	c := running(t, "busybox ln -s ../../../../.. /tmp/up; busybox mkdir /tmp/gone; cd /tmp/gone; busybox rmdir /tmp/gone; : >/tmp/ready; sleep 60")
	c.await("/tmp/ready")
	in := func(dir string) func(*specs.Process) { return func(p *specs.Process) { p.Cwd = dir } }
	for dir, want := range map[string]int{"/none": hint.ExitNotFound, "/tmp/ready": hint.ExitNotRunnable} {
		if _, _, err := c.exec(in(dir), "true"); err == nil || hint.ExitCode(err) != want {
			t.Errorf("%s: %v", dir, err)
		}
	}
	for fd := range 12 { // CVE-2024-21626
		dir := "/proc/self/fd/" + string("0123456789ab"[fd])
		if _, out, err := c.exec(in(dir), "busybox", "pwd"); err == nil {
			t.Errorf("%s is a folder: %q", dir, out)
		}
	}
	if _, _, err := c.exec(in("/proc/1/cwd"), "true"); err == nil {
		t.Error("a folder that was removed")
	}
	if code, out, err := c.exec(in("/tmp/up"), "ls", "-d", "bin", "proc", "tmp"); err != nil || code != 0 {
		t.Errorf("the root is not where .. ends: %d %q %v", code, out, err)
	}
}

// The payload has put odd things where rc-exec looks.
func TestRealExecHostileFiles(t *testing.T) {
	c := running(t, `busybox mkfifo /etc/passwd; busybox truncate -s 4G /etc/group; busybox rm -rf /dev/null; busybox mkfifo /dev/null; : >/tmp/ready; sleep 60`)
	c.await("/tmp/ready")
	if code, out, err := c.exec(nil, "echo", "well"); err != nil || code != 0 || out != "well\n" {
		t.Errorf("%d %q %v", code, out, err)
	}
	if code, _, err := c.exec(nil, "sh", "-c", "busybox rm /bin/sh; busybox rm /bin/busybox"); err != nil || code != 0 {
		t.Errorf("%d %v", code, err)
	}
	if _, _, err := c.exec(nil, "sh"); hint.ExitCode(err) != hint.ExitNotFound {
		t.Errorf("%v", err)
	}
}

// looker stops each process that is still one of ours, by its name a number (that
// of the descriptor it was executed from), and looks into it. The rounds are counted: its own
// end, whatever becomes of the test.
const looker = `: >/tmp/found; : >/tmp/tried; i=0; while [ $((i+=1)) -lt 20000 ]; do for p in /proc/[0-9]*; do
n=; { read -r n <$p/comm; } 2>/dev/null
case $n in [0-9]*) kill -STOP ${p#/proc/} 2>/dev/null; got=
 readlink $p/fd/1 >/dev/null 2>&1 && got="$got fd"
 cat $p/environ >/dev/null 2>&1 && got="$got environ"
 cat $p/maps >/dev/null 2>&1 && got="$got maps"
 readlink $p/exe >/dev/null 2>&1 && got="$got exe"
 ls $p/cwd/ >/dev/null 2>&1 && got="$got cwd"
 m=; { read -r m <$p/comm; } 2>/dev/null
 case $m in [0-9]*) echo x >>/tmp/tried; [ "$got" ] && echo "$got" >>/tmp/found;; esac
 kill -CONT ${p#/proc/} 2>/dev/null;; esac; done; done >/dev/null 2>&1; sleep 60`

// A root of the container that stops each rc-exec before its execve, with the right
// to trace all that is the container's: CVE-2016-9962, CVE-2019-5736.
func TestRealExecIsOutOfReach(t *testing.T) {
	c := newContainer(t, "sh", "-c", looker)
	caps := append([]string{"CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"}, c.cfg.Spec.Process.Capabilities.Bounding...)
	c.cfg.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}
	c.cfg.Detach = true
	c.keepConfig()
	c.begin()
	for range 40 {
		if _, _, err := c.exec(nil, "true"); err != nil {
			t.Fatal(err)
		}
	}
	_, tried, err := c.exec(nil, "cat", "/tmp/tried")
	must(t, err)
	_, found, err := c.exec(nil, "cat", "/tmp/found")
	must(t, err)
	if found != "" {
		t.Errorf("it was looked into: %s", found)
	}
	if tried == "" {
		t.Skip("no rc-exec was caught before its execve: this host is too busy to tell")
	}
	t.Logf("%d were caught", strings.Count(tried, "x"))
}

// A payload that kills all that it sees ends execs, not the shim.
func TestRealExecKilled(t *testing.T) {
	c := running(t, "sleep 60")
	done := make(chan int, 1)
	go func() { code, _, _ := c.exec(nil, "sleep", "50"); done <- code }()
	time.Sleep(300 * time.Millisecond)
	if _, _, err := c.exec(nil, "sh", "-c", "kill -9 -1"); err != nil {
		t.Error(err)
	}
	within(t, "the end of the other exec", func() {
		if code := <-done; code != 137 {
			t.Errorf("%d", code)
		}
	})
	if r, err := c.ask(control.Request{Op: control.OpState}); err != nil || r.State.PID == 0 {
		t.Errorf("%+v %v", r, err)
	}
	_ = unix.Kill(c.state().PID, unix.SIGKILL)
	within(t, "its end", func() { _, _ = c.shim.Wait() })
	if _, err := os.Stat(c.cfg.Dir + "/state.json"); err != nil {
		t.Error(err)
	}
}
