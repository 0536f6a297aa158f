package shim

import (
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
)

// A logout can take the runtime folder away while containers run on (logind removes
// /run/user/UID with the last session of a user who does not linger). The next
// command makes another and records its path; the shim then needs a new socket and a
// lock there that can be found. It looks when SIGUSR2 comes from that command, and
// now and then by itself.

// hearRuntime makes the signal harmless, and keeps it for watchRuntime.
func (s *shim) hearRuntime() {
	s.called = make(chan os.Signal, 1)
	signal.Notify(s.called, unix.SIGUSR2)
}

// watchRuntime never returns.
func (s *shim) watchRuntime() {
	for range s.called {
		s.reopen()
	}
}

// reopen makes socket and lock anew where they are gone. What cannot be made now is
// tried again the next time.
func (s *shim) reopen() {
	s.reopening.Lock()
	defer s.reopening.Unlock()
	if s.left {
		return
	}
	dir, err := s.recordedRuntime()
	if err != nil {
		return // no command has run since: there is nobody to be found by
	}
	path := filepath.Join(dir, "c", s.cfg.ID+".sock")
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	done := s.busy() // an execve would leave us between two sockets
	defer done()
	if s.over() {
		return
	}
	_ = os.Mkdir(filepath.Join(dir, "c"), 0o700)
	before := s.cfg.Runtime
	s.store.UseRuntime(dir)
	life, err := s.relock(dir == before)
	if err == nil {
		err = s.relisten(path)
	}
	if err != nil {
		s.store.UseRuntime(before)
		if life != nil {
			_ = life.Close()
		}
		return
	}
	s.mu.Lock()
	s.cfg.Runtime = dir
	s.mu.Unlock()
	if life != nil {
		s.changeLife(life)
	}
	if s.net != nil {
		s.net.mu.Lock()
		s.net.runtime = dir
		s.net.mu.Unlock()
	}
}

// changeLife gives the old lock up for another, by the old one's number: the map of our
// files is read by others at the same time.
func (s *shim) changeLife(life *os.File) {
	if old := s.files["life"]; old != nil && unix.Dup3(int(life.Fd()), int(old.Fd()), unix.O_CLOEXEC) == nil {
		_ = life.Close()
		return
	}
	s.files["life"] = life
}

// relock takes the life lock where its file is another now; nil where it is ours
// still. A command that holds it for a moment is waited for.
func (s *shim) relock(sameFolder bool) (*os.File, error) {
	if sameFolder {
		path, err := s.store.LifeLockPath(s.cfg.ID)
		if err != nil {
			return nil, err
		}
		if f := s.files["life"]; f != nil && linux.Leads(path, int(f.Fd())) {
			return nil, nil
		}
	}
	for try := 0; ; try++ {
		f, err := s.store.TakeLife(s.cfg.ID)
		if !errors.Is(err, unix.EWOULDBLOCK) || try == 100 {
			return f, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// relisten changes the socket for one at path. Who is connected is answered.
func (s *shim) relisten(path string) error {
	next, err := stage.Listen(path)
	if err != nil {
		return err
	}
	s.haltAccept()
	if s.control != nil {
		_ = s.control.Close()
	}
	s.control = next
	s.serveControl()
	return nil
}

// recordedRuntime is the folder that the commands of this boot use, if it is there
// and the user's alone.
func (s *shim) recordedRuntime() (string, error) {
	text, err := os.ReadFile(s.store.Path("hosts", record.MachineID(), record.BootID()))
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(text))
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return "", err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return "", unix.EPERM
	}
	return dir, nil
}

// over tells whether the end of the last life was announced.
func (s *shim) over() bool {
	select {
	case <-s.ended():
		return true
	default:
		return false
	}
}
