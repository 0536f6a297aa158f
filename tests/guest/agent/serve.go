package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// linger is how long output is awaited after a command ended: what it left behind
// may hold its streams for ever.
const linger = 5 * time.Second

// server runs the commands of one stream of frames, all at once.
type server struct {
	from io.Reader
	to   *wire.Writer
	user *relay // where commands of the user go; nil: all are run here

	mu      sync.Mutex
	running map[uint32]*command
}

type command struct {
	cmd *exec.Cmd
	// in is fed by a goroutine of its own through a queue: a command that does not
	// read must not hold up the frames of the others.
	in   chan []byte
	kill syscall.Signal // ends its process group
}

func newServer(from io.Reader, to io.Writer) *server {
	return &server{from: from, to: wire.NewWriter(to), running: map[uint32]*command{}}
}

// service answers the host on the virtio port.
func service() error {
	port, err := port("rc.agent")
	if err != nil {
		return err
	}
	s := newServer(port, port)
	if s.user, err = login("user", s.to); err != nil {
		return err
	}
	if err := s.to.Write(wire.Frame{Kind: wire.Hello}); err != nil {
		return err
	}
	return s.serve()
}

// port opens the virtio port with that name. Its name is in sysfs whether or not
// udev has made the link below /dev/virtio-ports yet.
func port(name string) (*os.File, error) {
	found, err := filepath.Glob("/sys/class/virtio-ports/*/name")
	if err != nil {
		return nil, err
	}
	for _, path := range found {
		if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == name {
			return os.OpenFile("/dev/"+filepath.Base(filepath.Dir(path)), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port named %q among %q", name, found)
}

func (s *server) serve() error {
	for {
		f, err := wire.Read(s.from)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(f); err != nil {
			return err
		}
	}
}

func (s *server) handle(f wire.Frame) error {
	if f.Kind == wire.Run {
		var c wire.Command
		if err := json.Unmarshal(f.Body, &c); err != nil {
			return err
		}
		name := strings.TrimPrefix(c.User, wire.Login)
		switch {
		case s.user == nil || c.User == "root":
			s.start(f.ID, exec.Command("/bin/bash", "-c", c.Line), syscall.SIGKILL)
		case c.User == "user":
			return s.user.start(f)
		default:
			// su(1) hands SIGTERM on, and kills what is left two seconds later; killed
			// itself, it would leave the session to itself.
			s.start(f.ID, session(name, c.Line), syscall.SIGTERM)
		}
		return nil
	}
	if f.Kind == wire.Restored {
		var news wire.News
		if err := json.Unmarshal(f.Body, &news); err != nil {
			return err
		}
		if err := wake(news); err != nil {
			return err
		}
		return s.to.Write(wire.Frame{Kind: wire.Hello})
	}
	if s.user.has(f.ID) {
		return s.user.to.Write(f)
	}
	s.mu.Lock()
	c := s.running[f.ID]
	s.mu.Unlock()
	if c == nil {
		return nil // it ended while the frame was on its way
	}
	switch f.Kind {
	case wire.Input:
		c.in <- f.Body
	case wire.EOF:
		close(c.in)
	case wire.Kill:
		// The error is ESRCH, when it ended on its own just now.
		_ = syscall.Kill(-c.cmd.Process.Pid, c.kill)
	}
	return nil
}

func (s *server) start(id uint32, cmd *exec.Cmd, kill syscall.Signal) {
	cmd.Dir = os.Getenv("HOME")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stdout = wire.Stream{To: s.to, Kind: wire.Output, ID: id}
	cmd.Stderr = wire.Stream{To: s.to, Kind: wire.Errors, ID: id}
	cmd.WaitDelay = linger
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.end(id, wire.Result{Code: -1, Why: err.Error()})
		return
	}
	c := &command{cmd: cmd, in: make(chan []byte, 1024), kill: kill}
	s.mu.Lock()
	s.running[id] = c
	s.mu.Unlock()
	go func() {
		defer in.Close()
		for b := range c.in {
			// A command that has closed its input loses the rest, as behind a pipe.
			_, _ = in.Write(b)
		}
	}()
	go func() { s.end(id, result(cmd.Wait(), cmd)) }()
}

func result(err error, cmd *exec.Cmd) wire.Result {
	state := cmd.ProcessState
	if state == nil {
		return wire.Result{Code: -1, Why: fmt.Sprint(err)}
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return wire.Result{Code: 128 + int(status.Signal())}
	}
	return wire.Result{Code: state.ExitCode()}
}

func (s *server) end(id uint32, r wire.Result) {
	s.mu.Lock()
	delete(s.running, id)
	s.mu.Unlock()
	body, err := json.Marshal(r)
	if err == nil {
		err = s.to.Write(wire.Frame{Kind: wire.Exit, ID: id, Body: body})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rc-agent: the end of a command:", err)
	}
}
