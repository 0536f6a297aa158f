package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// A container as a service. Who speaks to the manager is the process that it
// supervises, because it believes no other (NotifyAccess=main, systemd.service(5)):
//
//	rc attached  ── READY, STOPPING ─────────────► manager
//	     ▲ what the shim says goes through it
//	   shim ◄── the container's own socket
//
//	rc -d        ── MAINPID=shim, READY ─────────► manager; then rc leaves
//	   shim ──────────────────────────────────────► manager
//
// The container's socket is always the shim's own: the manager's would take the
// container's word for descriptors, and for which process is to be supervised.

// notifier is rc's connection to the manager; nil where nobody is to be told.
type notifier struct {
	manager *os.File
	relay   *os.File // what the shim says comes here, of an attached start
}

func (n *notifier) close() {
	if n == nil {
		return
	}
	_ = n.manager.Close()
	if n.relay != nil {
		_ = n.relay.Close()
	}
}

// enlist makes the container of this start the service of the unit that rc stands
// in, if it does. It comes before the configuration is encoded.
func (l *launch) enlist() error {
	u := l.e.unit()
	if u.Err != nil {
		return hint.New("pass the unit's sockets on", u.Err, "look at Sockets=, OpenFile= and FileDescriptorStoreMax= of the unit")
	}
	l.cfg.Unit = nil
	mine := &start.Unit{Notify: l.notifyMode(u)}
	if mine.Notify != "" {
		if err := l.dialManager(u); err != nil {
			return err
		}
		mine.Watchdog = u.Watchdog
	}
	if len(u.Sockets) > 0 && l.cfg.Inside.Init {
		return hint.Newf("pass the unit's sockets on", "leave out --init", "they are for process 1 of the container, which is rc's own with --init")
	}
	for i, s := range u.Sockets {
		mine.Sockets = append(mine.Sockets, start.Socket{Name: s.Name, Nonblock: s.Nonblock})
		f, err := again(s.File) // a start closes what it handed over; others may follow
		if err != nil {
			return hint.New("pass the unit's sockets on", err, "raise the number of open files: ulimit -n")
		}
		l.files["listen-"+strconv.Itoa(i)] = f
	}
	if mine.Notify != "" || len(mine.Sockets) > 0 {
		l.cfg.Unit = mine
	}
	return nil
}

func again(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// notifyMode decides who says READY=1. Without the flag only the very process that
// the manager started speaks: in a shell below a service, NOTIFY_SOCKET is there
// too, and means somebody else.
func (l *launch) notifyMode(u *sdnotify.Environment) string {
	switch mode := l.cfg.SDNotify; {
	case u.Notify == "" || mode == start.NotifyIgnore:
		return ""
	case mode != "":
		return mode
	case u.Main:
		return start.NotifyConmon
	}
	return ""
}

func (l *launch) dialManager(u *sdnotify.Environment) error {
	manager, err := sdnotify.Dial(u.Notify)
	if err != nil {
		return hint.New("tell the service manager at NOTIFY_SOCKET="+u.Notify, err, "leave it out: --sdnotify=ignore")
	}
	l.notify = &notifier{manager: manager}
	l.undo.Push(l.notify.close)
	if l.opts.Detach {
		l.files["notify"] = manager
		return nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return hint.New("make a socket", err, "raise the number of open files: ulimit -n")
	}
	l.notify.relay, l.files["notify"] = os.NewFile(uintptr(pair[0]), "relay"), os.NewFile(uintptr(pair[1]), "notify")
	return nil
}

// ready tells the manager that the container runs. Detached, the shim takes our
// place as the process that it supervises, and we wait for the manager to have read
// so: the words of a process that has ended may be nobody's.
func (l *launch) sayReady(shim int) {
	n := l.notify
	if n == nil {
		return
	}
	var lines []string
	if l.opts.Detach {
		lines = append(lines, "MAINPID="+strconv.Itoa(shim))
		if !sameGroup(shim) {
			l.e.Warn("the container's processes are not in this unit's control group, so systemd cannot supervise them: add Delegate=yes to the unit, or leave out -d")
		}
	}
	if l.cfg.Unit.Notify == start.NotifyConmon {
		lines = append(lines, sdnotify.Ready)
	}
	if len(lines) > 0 {
		if err := sdnotify.Send(n.manager, lines...); err != nil {
			l.e.Warn("tell the service manager: " + err.Error())
		}
	}
	if l.opts.Detach {
		_ = sdnotify.Barrier(n.manager) // other managers than systemd may not know it
		n.close()
		return
	}
	go n.pass()
}

// pass hands on what the shim says, for as long as rc is attached.
func (n *notifier) pass() {
	buf := make([]byte, sdnotify.MaxMessage+1)
	for {
		k, err := n.relay.Read(buf)
		if err != nil || k == 0 {
			return
		}
		if text := sdnotify.Clean(buf[:k]); text != "" {
			_ = sdnotify.Send(n.manager, text)
		}
	}
}

// sameGroup tells whether a process stands in our control group or below it. An
// answer that is not to be had counts as yes: the manager decides.
func sameGroup(pid int) bool {
	ours, err := os.ReadFile("/proc/self/cgroup")
	theirs, terr := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || terr != nil {
		return true
	}
	unit := unitOf(string(ours))
	return unit == "" || strings.HasPrefix(unitOf(string(theirs))+"/", unit+"/")
}

// unitOf is the path of a unit in a text of /proc/PID/cgroup: rc has moved itself
// into a leaf of it, perhaps.
func unitOf(text string) string {
	for line := range strings.Lines(text) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			if i := strings.LastIndex(path, ".service"); i >= 0 {
				return path[:i+len(".service")]
			}
			return strings.TrimSuffix(path, "/rc-host")
		}
	}
	return ""
}

// unit is what the service manager told rc.
func (e *Engine) unit() *sdnotify.Environment {
	if e.Unit != nil {
		return e.Unit
	}
	return sdnotify.Here()
}

// twice warns of a restart policy in a unit: both would start the container again,
// and the one of systemd then finds its name taken.
func (e *Engine) twice(c *record.Container) (supervised bool) {
	if c.Restart.Name == "" || !e.unit().Main {
		return false
	}
	e.Warn(fmt.Sprintf("--restart %s in a unit: systemd supervises this container; leave --restart out and write Restart= into the unit", c.Restart.Name))
	return true
}

// adopt makes an attached rc in a unit the service's process of a container that
// runs already: it is ready, and what systemd says to rc is for the container.
func (e *Engine) adopt(a *attachment, id string) {
	u := e.unit()
	if !u.Main {
		return
	}
	var n *notifier
	if u.Notify != "" {
		if manager, err := sdnotify.Dial(u.Notify); err == nil {
			n = &notifier{manager: manager}
			_ = sdnotify.Send(manager, sdnotify.Ready)
		}
	}
	a.stop = func() { e.stopForUnit(id, n) }
}

// stopForUnit is what SIGTERM means to the process that a manager supervises: a
// stop by the container's own signal and in its own time.
func (e *Engine) stopForUnit(id string, n *notifier) {
	if n != nil {
		_ = sdnotify.Send(n.manager, sdnotify.Stopping)
	}
	_, err := e.ask(id, control.Request{Op: control.OpStop, Timeout: -1}, 0)
	if err != nil && !errors.Is(err, control.ErrGone) { // gone: it has ended
		e.Warn("stop container " + shortID(id) + ": " + hint.Reason(err).Error())
	}
}
