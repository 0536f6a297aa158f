// Package system boots Debian with systemd in containers, and looks at it from
// inside and from outside: on this machine in a delegated cgroup without
// controllers (TestCgroup, in tests/rig), and in the guest with all of them
// (TestGuest).
package system

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
	"github.com/rc-containers/rc/tests/hostile/caller"
)

// place is where the containers run: this machine, or a guest on it.
type place struct {
	t           *testing.T
	run         func(ctx context.Context, line string) (stdout, stderr string, code int)
	slow        time.Duration // every bound is as many times longer here
	controllers bool          // there are memory, cpu and pids to be had
	top         string        // the folder of the containers' cgroups
}

// reply is what a command left.
type reply struct {
	out, err string // without the last newline
	code     int
}

// sh runs a line for bash as the user.
func (p *place) sh(format string, args ...any) reply {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute*p.slow)
	defer cancel()
	out, errs, code := p.run(ctx, fmt.Sprintf(format, args...))
	return reply{strings.TrimRight(out, "\n"), strings.TrimRight(errs, "\n"), code}
}

// must is sh of what has to succeed; it returns what was printed.
func (p *place) must(format string, args ...any) string {
	p.t.Helper()
	r := p.sh(format, args...)
	if r.code != 0 {
		p.t.Fatalf(format+"\ncode %d\n%s\n%s", append(args, r.code, r.out, r.err)...)
	}
	return r.out
}

// in runs a line for bash in a container, as its root.
func (p *place) in(name, line string) string {
	p.t.Helper()
	return p.must("rc exec %s bash -c %s", name, quote(line))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// within waits until ok says so.
func (p *place) within(bound time.Duration, what string, ok func() bool) {
	p.t.Helper()
	for end := time.Now().Add(bound * p.slow); !ok(); time.Sleep(100 * time.Millisecond * p.slow) {
		if time.Now().After(end) {
			p.t.Fatalf("%s: not within %v", what, bound*p.slow)
		}
	}
}

// boots makes a container of the image and waits until its systemd has started
// everything. It is removed at the test's end.
func (p *place) boots(name string, flags ...string) {
	p.t.Helper()
	p.t.Cleanup(func() { p.sh("rc rm -f %s", name) })
	p.must("rc run -d --name %s %s debian /sbin/init", name, strings.Join(flags, " "))
	p.up(name)
}

// up waits for the end of the boot, and refuses one that is not clean.
func (p *place) up(name string) {
	p.t.Helper()
	var last reply
	defer func() {
		if p.t.Failed() {
			p.t.Logf("%s, asked last: %q (%d) %s\n%s", name, last.out, last.code, last.err,
				p.sh("rc ps -a; rc logs %s | tail -n 20; rc exec %s sh -c 'systemctl list-jobs --no-pager; systemctl --failed --no-pager'", name, name).out)
		}
	}()
	p.within(60*time.Second, name+" boots", func() bool {
		last = p.sh("rc exec %s systemctl is-system-running", name)
		return last.out == "running" || last.out == "degraded"
	})
	if last.out != "running" {
		p.t.Errorf("%s is %s:\n%s", name, last.out, p.sh("rc exec %s sh -c 'systemctl --failed --no-pager; journalctl -b -p warning --no-pager'", name).out)
	}
}

// status is the word of `rc ps` and what follows it in brackets: "Up", "Exited (0)".
func (p *place) status(name string) string {
	p.t.Helper()
	return p.must("rc inspect -f '{{.State.Status}} {{.State.ExitCode}}' %s", name)
}

// group is a container's cgroup, as the host names it.
func (p *place) group(name string) string {
	p.t.Helper()
	return p.must("rc inspect -f '{{.HostConfig.CgroupPath}}' %s", name)
}

// TestCgroup is for a delegated cgroup of this machine's: tests/rig/cgroup2-exec.
func TestCgroup(t *testing.T) {
	if why := caller.Undelegated(); why != "" {
		t.Skip(why)
	}
	bin, tar := programs(t), image(t)
	root, err := os.MkdirTemp("/tmp", "rcsys")
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, slow: 1}
	p.run = func(ctx context.Context, line string) (string, string, int) {
		var out, errs bytes.Buffer
		cmd := exec.CommandContext(ctx, "bash", "-c", line)
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "RC_ROOT="+root)
		cmd.Stdout, cmd.Stderr = &out, &errs
		cmd.WaitDelay = time.Second // of what holds the pipes longer than the line
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			errs.WriteString(err.Error())
			return out.String(), errs.String(), -1
		}
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	t.Cleanup(func() {
		p.t = t
		p.sh("rc rm -f $(rc ps -aq); rc unshare rm -rf %s", root)
		_ = os.RemoveAll(root)
	})
	p.must("rc import %s debian", tar)
	p.drill(t)
}

// TestGuest is for the guest, with every controller that a user is given.
func TestGuest(t *testing.T) {
	if os.Getenv("RC_GUEST") == "" {
		t.Skip("boots a virtual machine: set RC_GUEST=1, or make test-vm")
	}
	if why := guest.Unmet(); why != "" {
		t.Skip(why)
	}
	bin, tar := programs(t), image(t)
	g := guest.Start(t, guest.Options{Share: map[string]string{"bin": bin, "debian.tar": tar}, Memory: 2048})
	p := &place{t: t, slow: 8, controllers: true}
	p.run = func(ctx context.Context, line string) (string, string, int) {
		r := g.Run(ctx, guest.User, line)
		if r.Err != nil {
			r.Stderr, r.Code = r.Stderr+r.Err.Error(), -1
		}
		return r.Stdout, r.Stderr, r.Code
	}
	p.must("rc import /share/debian.tar debian")
	p.drill(t)
}
