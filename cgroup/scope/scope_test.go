package scope

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
)

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error; want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q lacks %q", err, w)
		}
	}
}

func (b *bus) manager(viaBus bool) *manager {
	b.t.Helper()
	m, err := dial(b.socket, viaBus)
	must(b.t, err)
	b.t.Cleanup(m.close)
	return m
}

const job = dbus.ObjectPath("/job/1")

// systemd says "done", and this process is still where it was: the answer of a
// systemd is not believed, the kernel's is.
func TestMakesTheScopeAndLooks(t *testing.T) {
	for _, viaBus := range []bool{false, true} {
		b := newBus(t)
		b.on("Hello", answer{body: []any{":1.7"}})
		b.on("StartTransientUnit", answer{body: []any{job}, job: "done"})
		_, err := b.manager(viaBus).create(os.Getpid())
		if _, own := cgroup.Own(); own == nil {
			says(t, err, "systemd made rc.scope, and left this process in ")
		} else {
			says(t, err, own.Error())
		}
		want := "StartTransientUnit"
		if viaBus {
			want = "Hello AddMatch Subscribe StartTransientUnit"
		}
		if got := b.called(); got != want {
			t.Errorf("calls %q, want %q", got, want)
		}
	}
}

func TestJobsThatFail(t *testing.T) {
	for result, busy := range map[string]bool{"failed": false, "timeout": false, "canceled": true, "dependency": true} {
		b := newBus(t)
		b.on("StartTransientUnit", answer{body: []any{job}, job: result})
		_, err := b.manager(false).create(os.Getpid())
		says(t, err, result)
		if errors.Is(err, errBusyUnit) != busy {
			t.Errorf("%s: tried again %v, want %v", result, !busy, busy)
		}
	}
}

// A scope that lives takes one more; one that is just going is waited for.
func TestGoesBackIntoTheScope(t *testing.T) {
	b := newBus(t)
	b.on("StartTransientUnit", answer{refusal: unitThen})
	b.on("GetUnit", answer{refusal: noUnit}, answer{body: []any{dbus.ObjectPath("/unit/rc")}})
	b.on("ActiveState", answer{body: []any{dbus.MakeVariant("deactivating")}}, answer{body: []any{dbus.MakeVariant("active")}})
	b.on("ControlGroup", answer{body: []any{dbus.MakeVariant("/nowhere/rc.scope")}})
	_, err := b.manager(false).scope(os.Getpid())
	if err == nil {
		t.Error("a scope that is not on this machine was believed")
	}
	const want = "StartTransientUnit GetUnit StartTransientUnit GetUnit ActiveState ControlGroup StartTransientUnit GetUnit ActiveState ControlGroup"
	if got := b.called(); got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestRefusals(t *testing.T) {
	b := newBus(t)
	b.on("StartTransientUnit", answer{refusal: "org.freedesktop.DBus.Error.AccessDenied"})
	_, err := join([]string{b.socket}, os.Getuid())
	says(t, err, op, "AccessDenied", "systemctl --user status rc.scope")

	b.on("StartTransientUnit", answer{refusal: "hang up"})
	_, err = join([]string{b.socket}, os.Getuid())
	says(t, err, op)

	// It takes who we are from the kernel, and somebody else is not let in.
	b.stranger = true
	_, err = join([]string{b.socket, "/nowhere"}, os.Getuid())
	says(t, err, op, b.socket, "systemctl --user status")
}

// A socket whose owner has died is like none; the bus is asked then.
func TestAsksAtTheBusNext(t *testing.T) {
	b := newBus(t)
	b.on("Hello", answer{body: []any{":1.7"}})
	b.on("StartTransientUnit", answer{refusal: "org.example.No"})
	dead := filepath.Join(t.TempDir(), "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	must(t, err)
	l.SetUnlinkOnClose(false)
	must(t, l.Close())
	if _, err := join([]string{dead}, 5); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a socket left behind: %v", err)
	}
	_, err = join([]string{dead, b.socket}, os.Getuid())
	says(t, err, "org.example.No")
	if !strings.HasPrefix(b.called(), "Hello ") {
		t.Errorf("calls %q", b.called())
	}
}

func TestNoSystemd(t *testing.T) {
	_, err := join([]string{"/nowhere/private"}, 12345)
	if !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	if _, serr := os.Stat("/run/systemd/system"); serr == nil {
		says(t, err, "no systemd of yours runs", "sudo loginctl enable-linger 12345")
	} else {
		says(t, err, "no systemd runs here")
	}
	says(t, none("/run/systemd/private", 0), "no systemd runs here")
}

// One that takes the connection and is silent is not waited for longer than said.
func TestSilence(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "private")
	l, err := net.Listen("unix", socket)
	must(t, err)
	defer l.Close()
	before := askLimit
	askLimit = 300 * time.Millisecond
	defer func() { askLimit = before }()
	done := make(chan error, 1)
	begin := time.Now()
	go func() { _, err := dial(socket, false); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) < askLimit/2 {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it waits for ever")
	}
}

// A message of which half has come when the conversation ends is nobody's fault, and
// not ours: dbus.NewConn's transport panics there, and the keeper was gone.
func TestHalfAMessage(t *testing.T) {
	b := newBus(t)
	b.on("GetUnit", answer{refusal: noUnit, half: true})
	for range 5 {
		m, err := dial(b.socket, false)
		must(t, err)
		if _, err := m.attach(1); !errors.Is(err, errBusyUnit) {
			t.Error(err)
		}
		time.Sleep(5 * time.Millisecond) // the reader is in the middle of it
		m.close()
	}
	time.Sleep(20 * time.Millisecond)
}

func TestDelegatedUnit(t *testing.T) {
	const group = "/user@5.service/app.slice/job.service"
	for _, c := range []struct {
		group string
		set   bool
		want  bool
	}{{group, true, true}, {group, false, false}, {"/elsewhere/job.service", true, false}} {
		b := newBus(t)
		b.on("GetUnit", answer{body: []any{dbus.ObjectPath("/unit/job")}})
		b.on("ControlGroup", answer{body: []any{dbus.MakeVariant(c.group)}})
		b.on("Delegate", answer{body: []any{dbus.MakeVariant(c.set)}})
		yes, err := b.manager(false).delegated("job.service", group)
		must(t, err)
		if yes != c.want {
			t.Errorf("%+v: %v", c, yes)
		}
	}
	b := newBus(t)
	b.on("GetUnit", answer{refusal: noUnit})
	if _, err := b.manager(false).delegated("a.scope", "/a.scope"); !named(err, noUnit) {
		t.Errorf("%v", err)
	}
}

// systemd can leave a first message in its buffer: see nudge.
func TestNudge(t *testing.T) {
	b := newBus(t)
	b.lazy = true
	b.on("GetUnit", answer{body: []any{dbus.ObjectPath("/unit/job")}})
	b.on("ControlGroup", answer{body: []any{dbus.MakeVariant("/x/job.service")}})
	b.on("Delegate", answer{body: []any{dbus.MakeVariant(true)}})
	if yes, err := b.manager(false).delegated("job.service", "/x/job.service"); !yes || err != nil {
		t.Errorf("%v, %v", yes, err)
	}
}

func TestSockets(t *testing.T) {
	if got := sockets(1000); got[0] != "/run/user/1000/systemd/private" || got[1] != "/run/user/1000/bus" {
		t.Errorf("%v", got)
	}
	if got := sockets(0); got[0] != "/run/systemd/private" {
		t.Errorf("%v", got)
	}
}

func TestStandsIn(t *testing.T) {
	own, err := cgroup.Own()
	if err != nil {
		t.Skip("needs a cgroup2 mount: ", err)
	}
	for group, want := range map[string]bool{own: true, "/": true, "/nowhere/else": false, filepath.Join(own, "below"): false} {
		if got := standsIn(group); got != want {
			t.Errorf("%s in %s: %v", own, group, got)
		}
	}
}
