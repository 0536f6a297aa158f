package crash

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// state is how rc shows a container; "" when it does not.
func state(t *testing.T, name string) caller.Listed {
	t.Helper()
	list, err := user.Ps()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range list {
		if l.Names == name {
			return l
		}
	}
	return caller.Listed{}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 10 s: %s", what)
		}
	}
}

// of finds the processes of a role.
func of(name string) []caller.Process {
	var out []caller.Process
	for _, p := range user.Ours() {
		if p.Name == name {
			out = append(out, p)
		}
	}
	return out
}

// The caller of an attached container goes, in each of its ways; the container
// stays, is shown, and can be removed.
func TestCallerGoes(t *testing.T) {
	require(t)
	for name, leave := range map[string]func(cmd *exec.Cmd, master *os.File){
		"killed":     func(cmd *exec.Cmd, _ *os.File) { _ = cmd.Process.Kill() },
		"hung-up":    func(cmd *exec.Cmd, _ *os.File) { _ = cmd.Process.Signal(unix.SIGHUP) },
		"closed-tty": func(_ *exec.Cmd, master *os.File) { _ = master.Close() },
	} {
		for _, tty := range []string{"-i", "-it"} {
			t.Run(name+tty, func(t *testing.T) {
				box := "left-" + name + tty
				master, slave := terminal(t)
				ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
				defer cancel()
				cmd := user.Command(ctx, "run", tty, "--name", box, "--network", "none", image, "sleep")
				cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
				cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				_ = slave.Close()
				eventually(t, "it runs", func() bool { return state(t, box).State == "running" })
				leave(cmd, master)
				_ = cmd.Wait()
				if ctx.Err() != nil {
					t.Error("rc stays without a terminal")
				}
				time.Sleep(100 * time.Millisecond)
				if s := state(t, box); s.State != "running" {
					t.Errorf("it is shown as %q", s.Status)
				}
				truth(t, box)
				clean(t, box)
			})
		}
	}
}

func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs /dev/ptmx: %v", err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close(); _ = slave.Close() })
	return master, slave
}

// The shim is killed: the attached rc says so and ends, the next rc ps ends the
// orphan and shows it as ended; with --rm nothing of it stays.
func TestShimKilled(t *testing.T) {
	require(t)
	for name, f := range map[string][]string{"attached": {}, "removed": {"--rm"}, "detached": {"-d"}, "stopped": {"-d"}} {
		t.Run(name, func(t *testing.T) {
			r := background(append(append([]string{"run", "--name", "orphan"}, f...), "--network", "none", image, "sleep")...)
			eventually(t, "it runs", func() bool { return state(t, "orphan").State == "running" })
			pid := user.PID("orphan")
			if name == "stopped" { // its payload cannot die of the closed pipes by itself
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
			for _, p := range of("rc-shim") {
				_ = unix.Kill(p.PID, unix.SIGKILL)
				// A zombie may have threads that are still on their way, with its lock.
				eventually(t, "the shim is gone", func() bool { _, there := caller.Look(p.PID); return !there })
			}
			res, ended := r.end()
			switch {
			case !ended:
				t.Errorf("rc hangs: %s", res.Err)
			case len(f) == 0 || f[0] == "--rm":
				if res.Code != 125 || strings.Count(res.Err, "\n") != 1 {
					t.Errorf("rc ended with %d: %q", res.Code, res.Err)
				}
			}
			truth(t, name)
			if p, ok := caller.Look(pid); ok && !p.Zombie {
				t.Errorf("its payload lives: %+v", p)
			}
			if s := state(t, "orphan"); name == "removed" && s.ID != "" || name != "removed" && !strings.HasPrefix(s.Status, "Exited (137)") {
				t.Errorf("it is shown as %q", s.Status)
			}
			clean(t, name)
			works(t, name, "--network", "none")
		})
	}
}

// The keeper is killed under a container with a published port: with the next
// rc command the port answers again, at the same address.
func TestKeeperKilled(t *testing.T) {
	require(t)
	if _, err := exec.LookPath("slirp4netns"); err != nil {
		t.Skipf("needs slirp4netns: %v", err)
	}
	if r := user.RC("run", "-d", "--name", "web", "-p", "127.0.0.1::80", image, "serve", "80", "hello"); r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Err)
	}
	address, _, _ := strings.Cut(state(t, "web").Ports, "->")
	eventually(t, "the port answers", func() bool { return ask(address) == "hello" })
	for _, after := range [][]string{{"ps"}, {"run", "--rm", "--network", "none", image, "true"}, {"run", "--rm", image, "true"}} {
		for _, p := range of("rc-net") {
			_ = unix.Kill(p.PID, unix.SIGKILL)
		}
		eventually(t, "the port is gone with the keeper", func() bool { return ask(address) == "" })
		if s := state(t, "web"); s.State != "running" {
			t.Fatalf("without a keeper it is shown as %q", s.Status)
		}
		if r := user.RC(after...); r.Code != 0 {
			t.Errorf("rc %s: %d %s", after[0], r.Code, r.Err)
		}
		t.Logf("after rc %s: %v", after[0], user.Ours())
		eventually(t, "the port answers after rc "+after[0], func() bool { return ask(address) == "hello" })
		if now, _, _ := strings.Cut(state(t, "web").Ports, "->"); now != address {
			t.Errorf("it was %s and is %s", address, now)
		}
	}
	// slirp4netns alone: the keeper replaces it.
	for _, p := range of("slirp4netns") {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
	eventually(t, "the port answers with another slirp4netns", func() bool { return len(of("slirp4netns")) > 0 && ask(address) == "hello" })
	clean(t, "with a keeper that was killed")
}

func ask(address string) string {
	c, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		return ""
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	text, _ := io.ReadAll(c)
	return string(text)
}

// fuse-overlayfs serves the root: without it the container ends, and says why.
func TestFuseKilled(t *testing.T) {
	require(t)
	if _, err := exec.LookPath("fuse-overlayfs"); err != nil {
		t.Skipf("needs fuse-overlayfs: %v", err)
	}
	user.Extra = append(user.Extra, "RC_STORAGE_DRIVER=fuse-overlayfs")
	defer func() { user.Extra = user.Extra[:len(user.Extra)-1] }()
	r := background("run", "--name", "fuse", "--network", "none", image, "sleep")
	eventually(t, "it runs", func() bool { return state(t, "fuse").State == "running" })
	for _, p := range of("fuse-overlayfs") {
		_ = unix.Kill(p.PID, unix.SIGKILL)
	}
	if res, ended := r.end(); !ended || res.Code != 137 {
		t.Errorf("rc ended with %d: %q", res.Code, res.Err)
	}
	if r := user.RC("inspect", "fuse"); !strings.Contains(r.Out, "fuse-overlayfs, which served") {
		t.Errorf("the record does not say why: %s", r.Out)
	}
	clean(t, "without fuse-overlayfs")
}
