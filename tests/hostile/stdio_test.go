package hostile

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// A file that the caller gave for reading cannot be opened for writing through
// /proc/self/fd/0, nor one given for writing be read.
func TestReopenStreams(t *testing.T) {
	require(t)
	in, out := filepath.Join(host.Dir, "given"), filepath.Join(host.Dir, "taken")
	for name, f := range map[string][]string{
		"default":    {"-i"},
		"privileged": {"-i", "--privileged"},
		"init":       {"-i", "--privileged", "--init"},
		"no-stdin":   {"--privileged"},
		"pid-host":   {"-i", "--privileged", "--pid", "host"},
	} {
		t.Run(name, func(t *testing.T) {
			for file, text := range map[string]string{in: "given\n", out: "earlier\n"} {
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			stdin, err := os.Open(in)
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			stdout, err := os.OpenFile(out, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer stdout.Close()
			ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
			defer cancel()
			cmd := host.Command(ctx, flags([]string{"run", "--rm", "--network", "none"}, f, []string{image, "stdio"})...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stdout
			r := caller.Finish(ctx, cmd)
			r.Out = read(out)
			verdict(t, r, name)
			if got := read(in); got != "given\n" {
				t.Errorf("the caller's input is now %q", got)
			}
			if !strings.HasPrefix(r.Out, "earlier\n") {
				t.Errorf("the caller's output lost what it held: %q", r.Out)
			}
		})
	}
}

// Nothing of the caller's comes in that nobody gave: descriptors, environment,
// folders, mounts, cgroup paths.
func TestLeaks(t *testing.T) {
	require(t)
	// Without close-on-exec, as a careless parent leaves them.
	var leaked []*os.File
	for _, name := range []string{host.Dir, "/etc/hostname", "/"} {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		leaked = append(leaked, f)
	}
	for name, f := range map[string][]string{
		"default":    {},
		"privileged": {"--privileged"},
		"init":       {"--privileged", "--init"},
		"terminal":   {"-t"},
		"host":       {"--privileged", "--network", "host", "--ipc", "host", "--uts", "host"},
		"read-only":  {"--read-only"},
		"rootfs-fd":  {"-w", "/proc/self/fd"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
			defer cancel()
			cmd := host.Command(ctx, flags([]string{"run", "--rm"}, f, []string{image, "leaks", secret, host.Dir})...)
			cmd.ExtraFiles = leaked
			verdict(t, caller.Finish(ctx, cmd), name)
		})
	}
}

// terminal makes a pseudo-terminal for the caller.
func terminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs /dev/ptmx: %v", err)
	}
	t.Cleanup(func() { _ = master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = slave.Close() })
	return master, slave
}

// The caller's terminal gets no key that nobody pressed (TIOCSTI), with and
// without a terminal of the container's own.
func TestCallersTerminal(t *testing.T) {
	require(t)
	for name, f := range map[string][]string{
		"none":       {},
		"input":      {"-i"},
		"terminal":   {"-it"},
		"privileged": {"-it", "--privileged"},
		"pid-host":   {"-i", "--privileged", "--pid", "host"},
	} {
		t.Run(name, func(t *testing.T) {
			master, slave := terminal(t)
			shown := make(chan string, 1)
			go func() { // or what is printed would wait for a reader
				text, _ := io.ReadAll(master) // EIO at the end
				shown <- string(text)
			}()
			ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
			defer cancel()
			cmd := host.Command(ctx, flags([]string{"run", "--rm", "--network", "none"}, f, []string{image, "tty"})...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
			r := caller.Finish(ctx, cmd)
			waiting, err := unix.IoctlGetInt(int(slave.Fd()), unix.TIOCINQ)
			if err != nil || waiting != 0 {
				t.Errorf("%d characters wait in the caller's terminal (%v)", waiting, err)
			}
			_ = slave.Close()
			if text := <-shown; r.Code != 0 || !strings.Contains(text, "held TIOCSTI") {
				t.Errorf("exit code %d: %s", r.Code, text)
			}
		})
	}
}
