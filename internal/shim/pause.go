package shim

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
)

// bySignals is what the user should know of a pause without a cgroup.
const bySignals = "no cgroup to freeze: its processes were stopped by SIGSTOP, which their parents see and a SIGCONT undoes"

// pause stops every process of the container: by its cgroup's freezer, or else by
// a signal to each. holder is the connection whose end ends it; nil for none.
func (s *shim) pause(holder *stage.Conn) (*control.Reply, error) {
	const op = "pause the container"
	s.pausing.Lock()
	defer s.pausing.Unlock()
	switch s.snapshot().Status {
	case record.Paused:
		return nil, hint.Newf(op, "rc unpause "+s.known.Name, "it is already paused").WithCode(1)
	case record.Running:
	default:
		return nil, hint.Newf(op, "start it first", "it is not running").WithCode(1)
	}
	r := new(control.Reply)
	var err error
	if s.group != nil {
		err = s.group.Freeze()
	} else {
		r.Note, err = bySignals, s.signalAll(unix.SIGSTOP)
	}
	if err != nil {
		return nil, err
	}
	s.update(func(st *record.State) {
		if st.Status == record.Running {
			st.Status = record.Paused
		}
	})
	if err := s.save(atomicfile.Fast); err != nil {
		return nil, err
	}
	s.holder = holder
	s.event("pause", nil)
	st := s.snapshot()
	r.State = &st
	return r, nil
}

// unpause lets them go on.
func (s *shim) unpause() (*control.Reply, error) {
	s.pausing.Lock()
	defer s.pausing.Unlock()
	s.holder = nil
	if s.snapshot().Status != record.Paused {
		return nil, hint.Newf("unpause the container", "", "it is not paused").WithCode(1)
	}
	var err error
	if s.group != nil {
		err = s.group.Thaw()
	} else {
		err = s.signalAll(unix.SIGCONT)
	}
	if err != nil {
		return nil, err
	}
	s.update(func(st *record.State) {
		if st.Status == record.Paused {
			st.Status = record.Running
		}
	})
	if err := s.save(atomicfile.Fast); err != nil {
		return nil, err
	}
	s.event("unpause", nil)
	st := s.snapshot()
	return &control.Reply{State: &st}, nil
}

// holdPause is a pause that ends with the caller's connection: a command that is
// killed leaves nobody frozen. A user's own unpause and pause in between stand.
func (s *shim) holdPause(conn *stage.Conn) {
	r, err := s.pause(conn)
	if err != nil {
		_ = conn.Send(refuse(err))
		return
	}
	r.Held = true
	reply(conn, r)
	_ = conn.SetDeadline(time.Time{})
	awaitEnd(conn, s.ended()) // at once where the reply met nobody
	s.pausing.Lock()
	mine := s.holder == conn
	s.pausing.Unlock()
	if mine {
		_, _ = s.unpause()
	}
}

// holdRest keeps a container that waits for its restart at rest for as long as the
// caller's connection lasts: we are busy, and a restart is put off (quiesce). Its
// files are nobody's meanwhile; the caller mounts them.
func (s *shim) holdRest(conn *stage.Conn) {
	s.mu.Lock()
	resting := s.resting
	if resting {
		s.rests.Add(1)
	}
	s.mu.Unlock()
	if !resting {
		_ = conn.Send(refuse(hint.New("keep the container at rest", errStarting, "try again").WithCode(1)))
		return
	}
	defer s.rests.Done()
	st := s.snapshot()
	reply(conn, &control.Reply{State: &st, Held: true})
	_ = conn.SetDeadline(time.Time{})
	awaitEnd(conn, s.ended())
}

// awaitEnd returns when the other side has hung up, or at the end of a life. Who is
// gone must not be kept: one program after the other would hand on the connection.
func awaitEnd(conn *stage.Conn, ended <-chan struct{}) {
	left := make(chan struct{})
	go func() {
		defer close(left)
		for {
			var q control.Request
			files, err := conn.Recv(&q)
			stage.CloseFiles(files)
			if err != nil {
				return
			}
		}
	}()
	select {
	case <-left:
	case <-ended:
	}
}

// thaw is unpause for a signal that is to be obeyed: the frozen see none.
func (s *shim) thaw() {
	if s.snapshot().Status == record.Paused {
		_, _ = s.unpause()
	}
}

// signalAll signals every process of the container. They are all below this one:
// what a payload leaves behind comes to its PID 1, or to us, and so do execs. It
// repeats until it finds no new one, because who was not stopped yet may fork.
func (s *shim) signalAll(sig unix.Signal) error {
	seen := map[int]bool{}
	for range 100 {
		fresh := false
		for _, pid := range s.descendants() {
			if seen[pid] {
				continue
			}
			seen[pid], fresh = true, true
			pidfd, err := linux.OpenPidfd(pid)
			if err != nil {
				continue // it ended
			}
			if s.stillBelow(pid) { // and no other process has its number
				_ = linux.SignalPidfd(pidfd, sig)
			}
			_ = pidfd.Close()
		}
		if !fresh {
			return nil
		}
	}
	return hint.Newf("pause the container", "rc kill it: it makes processes faster than they can be stopped", "it goes on making processes")
}

// descendants lists the processes below this one, save the servant of the root
// file system: the container's own accesses wait for that.
func (s *shim) descendants() []int {
	found := s.orphans()
	for i := 0; i < len(found); i++ {
		found = append(found, children(strconv.Itoa(found[i]))...)
	}
	return found
}

// children lists the children of a process (proc_pid_task(5)).
func children(pid string) (pids []int) {
	lists, _ := filepath.Glob("/proc/" + pid + "/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(text)) {
			if n, err := strconv.Atoi(f); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}

// stillBelow follows the parents of pid up to this process.
func (s *shim) stillBelow(pid int) bool {
	for range 10_000 {
		if pid == os.Getpid() {
			return true
		}
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		_, rest, ok := strings.Cut(string(text[max(0, strings.LastIndexByte(string(text), ')')):]), ") ")
		f := strings.Fields(rest)
		if err != nil || !ok || len(f) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(f[1]); err != nil || pid <= 1 {
			return false
		}
	}
	return false
}
