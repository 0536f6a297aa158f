package scope

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
)

// The names of org.freedesktop.systemd1(5).
const (
	service  = "org.freedesktop.systemd1"
	root     = dbus.ObjectPath("/org/freedesktop/systemd1")
	iface    = service + ".Manager"
	noUnit   = service + ".NoSuchUnit"
	unitThen = service + ".UnitExists"
)

// manager is a conversation with a systemd.
type manager struct {
	conn     *dbus.Conn
	removed  chan *dbus.Signal
	ctx      context.Context // ends with the conversation
	cancel   context.CancelFunc
	deadline time.Time
}

// dial connects to a systemd's private socket, or to a bus on which it is. Every
// later wait on it ends with askLimit.
func dial(socket string, bus bool) (*manager, error) {
	m := &manager{removed: make(chan *dbus.Signal, 64), deadline: time.Now().Add(askLimit)}
	c, err := net.DialTimeout("unix", socket, askLimit)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(m.deadline)
	if err := sameMachine(c); err != nil {
		_ = c.Close()
		return nil, err
	}
	m.ctx, m.cancel = context.WithDeadline(context.Background(), m.deadline)
	if m.conn, err = dbus.NewConn(&stream{Conn: c, over: m.cancel}, dbus.WithContext(m.ctx)); err != nil {
		m.cancel()
		_ = c.Close()
		return nil, err
	}
	// Without a name, so that the other side takes who we are from the kernel: what
	// getuid(2) says is 0 in our user namespace (D-Bus specification, "EXTERNAL").
	err = m.conn.Auth([]dbus.Auth{dbus.AuthExternal("")})
	if err == nil && bus {
		err = m.subscribe()
	}
	if err != nil {
		m.close()
		return nil, fmt.Errorf("%s: %w", socket, m.reason(err))
	}
	m.conn.Signal(m.removed)
	if !bus {
		go m.nudge()
	}
	return m, nil
}

// stream is the connection as the library's reader may have it. godbus 5.2.2 panics
// in each of its transports when reading fails in the middle of a message, which is
// where a conversation of ours may end: its reader then ends in silence instead, and
// the end of the context is what everybody else sees.
type stream struct {
	net.Conn
	over  context.CancelFunc
	begun atomic.Bool // the handshake is over: who reads is the library's goroutine
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil && s.begun.Load() {
		s.over()
		runtime.Goexit()
	}
	return n, err
}

func (s *stream) Write(p []byte) (int, error) {
	if bytes.HasPrefix(p, []byte("BEGIN")) {
		s.begun.Store(true)
	}
	return s.Conn.Write(p)
}

// call asks, and waits for the answer or the end of the conversation.
func (m *manager) call(path dbus.ObjectPath, method string, args ...any) *dbus.Call {
	return m.conn.Object(service, path).CallWithContext(m.ctx, method, 0, args...)
}

// property reads one of an object.
func (m *manager) property(path dbus.ObjectPath, of, name string, into any) error {
	var v dbus.Variant
	if err := m.call(path, "org.freedesktop.DBus.Properties.Get", of, name).Store(&v); err != nil {
		return err
	}
	return v.Store(into)
}

// reason names what lies behind an error that came of the conversation's end.
func (m *manager) reason(err error) error {
	switch {
	case err == nil:
		return nil
	case !time.Now().Before(m.deadline):
		return fmt.Errorf("no answer after %v: %w", askLimit, os.ErrDeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return errors.New("systemd hung up")
	}
	return err
}

// nudgeAfter is longer than systemd takes for an answer.
const nudgeAfter = 20 * time.Millisecond

// nudge sends a word now and then until the conversation is over. A first message
// that systemd reads together with the BEGIN before it lies in its buffer until
// more arrives (sd-bus as a server looks at its socket only: systemd pull request
// 24875 mended one half of that; seen with 257, one conversation in ten).
func (m *manager) nudge() {
	tick := time.NewTicker(nudgeAfter)
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-tick.C:
			m.conn.Object(service, root).Go("org.freedesktop.DBus.Peer.Ping", dbus.FlagNoReplyExpected, nil)
		}
	}
}

// sameMachine refuses a systemd that does not share our numbers of processes: one
// whose socket was shown to a container would move a stranger in our place.
func sameMachine(c net.Conn) error {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var perr error
	err = raw.Control(func(fd uintptr) { peer, perr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, perr); err != nil {
		return err
	}
	if peer.Pid == 0 {
		return errors.New("the systemd at " + c.RemoteAddr().String() + " is in another PID namespace, outside of this container")
	}
	return nil
}

// subscribe is what a bus wants before it brings signals; a private socket brings
// them unasked (systemd, src/core/dbus.c, bus_foreach_bus).
func (m *manager) subscribe() error {
	if err := m.conn.Hello(); err != nil {
		return err
	}
	if err := m.conn.AddMatchSignal(dbus.WithMatchInterface(iface), dbus.WithMatchMember("JobRemoved")); err != nil {
		return err
	}
	return m.call(root, iface+".Subscribe").Err
}

func (m *manager) close() {
	m.cancel()
	_ = m.conn.Close()
}

// setting is one of a unit's, as StartTransientUnit takes them: (sv).
type setting struct {
	Name  string
	Value dbus.Variant
}

// auxiliary is StartTransientUnit's last argument, of which we have none: a(sa(sv)).
type auxiliary struct {
	Name       string
	Properties []setting
}

// create has systemd make the scope around pid, and returns its group.
func (m *manager) create(pid int) (string, error) {
	properties := []setting{
		{"Description", dbus.MakeVariant("containers of rc")},
		{"PIDs", dbus.MakeVariant([]uint32{uint32(pid)})},
		{"Slice", dbus.MakeVariant(slice)},
		{"Delegate", dbus.MakeVariant(true)},
		// All containers together are no one program that could run wild: user-UID.slice
		// has a bound above this one.
		{"TasksMax", dbus.MakeVariant(^uint64(0))},
		// A scope that ended badly must not keep its name from the next.
		{"CollectMode", dbus.MakeVariant("inactive-or-failed")},
	}
	var job dbus.ObjectPath
	err := m.call(root, iface+".StartTransientUnit", cgroup.ScopeName, "fail", properties, []auxiliary{}).Store(&job)
	if err != nil {
		return "", err
	}
	if err := m.await(job); err != nil {
		return "", err
	}
	own, err := cgroup.Own()
	if err != nil {
		return "", err
	}
	if path.Base(own) != cgroup.ScopeName {
		return "", fmt.Errorf("systemd made %s, and left this process in %s", cgroup.ScopeName, own)
	}
	return own, nil
}

// await returns when systemd is done with the job: only then has the process moved.
func (m *manager) await(job dbus.ObjectPath) error {
	limit := time.NewTimer(time.Until(m.deadline))
	defer limit.Stop()
	for {
		select {
		case s, open := <-m.removed:
			if !open {
				return errors.New("systemd hung up")
			}
			// u id, o job, s unit, s result
			if s.Name != iface+".JobRemoved" || len(s.Body) != 4 || s.Body[1] != job {
				continue
			}
			switch result := s.Body[3]; result {
			case "done":
				return nil
			case "canceled", "dependency", "skipped":
				return fmt.Errorf("%w: its job was %v", errBusyUnit, result)
			default:
				return fmt.Errorf("systemd's job to make %s ended with %q", cgroup.ScopeName, result)
			}
		case <-limit.C:
			return fmt.Errorf("systemd's job to make %s: %w", cgroup.ScopeName, os.ErrDeadlineExceeded)
		}
	}
}

// attach moves pid into the leaf of the living scope. The leaf, because systemd
// cannot put anybody into a group that hands controllers down.
func (m *manager) attach(pid int) (string, error) {
	var unit dbus.ObjectPath
	err := m.call(root, iface+".GetUnit", cgroup.ScopeName).Store(&unit)
	if named(err, noUnit) {
		return "", errBusyUnit
	}
	if err != nil {
		return "", err
	}
	var group, state string
	if err = m.property(unit, service+".Unit", "ActiveState", &state); err == nil {
		err = m.property(unit, service+".Scope", "ControlGroup", &group)
	}
	switch {
	case err != nil:
		return "", err
	case state != "active" || group == "":
		return "", fmt.Errorf("%w: it is %s", errBusyUnit, state)
	}
	if err := makeLeaf(group); err != nil {
		return "", err
	}
	err = m.call(root, iface+".AttachProcessesToUnit", cgroup.ScopeName, "/"+leaf, []uint32{uint32(pid)}).Err
	if err != nil {
		return "", err
	}
	if !standsIn(group) {
		return "", fmt.Errorf("systemd did not move this process to %s", group)
	}
	return group, nil
}

// delegated reads a unit's property. A unit whose group is another's, by the same
// name, is not the one that was asked about.
func (m *manager) delegated(name, group string) (bool, error) {
	kind := ".Service"
	if path.Ext(name) == ".scope" {
		kind = ".Scope"
	}
	var unit dbus.ObjectPath
	if err := m.call(root, iface+".GetUnit", strings.TrimPrefix(name, "_")).Store(&unit); err != nil {
		return false, err // "_" is systemd's escape of names that the kernel has files of (cg_escape)
	}
	var yes bool
	var its string
	if err := m.property(unit, service+kind, "ControlGroup", &its); err != nil {
		return false, err
	}
	err := m.property(unit, service+kind, "Delegate", &yes)
	return yes && its == group, err
}

// exists tells that systemd knows the unit already.
func exists(err error) bool { return named(err, unitThen) }

func named(err error, names ...string) bool {
	var d dbus.Error
	return errors.As(err, &d) && slices.Contains(names, d.Name)
}
