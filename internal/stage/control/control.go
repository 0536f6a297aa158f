// Package control is what later commands say to the shim of a running container
// on its socket: one request and one reply a connection, except Wait. The
// protocol only grows: an older shim answers a newer rc's known requests, and
// refuses the others by name.
package control

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// Op names a request.
type Op string

// The requests.
const (
	OpState      Op = "state"      // Reply.State
	OpSignal     Op = "signal"     // send Request.Signal to the payload
	OpStop       Op = "stop"       // stop signal, then SIGKILL after Request.Timeout; replies at the end
	OpNamespaces Op = "namespaces" // descriptors named in Reply.Files, maps in Reply
	OpWait       Op = "wait"       // replies at the end
	OpPause      Op = "pause"      // cgroup.freeze, or SIGSTOP to every process where there is no cgroup
	OpUnpause    Op = "unpause"
	OpRoot       Op = "root"   // Reply.Files: "root", an O_PATH descriptor of the payload's root folder
	OpExec       Op = "exec"   // see Talk
	OpAttach     Op = "attach" // see Talk
	// OpNetwork changes the network of a container that runs by Request.Network;
	// Reply.State.Net is what it has then. The record is for the caller to change.
	OpNetwork Op = "network"
)

// Talk is what follows OpExec and OpAttach on the same connection. The request
// carries descriptors, named in Request.Files: for exec "config" (a sealed
// start.ExecConfig) and for both the caller's ends "stdin", "stdout", "stderr" of
// pipes, as far as it wants them.
//
//	rc                      shim
//	Request           ───►
//	                  ◄───  Reply (Fail; or PID: it runs)
//	Signal Resize
//	CloseStream Detach ───►
//	                  ◄───  start.Message Exited (all output was written before)
//
// An exec whose rc goes away without Detach goes on, its output dropped, as
// Docker's does; with Request.Detach nobody waits.

// Request is one command.
type Request struct {
	Op      Op
	Signal  int           `json:",omitempty"`
	Timeout time.Duration `json:",omitempty"` // negative: the container's own
	Files   []string      `json:",omitempty"` // names of the descriptors beside it
	ExecID  string        `json:",omitempty"` // exec: 64 hex digits, by which rc has told of it in events
	Detach  bool          `json:",omitempty"` // exec: reply once it runs, nothing more
	TTY     bool          `json:",omitempty"` // exec: it has a terminal
	Rows    uint16        `json:",omitempty"`
	Cols    uint16        `json:",omitempty"`
	Logs    bool          `json:",omitempty"` // attach: reserved
	Keep    bool          `json:",omitempty"` // stop: do not remove it although it is --rm, a start follows (`rc restart`)
	Hold    bool          `json:",omitempty"` // pause, root: for as long as this connection lasts (see Hold, HoldRest)
	Policy  bool          `json:",omitempty"` // signal, stop: not the user's wish: the restart policy applies (health)
	Network *slirp.Change `json:",omitempty"` // network
}

// Reply answers it.
type Reply struct {
	State    *record.State  `json:",omitempty"`
	Files    []string       `json:",omitempty"` // u0, user, net, ipc, uts, pid, mnt, n0
	UIDMap   []userns.IDMap `json:",omitempty"`
	GIDMap   []userns.IDMap `json:",omitempty"`
	Hostname string         `json:",omitempty"`
	PID      int            `json:",omitempty"` // of an exec, in the host's pid namespace
	ExecID   string         `json:",omitempty"` // 64 hex digits, in events
	Note     string         `json:",omitempty"` // what the user should know of how it was done
	Held     bool           `json:",omitempty"` // pause: it ends with this connection
	Fail     *start.Failure `json:",omitempty"`
}

// ErrGone says that no shim answers on the socket.
var ErrGone = errors.New("the container's shim does not answer")

// Ask sends one request to the shim at path and waits at most bound (0: without
// end) for the reply. errors.Is(err, ErrGone) when nobody lives there.
func Ask(path string, q Request, bound time.Duration) (*Reply, []*os.File, error) {
	conn, r, files, err := ask(path, q, bound)
	if err == nil {
		_ = conn.Close()
	}
	return r, files, err
}

// Held is a pause that lasts as long as somebody has its connection open.
type Held struct {
	conn *stage.Conn
	// ForGood says that a shim of before Request.Hold has paused until it is told
	// otherwise.
	ForGood bool
}

// Hold asks for a pause that ends with the connection, also when the caller is
// killed.
func Hold(path string, bound time.Duration) (*Held, error) {
	conn, r, files, err := ask(path, Request{Op: OpPause, Hold: true}, bound)
	if err != nil {
		return nil, err
	}
	stage.CloseFiles(files)
	return &Held{conn, !r.Held}, nil
}

// HoldRest asks a container that waits for its restart to stay at rest until the
// connection ends: its root file system is not mounted, and the caller may do that.
// errors.Is(err, unix.EAGAIN) when it does not wait at this moment.
func HoldRest(path string, bound time.Duration) (*Held, error) {
	conn, r, files, err := ask(path, Request{Op: OpRoot, Hold: true}, bound)
	if err != nil {
		return nil, err
	}
	stage.CloseFiles(files)
	if !r.Held { // it runs
		_ = conn.Close()
		return nil, fmt.Errorf("it runs (%w)", unix.EAGAIN)
	}
	return &Held{conn: conn}, nil
}

// File lends the connection: another process that has it keeps the pause, too.
func (h *Held) File() *os.File { return h.conn.File() }

// Release ends the pause, whoever else has the connection, and returns when the
// container goes on, or after the bound.
func (h *Held) Release(bound time.Duration) {
	defer h.conn.Close()
	raw, err := h.conn.File().SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.Shutdown(int(fd), unix.SHUT_WR)
		// Not Recv: who was lent the connection may have made it a blocking one.
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(bound.Milliseconds()))
	})
}

func ask(path string, q Request, bound time.Duration) (_ *stage.Conn, _ *Reply, _ []*os.File, err error) {
	conn, err := stage.Dial(path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w (%w)", ErrGone, err)
	}
	defer func() {
		if err != nil {
			_ = conn.Close()
		}
	}()
	if bound > 0 {
		_ = conn.SetDeadline(time.Now().Add(bound))
	}
	if err := conn.Send(&q); err != nil {
		return nil, nil, nil, fmt.Errorf("%w (%w)", ErrGone, err)
	}
	var r Reply
	files, err := conn.Recv(&r)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w (%w)", ErrGone, err)
	}
	if r.Fail != nil {
		stage.CloseFiles(files)
		return nil, nil, nil, r.Fail.Error()
	}
	if len(files) != len(r.Files) {
		stage.CloseFiles(files)
		return nil, nil, nil, errors.New("the shim's reply is broken")
	}
	return conn, &r, files, nil
}
