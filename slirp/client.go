package slirp

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
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
type Client struct{ conn *stage.Conn }

// Dial connects to the keeper of a runtime folder. errors.Is(err, ErrNoKeeper)
// when none listens.
func Dial(runtimeDir string) (*Client, error) {
	conn, err := stage.Dial(filepath.Join(runtimeDir, SocketName))
	if err != nil {
		return nil, gone("connect to the keeper of the network", err)
	}
	return &Client{conn}, nil
}

// Inherit goes on with the connection of an earlier program of this process; the
// Client owns fd.
func Inherit(fd int) *Client { return &Client{stage.NewConn(fd)} }

// File lends the descriptor of the connection; the Client keeps owning it.
func (c *Client) File() *os.File { return c.conn.File() }

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
func (c *Client) Hello() (*Welcome, *os.File, error) {
	const op = "greet the keeper of the network"
	reply, files, err := c.ask(op, helloTimeout, &Request{Hello: &Hello{}})
	if err != nil {
		return nil, nil, err
	}
	if reply.Welcome == nil || len(files) != 1 {
		stage.CloseFiles(files)
		return nil, nil, hint.Newf(op, "stop it (ps -C rc-net) and run the command again", "it answers with something else")
	}
	return reply.Welcome, files[0], nil
}

// Attach gives the container its network and returns when that works: the
// address is set and every port listens. Once a connection. A refusal is a
// *hint.Error for the user, with the errno below it; nothing is left of it then.
func (c *Client) Attach(a Attach, netns, userns *os.File) (*Attached, error) {
	const op = "attach the network"
	reply, files, err := c.ask(op, attachTimeout, &Request{Attach: &a}, netns, userns)
	stage.CloseFiles(files)
	if err != nil {
		return nil, err
	}
	if reply.Attached == nil {
		return nil, hint.Newf(op, "", "the keeper answers with something else")
	}
	return reply.Attached, nil
}

// ask does one round trip. Every wait is bounded.
func (c *Client) ask(op string, limit time.Duration, r *Request, files ...*os.File) (*Reply, []*os.File, error) {
	_ = c.conn.SetDeadline(time.Now().Add(limit))
	defer func() { _ = c.conn.SetDeadline(time.Time{}) }()
	if err := c.conn.Send(r, files...); err != nil {
		return nil, nil, gone(op, err)
	}
	var reply Reply
	got, err := c.conn.Recv(&reply)
	if err != nil {
		return nil, nil, gone(op, err)
	}
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
	raw, err := c.conn.File().SyscallConn()
	if err != nil {
		return
	}
	// Not Recv, whose 64 KiB buffer would be held for the container's life.
	_ = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(poll, 0)
		return n > 0
	})
}

// Close ends the connection, and with it slirp4netns and the published ports of
// what was attached over it.
func (c *Client) Close() { _ = c.conn.Close() }
