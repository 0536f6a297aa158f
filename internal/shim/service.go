package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// A container of a unit (start.Unit). What it says to its service manager it says
// to a socket of ours, which is mounted into it; what of that is its own business
// goes on to the manager. Both ends are descriptors of this process and outlive its
// executions of itself.

// NotifySocket is where the container finds it, podman's place.
const notifySocket = "/run/notify/notify.sock"

// Names of descriptors.
const (
	toManager  = "notify"    // from rc
	fromInside = "notify-in" // our end of the container's socket
)

// unit is never nil.
func (s *shim) unit() *start.Unit {
	if s.cfg.Unit == nil {
		return &start.Unit{}
	}
	return s.cfg.Unit
}

// openNotify makes the container's socket and returns a mount of it. Its name goes
// with hideNotify, when it is mounted: the mount alone leads to it then.
func (s *shim) openNotify() (*os.File, error) {
	const op = "make the container's NOTIFY_SOCKET"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	f := os.NewFile(uintptr(fd), fromInside)
	path, err := s.store.ControlPath(s.cfg.ID)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, errors.Join(hint.New(op, hint.Errno(err), ""), f.Close())
	}
	defer dir.Close()
	name := filepath.Base(path) + notifySuffix
	_ = unix.Unlinkat(int(dir.Fd()), name, 0) // of a shim that was killed while it built this one
	// By the descriptor: sun_path has 108 bytes (unix(7)).
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: linux.ProcFD(dir) + "/" + name})
	if err == nil { // any of its users may write to it; the folder is ours alone
		err = unix.Fchmodat(int(dir.Fd()), name, 0o666, 0)
	}
	var tree *os.File
	if err == nil {
		tree, err = linux.OpenTree(int(dir.Fd()), name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	}
	if err != nil {
		return nil, errors.Join(hint.New(op, hint.Errno(err), ""), f.Close())
	}
	if old := s.files[fromInside]; old != nil { // of the life before
		_ = old.Close()
	}
	s.files[fromInside] = f
	return tree, nil
}

// notifySuffix follows the control socket's name.
const notifySuffix = ".notify"

// hideNotify removes the socket's name: nothing of it is left behind.
func (s *shim) hideNotify() {
	if path, err := s.store.ControlPath(s.cfg.ID); err == nil && s.files[fromInside] != nil {
		_ = os.Remove(path + notifySuffix)
	}
}

// mountNotify gives init the socket as one more mount.
func (s *shim) mountNotify(add func(string, *os.File)) error {
	if s.unit().Notify != start.NotifyContainer {
		return nil
	}
	tree, err := s.openNotify()
	if err != nil {
		return err
	}
	add("mount-"+strconv.Itoa(len(s.cfg.Spec.Mounts)), tree)
	s.cfg.Spec.Mounts = append(s.cfg.Spec.Mounts, specs.Mount{
		Destination: notifySocket, Type: "bind", Source: "the container's NOTIFY_SOCKET", Options: []string{"bind", "ro", "nosuid", "nodev", "noexec"},
	})
	return nil
}

// serviceConfig tells init what the payload's environment is to say.
func (s *shim) serviceConfig(c *start.InitConfig) {
	u := s.unit()
	if u.Notify == start.NotifyContainer {
		c.NotifySocket, c.Watchdog = notifySocket, u.Watchdog
	}
	c.Sockets = u.Sockets
}

// passSockets gives init the sockets at birth, the first of its descriptors.
func (s *shim) passSockets(p *userns.Program) {
	for i := range s.unit().Sockets {
		p.Files = append(p.Files, s.files["listen-"+strconv.Itoa(i)])
	}
}

// serviceStarted begins, or goes on, with what a running service has to say.
func (s *shim) serviceStarted() {
	u := s.unit()
	if s.files[toManager] == nil {
		return
	}
	if f := s.files[fromInside]; f != nil {
		go s.passNotify(f)
	}
	if every := s.aliveEvery(); every > 0 {
		go s.sayAlive(every, s.ended())
	}
	if u.Notify == start.NotifyHealthy {
		s.sayHealthy() // what an earlier program found
	}
}

// notify tells the manager. It is nobody's reason to fail.
func (s *shim) notify(lines ...string) {
	if f := s.files[toManager]; f != nil {
		_ = sdnotify.Send(f, lines...)
	}
}

// calls bounds what a container can make the manager read: a burst, and so many a
// second. Beyond that its writes wait, as any service's do where the manager is slow.
const (
	burst     = 64
	perSecond = 50
)

// passNotify hands on what the payload says until its socket is closed. A datagram
// is taken from the queue only when no execve of ours can lose it.
func (s *shim) passNotify(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, sdnotify.MaxMessage+1)
	began, said := time.Now(), 0
	for {
		err := raw.Read(func(fd uintptr) bool {
			_, _, err := unix.Recvfrom(int(fd), buf[:1], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			return err != unix.EAGAIN
		})
		if err != nil {
			return
		}
		done := s.busy()
		n := -1
		// Without room for descriptors the kernel closes those that come along: a
		// barrier is answered (sd_notify_barrier(3)), and nothing is ever stored.
		_ = raw.Control(func(fd uintptr) { n, _, _ = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT) })
		if n > 0 {
			if text := sdnotify.Clean(buf[:n]); text != "" {
				s.notify(text)
			}
		}
		done()
		said++
		if ahead := time.Duration(said-burst)*time.Second/perSecond - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		} else if time.Since(began) > time.Minute {
			began, said = time.Now(), 0
		}
	}
}

// aliveEvery is the time between our signs of life, half of what the manager
// allows (sd_watchdog_enabled(3)); 0 where the payload gives them itself, or
// nobody asks.
func (s *shim) aliveEvery() time.Duration {
	u := s.unit()
	if u.Notify == "" || u.Notify == start.NotifyContainer || s.files[toManager] == nil {
		return 0
	}
	return u.Watchdog / 2
}

// sayAlive gives them while the container is well: one that is unhealthy, where it
// was to be healthy, is given up to the manager.
func (s *shim) sayAlive(every time.Duration, over <-chan struct{}) {
	for {
		s.sayWell()
		select {
		case <-over:
			return
		case <-time.After(every):
		}
	}
}

// sayWell is one of them, where we have to give any.
func (s *shim) sayWell() {
	if st := s.snapshot(); s.aliveEvery() > 0 && (st.Health == nil || st.Health.Status != unhealthy || s.unit().Notify != start.NotifyHealthy) {
		s.notify(sdnotify.Alive)
	}
}

// sayHealthy is READY of --sdnotify=healthy.
func (s *shim) sayHealthy() {
	if h := s.snapshot().Health; s.unit().Notify == start.NotifyHealthy && h != nil && h.Status == healthy {
		s.notify(sdnotify.Ready)
	}
}

// writePIDFiles says to whoever asked who the payload and the shim are. They are
// there before rc hears that the container runs.
func (s *shim) writePIDFiles() error {
	for _, f := range []struct {
		flag, path string
		pid        int
	}{{"--pidfile", s.cfg.PIDFile, s.init.PID}, {"--conmon-pidfile", s.cfg.ShimPIDFile, os.Getpid()}} {
		if f.path == "" {
			continue
		}
		if err := os.WriteFile(f.path, []byte(strconv.Itoa(f.pid)+"\n"), 0o644); err != nil {
			return hint.New("write "+f.flag+" "+f.path, hint.Errno(err), "name a file in a folder that you can write to")
		}
	}
	return nil
}

// dropPIDFiles takes them away at the end, where they are still ours: a pid that
// nobody has is somebody else's soon.
func (s *shim) dropPIDFiles() {
	for path, pid := range map[string]int{s.cfg.PIDFile: s.init.PID, s.cfg.ShimPIDFile: os.Getpid()} {
		if path == "" || pid == os.Getpid() && s.snapshot().Status == record.Restarting {
			continue
		}
		if text, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(text)) == strconv.Itoa(pid) {
			_ = os.Remove(path)
		}
	}
}
