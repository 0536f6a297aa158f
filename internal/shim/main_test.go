package shim

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/boot"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
	_ "github.com/rc-containers/rc/userns/nsjoin" // a copy of the test binary plays rc-init
)

// shimRole is what the tests start; settling is a shim that never parks.
var shimRole = "rc-shim"

const settling = "rc-settle"

var roles = map[string]func(*stage.Conn) int{"rc-shim": Main, settling: Main, "rc-boot": boot.Main, "rc-exec": boot.Exec, "rc-tidy": Tidy, "rc-probe": Probe, "rc-unshare": Unshare, "rc-lend": Lend, "rc-cover": Cover}

func TestMain(m *testing.M) {
	if role := roles[filepath.Base(os.Args[0])]; role != nil {
		if filepath.Base(os.Args[0]) == "rc-boot" {
			boot.Reserve() // as main does
		}
		settleAfter, settleAgain, restless = 200*time.Millisecond, 100*time.Millisecond, true
		parkAfter, parking = 100*time.Millisecond, filepath.Base(os.Args[0]) != settling
		os.Exit(role(stage.NewConn(4)))
	}
	os.Exit(m.Run())
}

// asRCInit puts a copy of the test binary where the shim looks for rc-init.
func asRCInit(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	dir := t.TempDir()
	if err := os.Link(self, dir+"/rc-init"); err != nil { // another file system or owner
		in, err := os.Open(self)
		must(t, err)
		defer in.Close()
		out, err := os.OpenFile(dir+"/rc-init", os.O_CREATE|os.O_WRONLY, 0o755)
		must(t, err)
		_, err = io.Copy(out, in)
		must(t, errors.Join(err, out.Close()))
	}
	return dir + "/rc-init"
}

// inU0 starts a role in a user namespace like U0, and a mount namespace.
func inU0(t *testing.T, role string, config any, files map[string]*os.File) (*stage.Conn, *userns.Process) {
	t.Helper()
	mapping, err := userns.Resolve()
	must(t, err)
	if mapping.SingleID {
		t.Skipf("needs subordinate ids: %v", mapping.Why)
	}
	ours, theirs, err := stage.Pair()
	must(t, err)
	t.Cleanup(func() { ours.Close() })
	sealed, err := stage.Seal("test", config)
	must(t, err)
	m := &start.Message{Kind: start.KindConfig, Files: []string{"config"}}
	list := []*os.File{sealed}
	for name, f := range files {
		m.Files, list = append(m.Files, name), append(list, f)
	}
	must(t, ours.Send(m, list...))
	_ = sealed.Close()
	proc, err := userns.Start(&userns.Program{Path: asRCInit(t), Args: []string{role}, Conn: theirs.File(), Setsid: true, MapIDs: mapping, Env: []string{},
		Plan: userns.Plan{Unshare: unix.CLONE_NEWUSER | unix.CLONE_NEWNS, BecomeRoot: true}})
	_ = theirs.Close()
	if err != nil {
		t.Skipf("uid %d cannot make a user namespace: %v", os.Getuid(), err)
	}
	t.Cleanup(func() { _ = proc.Signal(unix.SIGKILL); _, _ = proc.Wait(); proc.Close() })
	must(t, ours.SetDeadline(time.Now().Add(30*time.Second)))
	return ours, proc
}

// container is one that a real shim makes, of a folder with busybox.
type container struct {
	*testing.T
	cfg      start.Config
	store    *record.Store
	files    map[string]*os.File
	in       *os.File
	out, err *os.File
	conn     *stage.Conn
	shim     *userns.Process
}

func newContainer(t *testing.T, args ...string) *container {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skipf("needs a static busybox: %v", err)
	}
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	mapping, err := userns.Resolve()
	must(t, err)
	uids, gids := mapping.Nested()
	store, err := record.Open(t.TempDir())
	must(t, err)
	c := &container{T: t, store: store, files: map[string]*os.File{}}
	runtime, err := store.Runtime()
	must(t, err)
	dir := store.ContainerDir(testID)
	must(t, os.Mkdir(dir, 0o700))
	rec := &record.Container{ID: testID, Name: "box", MachineID: record.MachineID()}
	must(t, store.SaveContainer(rec))
	must(t, store.ClaimName("box", testID))
	c.cfg = start.Config{Version: version.Version, Fresh: true, ID: testID, Name: "box", Dir: dir, Root: store.Root, Runtime: runtime,
		RootfsDir: busyboxRoot(t, busybox), UIDMap: uids, GIDMap: gids, Network: "none", StopSignal: int(unix.SIGTERM), StopAfter: 10 * time.Second, ShmMount: -1,
		Clone:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP,
		Inside: start.Inside{OwnNet: true, OwnUTS: true, HomeSet: true}, Spec: boxSpec(args, uids, gids)}
	life, err := store.TakeLife(testID)
	must(t, err)
	c.files["life"] = life
	t.Cleanup(func() { // a payload outlives a shim that the test killed
		if st, err := store.LoadState(testID); err == nil && st != nil && st.PID > 0 {
			if began, err := linux.StartTime(st.PID); err == nil && began == st.PIDStart {
				_ = unix.Kill(st.PID, unix.SIGKILL)
			}
		}
	})
	return c
}

func busyboxRoot(t *testing.T, busybox string) string {
	root := t.TempDir()
	must(t, os.Chmod(root, 0o755))
	for _, dir := range []string{"bin", "proc", "dev", "tmp", "etc", "sys"} {
		must(t, os.Mkdir(root+"/"+dir, 0o755))
	}
	data, err := os.ReadFile(busybox)
	must(t, err)
	must(t, os.WriteFile(root+"/bin/busybox", data, 0o755))
	for _, name := range []string{"sh", "cat", "sleep", "id", "kill", "true", "echo", "ps", "readlink", "ls"} {
		must(t, os.Symlink("busybox", root+"/bin/"+name))
	}
	return root
}

func boxSpec(args []string, uids, gids []userns.IDMap) *specs.Spec {
	lines := func(m []userns.IDMap) (out []specs.LinuxIDMapping) {
		for _, l := range m {
			out = append(out, specs.LinuxIDMapping{ContainerID: l.Inside, HostID: l.Outside, Size: l.Size})
		}
		return out
	}
	caps := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"}
	return &specs.Spec{Hostname: "box", Root: &specs.Root{},
		Process: &specs.Process{Args: args, Cwd: "/", Env: []string{"PATH=/bin", "HOME=/"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps}},
		Mounts: []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}, {Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}},
			{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}},
		Linux: &specs.Linux{UIDMappings: lines(uids), GIDMappings: lines(gids), MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"}}}
}

// create brings the container to where only Start is missing.
func (c *container) create() *start.Message {
	c.Helper()
	if !c.cfg.Detach {
		for name, keep := range map[string]**os.File{"stdout": &c.out, "stderr": &c.err} {
			r, w := callerPipe(c.T)
			*keep, c.files[name] = r, w
		}
		if c.cfg.Inside.Stdin || c.cfg.Spec.Process.Terminal {
			var r *os.File
			r, c.in = callerPipe(c.T)
			c.files["stdin"] = r
		}
	}
	c.conn, c.shim = inU0(c.T, shimRole, &c.cfg, c.files)
	for _, f := range c.files {
		_ = f.Close()
	}
	m := c.recv()
	if pidfd, err := linux.OpenPidfd(m.PID); err == nil && m.Kind == start.KindCreated {
		// A test that kills its shim, or ends before its payload, leaves nothing.
		c.Cleanup(func() { _ = linux.SignalPidfd(pidfd, unix.SIGKILL); _ = pidfd.Close() })
	}
	return m
}

func (c *container) recv() *start.Message {
	c.Helper()
	var m start.Message
	if _, err := c.conn.Recv(&m); err != nil {
		c.Fatalf("the shim: %v", err)
	}
	if m.Fail != nil && errors.Is(m.Fail.Error(), unix.EPERM) && strings.Contains(m.Fail.Op, "mount proc") {
		c.Skipf("something covers a part of this host's /proc: %v", m.Fail.Error())
	}
	return &m
}

func (c *container) want(kind start.Kind) *start.Message {
	c.Helper()
	m := c.recv()
	if m.Kind != kind {
		text := ""
		if m.Fail != nil {
			text = m.Fail.Error().Error()
		}
		c.Fatalf("the shim says %q %s, not %q", m.Kind, text, kind)
	}
	return m
}

// run goes through the whole conversation and returns the exit code and output.
func (c *container) run() (code int, out, errs string) {
	c.Helper()
	if m := c.create(); m.Kind != start.KindCreated || m.PID <= 0 {
		c.Fatalf("%+v %v", m, m.Fail)
	}
	must(c.T, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	texts := make(chan string, 1)
	go func() { b, _ := io.ReadAll(c.err); texts <- string(b) }()
	b, err := io.ReadAll(c.out)
	must(c.T, err)
	m := c.want(start.KindExited)
	return m.Exit.Code, string(b), <-texts
}

func (c *container) state() *record.State {
	c.Helper()
	st, err := c.store.LoadState(testID)
	must(c.T, err)
	if st == nil {
		c.Fatal("no state was saved")
	}
	return st
}

// ended waits for the shim's own end and looks at what it left.
func (c *container) ended() {
	c.Helper()
	within(c.T, "the shim's end", func() { _, _ = c.shim.Wait() })
	if alive, err := c.store.Alive(testID); alive || err != nil {
		c.Errorf("its life lock is held: %v", err)
	}
	if path, _ := c.store.ControlPath(testID); path != "" {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			c.Errorf("its socket is left: %v", err)
		}
	}
}
