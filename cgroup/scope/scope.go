// Package scope gives the keeper a place in the cgroup tree that outlives whoever
// typed the first command: one transient scope of the user's systemd, delegated,
// for all of the user's containers. systemd is asked over D-Bus when a keeper is
// born, and by nobody else, so that no start of a container waits for a bus.
//
//	user@1000.service/app.slice/rc.scope/     made by systemd, ours below it
//	    rc-host/                              the keeper, shims, slirp4netns
//	    rc-<id>/payload/                      a container
//
// app.slice, because that is where a user's programs belong and where it looks for
// them (systemd.special(7)): what was set for it holds for containers too.
//
// Only rc-net links it.
package scope

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
)

const (
	op    = "get a scope of your systemd's"
	slice = "app.slice"
	leaf  = "rc-host" // cgroup's leaf for processes of ours
)

// askLimit bounds the whole conversation with systemd. It takes 5 ms; a machine that
// boots, or one under emulation, takes seconds. It is shorter than what a client of
// the keeper waits for its greeting. A variable for tests.
var askLimit = 8 * time.Second

// errBusyUnit is a scope that comes or goes at this very moment.
var errBusyUnit = errors.New("the scope was changing")

// Systemd is the keeper's Place.
type Systemd struct{}

// Settle moves this process to where a keeper shall stand and returns the subtree's
// group, named as /proc/PID/cgroup names it. uid is the user's outside of the
// user namespace that this process may be in. Without a scope it is an error that
// says why and what to type; the process then stands where it stood, or in the
// leaf of a subtree that is the user's anyway.
func (Systemd) Settle(uid int) (group string, err error) {
	own, err := cgroup.Own()
	if err != nil {
		return "", err
	}
	if g := path.Dir(own); path.Base(own) == leaf && path.Base(g) == cgroup.ScopeName {
		return g, nil // started by somebody who stands there
	}
	group, err = join(sockets(uid), uid)
	if err == nil {
		err = stepInto(group)
	}
	if err != nil {
		stepAside()
		return "", err
	}
	return group, nil
}

// sockets are where the systemd of the user listens, best first. Its private
// socket knows no bus and no policy, and is a round trip shorter. The folder is
// found by number: cron, su and sudo leave XDG_RUNTIME_DIR unset or another's.
func sockets(uid int) []string {
	if uid == 0 {
		return []string{"/run/systemd/private", "/run/dbus/system_bus_socket"}
	}
	dir := "/run/user/" + strconv.Itoa(uid)
	return []string{dir + "/systemd/private", dir + "/bus"}
}

// join has this process put into the scope.
func join(sockets []string, uid int) (group string, err error) {
	err = ask(sockets, uid, func(m *manager) error {
		if group, err = m.scope(os.Getpid()); err != nil {
			return hint.New(op, m.reason(err), "see `systemctl --user status "+cgroup.ScopeName+"`")
		}
		return nil
	})
	return group, err
}

// Delegated tells whether the user's systemd has delegated the unit of the group, named as
// /proc/PID/cgroup names it. It leaves no mark on a cgroup, as the system's does.
func (Systemd) Delegated(uid int, group string) (yes bool, err error) {
	err = ask(sockets(uid), uid, func(m *manager) error {
		yes, err = m.delegated(path.Base(group), group)
		return m.reason(err)
	})
	return yes, err
}

// ask speaks to the first of sockets where somebody answers.
func ask(sockets []string, uid int, what func(*manager) error) error {
	var failed error
	for i, socket := range sockets {
		if err := unix.Access(socket, unix.F_OK); err != nil {
			continue
		}
		m, err := dial(socket, i > 0)
		if errors.Is(err, unix.ECONNREFUSED) { // left behind by one that has ended
			continue
		}
		if err != nil {
			failed = err
			continue
		}
		defer m.close()
		return what(m)
	}
	if failed != nil {
		return hint.New(op, failed, "see `systemctl --user status`")
	}
	return none(sockets[0], uid)
}

// none is for a user without a systemd of its own.
func none(socket string, uid int) error {
	if _, err := os.Stat("/run/systemd/system"); err != nil || uid == 0 {
		return hint.New(op, fmt.Errorf("no systemd runs here: %w", unix.ENOENT), "")
	}
	return hint.New(op, fmt.Errorf("no systemd of yours runs: %s: %w", socket, unix.ENOENT),
		"start it, now and at every boot: sudo loginctl enable-linger "+strconv.Itoa(uid))
}

// scope makes the scope with the process pid in it or, where it lives already,
// moves that into its leaf.
func (m *manager) scope(pid int) (group string, err error) {
	for pause := 5 * time.Millisecond; time.Now().Before(m.deadline); pause = min(2*pause, time.Second) {
		group, err = m.create(pid)
		if exists(err) {
			group, err = m.attach(pid)
		}
		if !errors.Is(err, errBusyUnit) {
			break
		}
		time.Sleep(pause)
	}
	return group, err
}

// stepInto goes to the leaf; who was attached there stands in it already.
func stepInto(group string) error {
	own, err := cgroup.Own()
	if err != nil || own == path.Join(group, leaf) {
		return err
	}
	if own != group {
		return hint.Newf(op, "", "systemd moved this process to %s, not to %s", own, group)
	}
	s, err := cgroup.At(group)
	if err != nil {
		return err
	}
	return s.StepAside()
}

// stepAside is for a keeper that finds no scope: in a subtree of the user's own it
// must not bar limits by standing in its top.
func stepAside() {
	if s, err := cgroup.Find(); err == nil && s.Within() {
		_ = s.StepAside()
	}
}

// makeLeaf makes the folder to which systemd shall move somebody: it makes none.
func makeLeaf(group string) error {
	s, err := cgroup.At(group)
	if err != nil {
		return err
	}
	f, err := s.HostFD()
	if err != nil {
		return err
	}
	return f.Close()
}

// standsIn tells whether this process is in group or in a group below it.
func standsIn(group string) bool {
	own, err := cgroup.Own()
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(group, own)
	return err == nil && !slices.Contains([]string{"..", "/"}, rel) && (len(rel) < 3 || rel[:3] != "../")
}
