package stage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Listener accepts conversations on a path. Paths only, never abstract names:
// an abstract socket is open to everybody in the network namespace, which with
// --network=host is the container.
type Listener struct {
	f      *os.File
	path   string
	closed atomic.Bool
}

// Listen binds path, replacing what a dead process left there. The caller holds
// the lock that says nobody alive is bound to it, and the folder is 0700.
func Listen(path string) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	_ = unix.Unlink(path)
	err = viaDir(path, func(short string) error { return unix.Bind(fd, &unix.SockaddrUnix{Name: short}) })
	if err == nil {
		err = unix.Listen(fd, 128)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &Listener{f: os.NewFile(uintptr(fd), path), path: path}, nil
}

// Inherit goes on with a listening socket that an earlier program of this process
// was bound with to path; the Listener owns fd.
func Inherit(fd int, path string) *Listener {
	_ = unix.SetNonblock(fd, true)
	return &Listener{f: os.NewFile(uintptr(fd), path), path: path}
}

// File lends the descriptor; the Listener keeps owning it.
func (l *Listener) File() *os.File { return l.f }

// SetDeadline bounds every later Accept (os.ErrDeadlineExceeded), and the one that
// waits; the zero time means no bound.
func (l *Listener) SetDeadline(t time.Time) error { return l.f.SetDeadline(t) }

// Accept waits for the next conversation; os.ErrClosed after Close.
func (l *Listener) Accept() (*Conn, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var nfd int
	var aerr error
	err = raw.Read(func(fd uintptr) bool {
		nfd, _, aerr = unix.Accept4(int(fd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return aerr != unix.EAGAIN
	})
	if err == nil {
		err = aerr
	}
	if err != nil {
		return nil, closedError(err, &l.closed)
	}
	return NewConn(nfd), nil
}

// Close stops listening and removes the path.
func (l *Listener) Close() error {
	l.closed.Store(true)
	_ = unix.Unlink(l.path)
	return l.f.Close()
}

// dialPatience bounds the wait for a place in the listener's queue. A process
// that is stopped lets it fill up, and connect(2) would then wait for ever.
var dialPatience = 5 * time.Second

// Dial connects to the socket at path. errors.Is(err, unix.ENOENT) or
// unix.ECONNREFUSED says that nobody lives there; unix.EAGAIN, that whoever
// does accepted nobody for 5 s.
func Dial(path string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	patience := unix.NsecToTimeval(dialPatience.Nanoseconds())
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience) // for connect(2), socket(7)
	err = viaDir(path, func(short string) error { return unix.Connect(fd, &unix.SockaddrUnix{Name: short}) })
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return NewConn(fd), nil
}

// viaDir gets round the 108 bytes of sun_path (unix(7)): a long path is reached
// through a descriptor of its folder.
func viaDir(path string, do func(short string) error) error {
	if len(path) < 108 {
		return do(path)
	}
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return do("/proc/self/fd/" + strconv.Itoa(dir) + "/" + filepath.Base(path))
}
