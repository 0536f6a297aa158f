package shim

import (
	"os"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// A system container (start.Config.Systemd): its init manages its own cgroups, has
// a console, and says by reboot(2) how it wants to end.

// giveCgroup makes the container's root the owner of its own group, where that one
// is not ourselves.
func (s *shim) giveCgroup() error {
	if s.cfg.Systemd == "" || s.group == nil {
		return nil
	}
	uid, ok := userns.Lookup(s.cfg.UIDMap, 0)
	gid, gok := userns.Lookup(s.cfg.GIDMap, 0)
	if !ok || !gok {
		return hint.Newf("give the container its cgroup", "leave out --userns", "it has no root")
	}
	if uid == 0 && gid == 0 {
		return nil
	}
	return s.group.Give(int(uid), int(gid))
}

// holdConsole keeps the other end of the terminal open: systemd opens its console
// only while it has something to say, and once nobody has it open, reading the
// master's end fails for good (systemd.io/CONTAINER_INTERFACE, point 3).
func (s *shim) holdConsole(master *os.File) {
	if s.cfg.Systemd == "" {
		return
	}
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno == 0 {
		s.console = os.NewFile(fd, console)
	}
}

// console is the name under which it goes from one program of the shim to the next.
const console = "console"

// dropConsole lets the copying of the terminal see its end.
func (s *shim) dropConsole() {
	if s.console != nil {
		_ = s.console.Close()
		s.console = nil
	}
}

// shutdown reads what init's end says of a system that was shut down from inside.
// The kernel ends process 1 of a PID namespace with SIGINT for halt and poweroff,
// with SIGHUP for reboot (pid_namespaces(7), reboot(2)); no signal that is sent
// ends it so, since its default actions are ignored.
func (s *shim) shutdown(ws unix.WaitStatus) (down, reboot bool) {
	if s.cfg.Systemd == "" || s.cfg.Clone&unix.CLONE_NEWPID == 0 || !ws.Signaled() {
		return false, false
	}
	return ws.Signal() == unix.SIGINT || ws.Signal() == unix.SIGHUP, ws.Signal() == unix.SIGHUP
}

// passedOn is the signal that an attached rc's own becomes. What asks rc to end
// asks the container to: to systemd itself SIGTERM says to execute itself again,
// SIGINT to reboot and SIGHUP to reload (systemd(1), SIGNALS).
func (s *shim) passedOn(sig unix.Signal) unix.Signal {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP:
		if s.cfg.Systemd != "" {
			return unix.Signal(s.cfg.StopSignal)
		}
	}
	return sig
}

// ownCgroup tells whether the container's own cgroup is mounted at dest, over
// whatever a bind mount shows there.
func (s *shim) ownCgroup(dest string) bool {
	return slices.ContainsFunc(s.cfg.Spec.Mounts, func(m specs.Mount) bool {
		return m.Destination == dest && m.Type == "cgroup2"
	})
}
