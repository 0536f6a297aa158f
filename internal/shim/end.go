package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
)

// awaitEnd waits for the payload and winds the container up: streams first, so
// that the caller has all output before it hears of the end.
func (s *shim) awaitEnd() error {
	code, err := s.reapInit()
	if err != nil {
		return err
	}
	s.killOrphans()
	oom, _ := s.oomKilled()
	s.streams.finish(2 * time.Second)
	s.update(func(st *record.State) {
		st.Status, st.Finished, st.ExitCode, st.OOMKilled = record.Exited, time.Now(), code, oom
		st.PID, st.PIDStart = 0, 0
	})
	s.undo.Run()
	s.helperGone()
	s.endBinds()
	if s.cfg.AutoRemove {
		err = Remove(s.store, s.cfg.ID, s.cfg.Name, s.cfg.Image, s.cfg.Anonymous)
	} else {
		// The exit code is the user's data: it must outlive a power loss.
		err = s.save(atomicfile.Durable)
	}
	close(s.done)
	s.closeControl()
	if err != nil {
		_, _ = os.Stderr.WriteString("rc-shim: " + err.Error() + "\n")
	}
	s.store.DropLife(s.cfg.ID, s.files["life"])
	_ = s.tell(&start.Message{Kind: start.KindExited, Exit: &start.Exit{Code: code, OOMKilled: oom}})
	s.lastAnswers(time.Second)
	return nil
}

// reapInit returns the payload's exit code: its own, or 128+n for signal n.
func (s *shim) reapInit() (int, error) {
	ws, err := s.init.Wait()
	if err != nil {
		return 0, err
	}
	s.reaped = true
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}

func (s *shim) oomKilled() (bool, error) {
	if s.group == nil {
		return false, nil
	}
	return s.group.OOMKilled()
}

// killAll ends the payload and waits for it; nothing to do once it was reaped.
func (s *shim) killAll() {
	if s.init == nil || s.reaped {
		return
	}
	_ = s.signal(unix.SIGKILL)
	_, _ = s.init.Wait()
	s.reaped = true
	s.killOrphans()
}

// killOrphans ends what the payload left behind where its end did not: in a pid
// namespace that is not its own (--pid=host, container:ID) it is not PID 1. The
// shim is a subreaper then, so they are its children.
func (s *shim) killOrphans() {
	if s.cfg.Clone&unix.CLONE_NEWPID != 0 {
		return
	}
	if s.group != nil {
		_ = s.group.Kill()
	}
	for range 1000 {
		kids := s.orphans()
		if len(kids) == 0 {
			return
		}
		for _, pid := range kids {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
}

// orphans lists our children, except our own helpers.
func (s *shim) orphans() []int {
	var pids []int
	lists, _ := filepath.Glob("/proc/self/task/*/children")
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for f := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(f)
			if err == nil && (s.rootfs == nil || s.rootfs.Helper == nil || pid != s.rootfs.Helper.PID) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// signal goes to the payload by its pidfd: never to a recycled pid.
func (s *shim) signal(sig unix.Signal) error {
	proc := s.init
	if proc == nil {
		return errNoInit
	}
	return linux.SignalPidfd(proc.PidFD, sig)
}

// watchRootfs ends a container whose root file system died under it: every
// further access would fail with ENOTCONN.
func (s *shim) watchRootfs() {
	if s.rootfs == nil || s.rootfs.Helper == nil {
		return
	}
	_ = s.rootfs.Helper.Wait()
	select {
	case <-s.done:
	default:
		s.update(func(st *record.State) { st.Error = "fuse-overlayfs, which served the root file system, died" })
		_ = s.signal(unix.SIGKILL)
	}
}

// helperGone waits for fuse-overlayfs, which ends when its last mount is gone
// with the container's mount namespace; only then is the upper folder at rest.
func (s *shim) helperGone() {
	if s.rootfs == nil || s.rootfs.Helper == nil {
		return
	}
	ended := make(chan struct{})
	go func() { _ = s.rootfs.Helper.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = s.rootfs.Helper.Kill()
	}
}

// Remove deletes a container that does not run, with everything that is its own.
// The caller holds its life lock and stands in U0. The name goes first and the
// folder is renamed away at once, so that a crash leaves at worst a folder in
// trash/, which the next command deletes.
func Remove(store *record.Store, id, name, image string, volumes []string) error {
	if name != "" {
		if err := store.DropName(name, id); err != nil {
			return err
		}
	}
	trash, err := store.Trash(id)
	if err != nil {
		return err
	}
	if image != "" {
		if err := store.ReleaseImage(image, id); err != nil {
			return err
		}
	}
	var errs []error
	for _, v := range volumes {
		errs = append(errs, removeVolume(store, v, id))
	}
	errs = append(errs, removeTree(trash))
	return errors.Join(errs...)
}

func removeTree(path string) error {
	dir, err := os.OpenFile(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	err = fuse.RemoveAll(int(dir.Fd()), filepath.Base(path))
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}
