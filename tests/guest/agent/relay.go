package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// relay is the agent's second half, in a login session: su(1) with -l goes through
// PAM, so systemd-logind makes a session, and commands have what a person who
// logged in has (XDG_RUNTIME_DIR, the bus, the profile's PATH). One session serves
// all commands: a login costs half a second under emulation.
type relay struct {
	to *wire.Writer

	mu   sync.Mutex
	mine map[uint32]bool // commands that run there
}

// session is a command in a login session of user's. What su(1) does not know of a
// session it leaves to logind, which calls it "background"; pam_systemd(8) reads
// these two from the environment, and they are those of a login by ssh(1).
func session(user, line string) *exec.Cmd {
	su := exec.Command("su", "-l", user, "-c", line)
	su.Env = append(os.Environ(), "XDG_SESSION_CLASS=user", "XDG_SESSION_TYPE=tty")
	return su
}

// login starts the relay; what comes out of the session goes to host.
func login(user string, host *wire.Writer) (*relay, error) {
	su := session(user, "exec /run/rc-agent/agent session")
	su.Stderr = os.Stderr
	in, err := su.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := su.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := su.Start(); err != nil {
		return nil, fmt.Errorf("log %s in: %w", user, err)
	}
	r := &relay{to: wire.NewWriter(in), mine: map[uint32]bool{}}
	go func() {
		err := r.copy(out, host)
		// Without its session the guest is of no use; the host sees its port close.
		fmt.Fprintln(os.Stderr, "rc-agent: the session of", user, "ended:", err, su.Wait())
		os.Exit(1)
	}()
	return r, nil
}

func (r *relay) copy(from io.Reader, host *wire.Writer) error {
	for {
		f, err := wire.Read(from)
		if err != nil {
			return err
		}
		if f.Kind == wire.Exit {
			r.mu.Lock()
			delete(r.mine, f.ID)
			r.mu.Unlock()
		}
		if err := host.Write(f); err != nil {
			return err
		}
	}
}

func (r *relay) start(f wire.Frame) error {
	r.mu.Lock()
	r.mine[f.ID] = true
	r.mu.Unlock()
	return r.to.Write(f)
}

// has says whether command id runs there. A nil relay has none.
func (r *relay) has(id uint32) bool {
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mine[id]
}
