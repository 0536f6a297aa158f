package slirp

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
)

// The files of a keeper in the runtime folder.
const (
	SocketName = "keeper.sock"
	LockName   = "keeper.lock" // flock: held while one starts, and while one leaves
)

// ErrNoKeeper says that no keeper lives, or that it left while it was asked:
// start one.
var ErrNoKeeper = errors.New("no keeper of the network runs")

const (
	helloTimeout  = 10 * time.Second // a local round trip; long because machines swap
	attachTimeout = 30 * time.Second // more than the keeper allows itself
)

// Client is one connection to the keeper. What was attached over it lives as
// long as it does. Its methods are for one goroutine, save Close.
type Client struct {
	conn *stage.Conn

	mu     sync.Mutex
	watch  *os.File // of Wait
	closed bool
}

// Dial connects to the keeper of a runtime folder. errors.Is(err, ErrNoKeeper)
// when none listens.
func Dial(runtimeDir string) (*Client, error) {
	conn, err := stage.Dial(filepath.Join(runtimeDir, SocketName))
	if err != nil {
		return nil, gone("connect to the keeper of the network", err)
	}
	return &Client{conn: conn}, nil
}

// Inherit goes on with the connection of an earlier program of this process; the
// Client owns fd.
func Inherit(fd int) *Client { return &Client{conn: stage.NewConn(fd)} }

// File lends the descriptor of the connection; the Client keeps owning it.
func (c *Client) File() *os.File { return c.conn.File() }

// KeeperPID is the process that listens in a runtime folder, 0 for one that cannot be
// seen from here; false when nobody listens.
func KeeperPID(runtimeDir string) (pid int, listens bool) {
	c, err := Dial(runtimeDir)
	if err != nil {
		return 0, false
	}
	defer c.Close()
	raw, err := c.conn.File().SyscallConn()
	if err != nil {
		return 0, true
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid, true
}

// gone tells "nobody there" from other failures of a socket.
func gone(op string, err error) error {
	for _, e := range []error{io.EOF, unix.ENOENT, unix.ECONNREFUSED, unix.ECONNRESET, unix.EPIPE} {
		if errors.Is(err, e) {
			return hint.New(op, errors.Join(ErrNoKeeper), "run the command again")
		}
	}
	fix := ""
	if errors.Is(err, os.ErrDeadlineExceeded) {
		fix = "see what rc-net is doing: ps -o pid,stat,wchan:20,args -C rc-net"
	}
	return hint.New(op, err, fix)
}

// Hello asks the keeper who it is; the file is U0's user namespace, which the
// caller owns. ErrNoKeeper when it left meanwhile.
func (c *Client) Hello() (*Welcome, *os.File, error) { return c.Greet(Hello{}) }

// Greet is Hello with more to say.
func (c *Client) Greet(h Hello) (*Welcome, *os.File, error) {
	if err := c.Say(h); err != nil {
		return nil, nil, err
	}
	return c.Welcome()
}

const greetOp = "greet the keeper of the network"

// Say is the first half of Greet: whoever has something to do meanwhile does it then.
func (c *Client) Say(h Hello) error { return c.send(greetOp, helloTimeout, &Request{Hello: &h}) }

// Welcome is the second half of Greet.
func (c *Client) Welcome() (*Welcome, *os.File, error) {
	reply, files, err := c.receive(greetOp, helloTimeout)
	if err != nil {
		return nil, nil, err
	}
	if reply.Welcome == nil || len(files) != 1 {
		stage.CloseFiles(files)
		return nil, nil, hint.Newf(greetOp, "stop it (ps -C rc-net) and run the command again", "it answers with something else")
	}
	return reply.Welcome, files[0], nil
}

// Attach gives the container its network and returns when that works: the
// address is set and every port listens. Once a connection. n0 is nil, or the
// user's network namespace as an earlier keeper gave it. The file that comes back is
// that namespace, nil without bridge networks; the caller owns it, and keeps it so
// that it outlives the keeper. A refusal is a *hint.Error for the user, with the
// errno below it; nothing is left of it then.
func (c *Client) Attach(a Attach, netns, userns, n0 *os.File) (*Attached, *os.File, error) {
	if err := c.AskAttach(a, netns, userns, n0); err != nil {
		return nil, nil, err
	}
	return c.Attached()
}

const attachOp = "attach the network"

// AskAttach is the first half of Attach. The files are borrowed until it returns.
func (c *Client) AskAttach(a Attach, netns, userns, n0 *os.File) error {
	files := []*os.File{netns, userns}
	if n0 != nil {
		files = append(files, n0)
	}
	return c.send(attachOp, attachTimeout, &Request{Attach: &a}, files...)
}

// Attached is the second half of Attach.
func (c *Client) Attached() (*Attached, *os.File, error) {
	reply, got, err := c.receive(attachOp, attachTimeout)
	return c.attached(attachOp, reply, got, err)
}

// Change alters what was attached over this connection. It may be called while Wait
// waits, by one goroutine at a time.
func (c *Client) Change(change Change) (*Attached, error) {
	const op = "change the container's network"
	reply, files, err := c.ask(op, attachTimeout, &Request{Change: &change})
	got, n0, err := c.attached(op, reply, files, err)
	if n0 != nil {
		_ = n0.Close()
	}
	return got, err
}

// attached takes apart what came.
func (c *Client) attached(op string, reply *Reply, got []*os.File, err error) (*Attached, *os.File, error) {
	if err != nil {
		return nil, nil, err
	}
	if reply.Attached == nil || len(got) > 1 {
		stage.CloseFiles(got)
		return nil, nil, hint.Newf(op, "", "the keeper answers with something else")
	}
	if len(got) == 1 {
		return reply.Attached, got[0], nil
	}
	return reply.Attached, nil, nil
}

// ask does one round trip. Every wait is bounded.
func (c *Client) ask(op string, limit time.Duration, r *Request, files ...*os.File) (*Reply, []*os.File, error) {
	if err := c.send(op, limit, r, files...); err != nil {
		return nil, nil, err
	}
	return c.receive(op, limit)
}

func (c *Client) send(op string, limit time.Duration, r *Request, files ...*os.File) error {
	_ = c.conn.SetDeadline(time.Now().Add(limit))
	r.Trace = trace.On()
	if err := c.conn.Send(r, files...); err != nil {
		return gone(op, err)
	}
	return nil
}

func (c *Client) receive(op string, limit time.Duration) (*Reply, []*os.File, error) {
	_ = c.conn.SetDeadline(time.Now().Add(limit))
	defer func() { _ = c.conn.SetDeadline(time.Time{}) }()
	var reply Reply
	got, err := c.conn.Recv(&reply)
	if err != nil {
		return nil, nil, gone(op, err)
	}
	trace.Merge(trace.Keeper, reply.Trace)
	if reply.Failed != nil {
		stage.CloseFiles(got)
		return nil, nil, reply.Failed.Error()
	}
	return &reply, got, nil
}

// Wait returns when the connection ends: the keeper died, or gave the
// container's network up after slirp4netns had failed again and again. What was
// attached is gone then, and a new Attach of the same namespace over a new
// connection brings it back. It costs no thread. Close ends it too.
func (c *Client) Wait() {
	f, err := c.watching()
	if err != nil {
		return
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	// Not Recv, whose 64 KiB buffer would be held for the container's life, and not
	// "readable", which the answer to a Change is too.
	_ = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
}

// watching is a second descriptor of the connection: one file of Go's lets one
// reader in at a time, and a Change reads beside Wait.
func (c *Client) watching() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, os.ErrClosed
	}
	if c.watch == nil {
		raw, err := c.conn.File().SyscallConn() // Fd would make it a blocking one
		if err != nil {
			return nil, err
		}
		fd, derr := -1, os.ErrClosed
		err = raw.Control(func(n uintptr) { fd, derr = unix.FcntlInt(n, unix.F_DUPFD_CLOEXEC, 0) })
		if err = errors.Join(err, derr); err != nil {
			return nil, err
		}
		c.watch = os.NewFile(uintptr(fd), "conversation")
	}
	return c.watch, nil
}

// Close ends the connection, and with it slirp4netns and the published ports of
// what was attached over it.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	_ = c.conn.Close()
	if c.watch != nil {
		_ = c.watch.Close()
	}
}
