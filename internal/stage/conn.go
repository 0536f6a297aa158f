// Package stage is the conversation between the processes of rc: one JSON value
// a packet over a SOCK_SEQPACKET socket, descriptors beside it by SCM_RIGHTS,
// large values in sealed memory files. Nothing travels in argv or in the
// environment, and a packet from the other side is parsed as hostile.
package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/lazyjson"
)

const (
	// MaxPacket bounds one message, in bytes. A socket buffer holds 208 KiB by
	// default (net.core.wmem_default); larger values go by memory file.
	MaxPacket = 64 << 10
	// MaxFiles bounds the descriptors beside one message; the kernel's own
	// limit is SCM_MAX_FD = 253.
	MaxFiles = 200
)

// ErrTooLarge is returned for a packet or a descriptor list over the limits.
var ErrTooLarge = errors.New("message is larger than the protocol allows")

// Conn is one end of a conversation. It uses Go's poller, so a waiting reader
// costs no thread. Send and Recv may run at the same time; two Sends may not.
type Conn struct {
	f      *os.File
	closed atomic.Bool
	waits  bool // of NewWaitingConn
}

// Pair returns two connected ends, both close-on-exec.
func Pair() (*Conn, *Conn, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	return NewConn(fds[0]), NewConn(fds[1]), nil
}

// NewConn takes ownership of fd, a SOCK_SEQPACKET socket.
func NewConn(fd int) *Conn {
	_ = unix.SetNonblock(fd, true) // before NewFile: that is what puts it on the poller
	return &Conn{f: os.NewFile(uintptr(fd), "conversation")}
}

// NewWaitingConn is NewConn for a program that does one thing at a time: its thread
// waits in the kernel, nobody else's can replace it, and there is no poller to set up.
// Close does not end a Recv, and there are no deadlines.
func NewWaitingConn(fd int) *Conn {
	_ = unix.SetNonblock(fd, false)
	return &Conn{f: os.NewFile(uintptr(fd), "conversation"), waits: true}
}

// File lends the descriptor, to hand to a child; the Conn keeps owning it.
func (c *Conn) File() *os.File { return c.f }

// Close ends the conversation; the other side reads io.EOF, and our own waiting
// Recv os.ErrClosed.
func (c *Conn) Close() error {
	c.closed.Store(true)
	return c.f.Close()
}

// SetDeadline bounds every later Send and Recv; the zero time means no bound.
func (c *Conn) SetDeadline(t time.Time) error { return c.f.SetDeadline(t) }

// Send writes one message with descriptors beside it, which it only borrows.
func (c *Conn) Send(v any, files ...*os.File) error {
	data, err := lazyjson.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(data) > MaxPacket || len(files) > MaxFiles {
		return ErrTooLarge
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		serr = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
		return serr != unix.EAGAIN
	})
	if err == nil {
		err = serr
	}
	return closedError(err, &c.closed)
}

// closedError names what os.File's raw access leaves unnamed: the poller's own
// error for a file that was closed meanwhile is no os.ErrClosed.
func closedError(err error, closed *atomic.Bool) error {
	if err != nil && closed.Load() {
		return os.ErrClosed
	}
	return err
}

// incoming is where packets arrive, whichever conversation they belong to: 64 KiB
// of its own for each Recv were most of what a start allocated, and each page
// that is touched first is a fault. Nobody holds it while waiting.
var incoming struct {
	sync.Mutex
	data [MaxPacket]byte
	oob  [1024]byte // CMSG_SPACE(MaxFiles * 4) is 816
}

// arrival is what one recvmsg(2) took.
type arrival struct {
	data, oob []byte
	flags     int
}

// take receives without waiting.
func (p *arrival) take(fd int) error {
	incoming.Lock()
	defer incoming.Unlock()
	oob := incoming.oob[:unix.CmsgSpace(MaxFiles*4)]
	n, oobn, flags, _, err := unix.Recvmsg(fd, incoming.data[:], oob, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	p.data, p.oob, p.flags = bytes.Clone(incoming.data[:n]), bytes.Clone(oob[:oobn]), flags
	return nil
}

// Recv reads one message into v and returns the descriptors that came with it,
// which the caller owns. The end of the conversation is io.EOF. An unknown
// field is no error: the protocol grows by adding fields.
func (c *Conn) Recv(v any) ([]*os.File, error) {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var p arrival
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			if rerr = p.take(int(fd)); rerr == unix.ECONNRESET {
				// The other side ended with a packet of ours unread (net/unix/af_unix.c,
				// unix_release_sock). The kernel says so once, before what it still has
				// for us: its last word, or the end.
				rerr = p.take(int(fd))
			}
			if !c.waits || rerr != unix.EAGAIN {
				break
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1)
		}
		return rerr != unix.EAGAIN
	})
	if err == nil {
		err = rerr
	}
	if err != nil {
		return nil, closedError(err, &c.closed)
	}
	files, err := receivedFiles(p.oob)
	if err != nil {
		return nil, err
	}
	switch {
	case len(p.data) == 0 && len(p.oob) == 0:
		return nil, io.EOF
	case p.flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		CloseFiles(files)
		return nil, ErrTooLarge
	}
	if err := lazyjson.Unmarshal(p.data, v); err != nil {
		CloseFiles(files)
		return nil, fmt.Errorf("decode message: %w", err)
	}
	return files, nil
}

func receivedFiles(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("parse descriptors: %w", err)
	}
	var files []*os.File
	for i := range msgs {
		fds, err := unix.ParseUnixRights(&msgs[i])
		if err != nil {
			continue // credentials or another kind that nobody asked for
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// CloseFiles closes every descriptor of a list.
func CloseFiles(files []*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
