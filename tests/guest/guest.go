// Package guest runs a Debian 13 with systemd and real cgroup v2 under QEMU's
// software emulation, for what this machine cannot show: delegation, reboots,
// power cuts. It runs commands there as root or in a login session of a lingering
// user, and can take the power away.
//
//	g := guest.Start(t, guest.Options{Share: map[string]string{"bin": "/path/to/bin"}})
//	r := g.Run(ctx, guest.User, "rc info")
//
// One fork and exec costs 10 ms in there: it is for correctness, never for speed.
// The first use on a machine builds the guest (tests/guest/build, half a minute,
// as root) and boots it once for a snapshot, from which guests begin within a
// second (snapshot.go); tests/guest/setup does both ahead of time. A guest with a
// Home disk boots, each time.
package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// User has uid 1000, subordinate ids 100000-165535, and lingers.
const User = "user"

// Plain has uid 1001, subordinate ids 165536-231071, and does not linger: each
// command of this user is a login of its own (Login), with whose end everything
// ends that systemd ends with a user's last session.
const Plain = "plain"

// Login names a user of whom a command is a login session of its own, as ssh(1)
// with a command makes one: it begins with the command and ends with it. (Commands
// of User share one that lasts.)
func Login(user string) string { return wire.Login + user }

// Root runs commands as root, outside of any session.
const Root = "root"

// bootLimit is for a busy machine: 12 s on a quiet one, over four minutes were seen
// with twenty processes waiting for two processors.
const bootLimit = 10 * time.Minute

// ErrPower is why a command has no result: QEMU ended before it did.
var ErrPower = errors.New("the guest lost power")

// ErrUnmet is why a guest cannot even be built here, as on a machine without a
// network: nothing that rc could help.
var ErrUnmet = errors.New("no test guest can be built on this machine")

var errOn = errors.New("the guest is on already")

// Options say what a guest has beside its root disk, which forgets everything.
type Options struct {
	// Home is a disk image with ext4 (NewDisk) that becomes /home and keeps what
	// was written through every Kill and Boot. Empty: /home is forgotten too.
	Home string
	// HomeOptions are mount options of /home, as "noauto_da_alloc".
	HomeOptions string
	// Share maps names to files or folders of this machine. Copies are in /share,
	// read-only; /share/bin is first in PATH.
	Share map[string]string
	// Scratch is the size in MiB, less than 4096, of an empty disk with ext4 that is
	// mounted on /scratch, where everybody may write: /dev/disk/by-id/virtio-scratch.
	// 0: no such mount.
	Scratch int
	// Memory in MiB (default 1024) and CPUs (default 2).
	Memory, CPUs int
	// Counted lets time pass by instructions, four nanoseconds each, wherever the guest
	// is not idle (QEMU's -icount): what is timed in there then tells how much was done,
	// however busy this machine is.
	Counted bool
	// Cold boots where a snapshot would do, as RC_GUEST_COLD=1 does for all guests.
	Cold bool
	// Log is told what is slower or different than asked for. Default: standard error.
	Log func(format string, arguments ...any)
	// Dir takes the console's log and the disk of shared files. Default: a
	// temporary folder, removed by Close.
	Dir string
}

// Guest is one virtual machine, on or off.
type Guest struct {
	options Options
	base    base
	dir     string // work folder
	ours    bool   // dir is removed by Close

	mu      sync.Mutex
	machine *machine // nil: off
	next    uint32
	running map[uint32]*running
	history []done // the last few
	jobs    int    // of cron's
}

// Start begins a guest for a test, ended with it. Where there cannot be one, or
// RC_GUEST is not set, the test is skipped with the reason; a guest that does not
// come up fails it.
func Start(t testing.TB, o Options) *Guest {
	t.Helper()
	Require(t)
	if o.Log == nil {
		o.Log = t.Logf
	}
	g, err := New(o)
	if errors.Is(err, ErrUnmet) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(g.Report())
		}
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := g.Boot(context.Background()); err != nil {
		t.Fatal(err)
	}
	return g
}

// Require skips a test for which there can be no guest, or should be none: each
// takes seconds to minutes, so somebody asks for them (make test-vm, .ci/run).
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("RC_GUEST") == "" {
		t.Skip("runs in a virtual machine: set RC_GUEST=1, or make test-vm")
	}
	if why := Unmet(); why != "" {
		t.Skip(why)
	}
}

// New prepares a guest that is off, building what it boots from where that is not
// there yet.
func New(o Options) (*Guest, error) {
	b, err := prepare()
	if err != nil {
		return nil, err
	}
	g := &Guest{options: o, base: *b, dir: o.Dir, running: map[uint32]*running{}}
	if g.dir == "" {
		if g.dir, err = os.MkdirTemp("", "rc-guest-"); err != nil {
			return nil, err
		}
		g.ours = true
	}
	if err := errors.Join(writeShare(o.Share, g.path("share.ext4")), writeScratch(o.Scratch, g.path("scratch.ext4"))); err != nil {
		return nil, errors.Join(err, g.Close())
	}
	return g, nil
}

func (g *Guest) path(name string) string { return filepath.Join(g.dir, name) }

// Boot switches the guest on and returns when it takes commands.
func (g *Guest) Boot(ctx context.Context) error {
	if g.restorable() {
		err := g.restore(ctx)
		if err == nil || errors.Is(err, errOn) || ctx.Err() != nil {
			return err
		}
		g.log("the guest boots, which takes its time: %v", err)
	}
	if err := writeInitrd(g.base.modules(), g.path("initrd")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	return g.power(ctx, g.arguments(hardware{initrd: g.path("initrd"), root: g.base.path("root.ext4")}), nil)
}

func (g *Guest) log(format string, arguments ...any) {
	if g.options.Log != nil {
		g.options.Log(format, arguments...)
		return
	}
	fmt.Fprintf(os.Stderr, "guest: "+format+"\n", arguments...)
}

// power starts QEMU, does what is to be done with the machine before it is ready
// (nil: nothing), and returns when its agent takes commands.
func (g *Guest) power(ctx context.Context, arguments []string, before func(*machine) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.machine != nil {
		return errOn
	}
	m, err := power(g.base.qemu(), arguments, g.path("qemu.log"))
	if err != nil {
		return err
	}
	hello := make(chan struct{})
	go g.receive(m, hello)
	if before != nil {
		if err := before(m); err != nil {
			m.kill()
			return fmt.Errorf("%w; QEMU said:\n%s", err, tail(g.path("qemu.log")))
		}
	}
	select {
	case <-hello:
		g.machine = m
		return nil
	case <-m.done:
		return fmt.Errorf("QEMU ended before the guest was up: %w; it said:\n%s\nthe console:\n%s", m.err, tail(g.path("qemu.log")), g.Console())
	case <-ctx.Done():
		m.kill()
		return fmt.Errorf("the guest did not come up: %w; the console:\n%s", ctx.Err(), g.Console())
	}
}

// Kill takes the power away: SIGKILL to QEMU.
//
// What is lost is what a real cut loses short of a disk's own cache: all memory of
// the guest, its page cache with every write that nobody synced among it. What the
// guest's kernel had written to its disk is in this machine's page cache and
// stays, flushed or not (cache=writeback): ext4 in the guest flushes at each
// commit of its journal anyway, so nothing that fsync(2) promised rests on it.
func (g *Guest) Kill() {
	g.mu.Lock()
	m := g.machine
	g.machine = nil
	g.mu.Unlock()
	if m != nil {
		m.kill()
	}
}

// Close is Kill, and removes the work folder.
func (g *Guest) Close() error {
	g.Kill()
	err := g.base.held.Close()
	if g.ours {
		err = errors.Join(err, os.RemoveAll(g.dir))
	}
	return err
}

// Console returns the end of what the kernel and systemd printed.
func (g *Guest) Console() string { return tail(g.path("console.log")) }

// tail returns the last 8 KiB of a file.
func tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-8<<10):])
}

// receive hands frames to their commands until the machine is off.
func (g *Guest) receive(m *machine, hello chan struct{}) {
	for {
		f, err := wire.Read(m.out)
		if err != nil {
			break
		}
		if f.Kind == wire.Hello {
			close(hello)
			continue
		}
		g.mu.Lock()
		r := g.running[f.ID]
		g.mu.Unlock()
		if r != nil {
			r.take(f)
		}
	}
	// The port is closed: QEMU is gone, or the agent, and without it the guest is
	// as good as gone.
	m.kill()
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, r := range g.running {
		if r.on == m {
			r.end(wire.Result{}, ErrPower)
			delete(g.running, id)
		}
	}
}
