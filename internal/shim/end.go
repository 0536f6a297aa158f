package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// stay waits for the payload's end and winds the container up: streams first, so
// that the caller has all output before it hears of the end. Where the policy says
// so, another life follows.
func (s *shim) stay() int {
	go s.watchRootfs()
	go s.settler()
	if f := s.files[oomEvents]; f != nil {
		go s.watchOOM(f)
	}
	code, err := s.reapInit()
	if err != nil {
		code, err = -1, nil // somebody else has reaped it
	}
	defer s.endings.Unlock()
	s.killOrphans()
	oom, _ := s.oomKilled()
	s.noticeOOM(false)
	s.dropConsole()
	s.streams.finish(2 * time.Second)
	wait, again := s.judge(code, oom)
	down := trace.Begin("take down")
	s.undo.Run()
	down.End()
	s.helperGone()
	s.endBinds()
	s.tellEnd(code)
	if again {
		_ = s.save(atomicfile.Fast) // it says "restarting": nobody's last word
		s.farewell(&start.Exit{Code: code, OOMKilled: oom})
		trace.Leave() // the next life is another trace
		return s.awaitRestart(wait)
	}
	var trees []string
	switch {
	case s.cfg.AutoRemove && !s.keep:
		if trees, err = takeAway(s.store, s.cfg.ID, s.name(), s.cfg.Image, s.cfg.Anonymous); err == nil {
			s.event("destroy", nil)
		}
	case !s.removed():
		// The exit code is the user's data: it must outlive a power loss.
		err = s.save(atomicfile.Durable)
	}
	s.dropPIDFiles()
	s.farewell(&start.Exit{Code: code, OOMKilled: oom})
	s.dropMounts()
	// Nobody waits for this: the container has no name and no folder any more, and
	// what is left of it, should we be killed here, the next `rc ps` deletes.
	if err = errors.Join(err, removeTrees(trees)); err != nil {
		_, _ = os.Stderr.WriteString("rc-shim: " + err.Error() + "\n")
	}
	return max(code, 0) // to a service manager that has us for the service
}

// judge makes the state of the end and applies the restart policy. A stop that
// comes later finds the state Restarting, and calls the next start off.
func (s *shim) judge(code int, oom bool) (wait time.Duration, again bool) {
	policy := s.policy()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := &s.state
	now := time.Now()
	again = !s.cfg.AutoRemove && ((s.renew || s.rebooted) && !st.Stopped || shallRestart(policy, code, st.RestartCount, st.Stopped))
	again = again && !s.term.came() // it may have come to the payload, too, which was faster
	st.Status, st.Finished, st.ExitCode, st.OOMKilled = record.Exited, now, code, oom
	st.PID, st.PIDStart = 0, 0
	if again {
		s.launched = false
		wait = nextBackoff(s.backoff, now.Sub(st.Started))
		s.backoff = wait
		st.Status, st.NextStart = record.Restarting, now.Add(wait)
		if !s.rebooted { // its own wish, and no failure that a policy counts
			st.RestartCount++
		}
	}
	return wait, again
}

// farewell tells everybody who waits of the end that is recorded: attached callers
// and waiting ones leave with it, even if another life follows, as Docker's do.
// Without one, it also gives up what the shim is known by.
func (s *shim) farewell(exit *start.Exit) {
	defer trace.Begin("tell the end").End()
	again := s.snapshot().Status == record.Restarting
	if !again { // before anybody hears of the end: they may remove it at once
		s.closeControl()
		s.store.DropLife(s.cfg.ID, s.files["life"])
	}
	s.finish()
	if exit != nil {
		_ = s.tell(&start.Message{Kind: start.KindExited, Exit: exit})
		if s.rc != nil { // it may take its time to leave; what was sent arrives
			_ = unix.Shutdown(conversation, unix.SHUT_RDWR)
			_ = s.rc.SetDeadline(time.Now()) // serveCaller hears of it at once
			s.rc = nil
		}
	}
	s.lastAnswers(time.Second)
}

// finish wakes those who wait for the end of this life.
func (s *shim) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.done:
	default:
		close(s.done)
		s.leaving, s.waiters = s.waiters, nil
	}
	if s.state.Status == record.Restarting {
		s.done = make(chan struct{})
	}
}

// ended is closed at the end of this life, or of the next where one is to come.
func (s *shim) ended() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done
}

// reapInit returns the payload's exit code: its own, or 128+n for signal n. From
// then on the shim does not execute itself: endings is locked.
func (s *shim) reapInit() (int, error) {
	defer trace.Wait("the payload's end").End()
	_ = linux.WaitPidfd(s.init.PidFD)
	s.endings.Lock()
	ws, err := s.init.Wait()
	s.reaped = true
	if err != nil {
		return 0, err
	}
	if down, reboot := s.shutdown(ws); down {
		s.rebooted = reboot
		return 0, nil
	}
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
	for _, pid := range children("self") {
		if (s.servant == nil || pid != s.servant.pid) && !isKeeper(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// isKeeper knows a keeper that we started, and that came back to us because we are
// the subreaper. Who else calls himself so is not in U0, as we are and no payload is.
func isKeeper(pid int) bool {
	dir := "/proc/" + strconv.Itoa(pid)
	comm, err := os.ReadFile(dir + "/comm")
	if err != nil || string(comm) != "rc-net\n" {
		return false
	}
	own, err := os.Readlink("/proc/self/ns/user")
	its, ierr := os.Readlink(dir + "/ns/user")
	return err == nil && ierr == nil && own == its
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
	if s.servant == nil {
		return
	}
	ended := s.ended()
	_ = s.servant.wait()
	select {
	case <-ended:
	default:
		s.update(func(st *record.State) { st.Error = "fuse-overlayfs, which served the root file system, died" })
		_ = s.signal(unix.SIGKILL)
	}
}

// helperGone waits for fuse-overlayfs, which ends when its last mount is gone
// with the container's mount namespace; only then is the upper folder at rest.
func (s *shim) helperGone() {
	if s.servant == nil {
		return
	}
	ended := make(chan struct{})
	go func() { _ = s.servant.wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		_ = s.servant.kill()
	}
}

// Remove deletes a container that does not run, with everything that is its own.
// The caller holds its life lock and stands in U0.
func Remove(store *record.Store, id, name, image string, volumes []string) error {
	trees, err := takeAway(store, id, name, image, volumes)
	return errors.Join(err, removeTrees(trees))
}

// takeAway is the part of Remove after which nobody finds the container any more,
// and its name, image and volumes are free. The name goes first and the folder is
// renamed away at once, so that a crash leaves at worst folders in trash/, which the
// next command deletes. trees are those folders.
func takeAway(store *record.Store, id, name, image string, volumes []string) (trees []string, err error) {
	if name != "" {
		if err := store.DropName(name, id); err != nil {
			return nil, err
		}
	}
	trash, err := store.Trash(id)
	if err != nil {
		return nil, err
	}
	trees = append(trees, trash)
	if image != "" {
		if err := store.ReleaseImage(image, id); err != nil {
			return trees, err
		}
	}
	var errs []error
	for _, v := range volumes {
		trash, err := takeVolume(store, v, id)
		if trash != "" {
			trees = append(trees, trash)
		}
		errs = append(errs, err)
	}
	return trees, errors.Join(errs...)
}

func removeTrees(paths []string) error {
	var errs []error
	for _, p := range paths {
		errs = append(errs, removeTree(p))
	}
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
