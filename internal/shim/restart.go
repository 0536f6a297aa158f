package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// The back-off between restarts is Docker's (moby, restartmanager.go): doubled
// from 100 ms to a minute, and from the start after a run of ten seconds.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = time.Minute
	goodRun      = 10 * time.Second
)

// nextBackoff is the wait before the next start; last is the one before this run,
// 0 for none.
func nextBackoff(last, ran time.Duration) time.Duration {
	if last == 0 || ran >= goodRun {
		return firstBackoff
	}
	return min(2*last, maxBackoff)
}

// shallRestart applies a policy to an end. stopped is a user's stop or kill, after
// which no policy applies.
func shallRestart(p record.RestartPolicy, code, restarts int, stopped bool) bool {
	if stopped {
		return false
	}
	switch p.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure":
		return code != 0 && (p.Max == 0 || restarts < p.Max)
	}
	return false
}

// policy reads the record anew: `rc update` and `rc rename` may have changed it. A
// container whose folder is gone was removed by somebody, and ends with this life;
// where the disk does not answer, what was read last holds.
func (s *shim) policy() record.RestartPolicy {
	edition := s.edition()
	if edition == s.read && edition != (edited{}) {
		return s.known.Restart
	}
	c, err := s.store.LoadContainer(s.cfg.ID)
	switch {
	case err == nil:
		s.known, s.read = known{c.Name, c.ImageName, c.Labels, c.Restart}, edition
	case s.removed():
		s.known.Restart = record.RestartPolicy{}
	}
	return s.known.Restart
}

// edited tells one text of the record from the next: each is a file of its own, but
// for one that was written over on a full disk.
type edited struct {
	ino            uint64
	size           int64
	changed, wrote unix.Timespec
}

// edition is that of the record as it stands; zero where it cannot be seen.
func (s *shim) edition() edited {
	var st unix.Stat_t
	if unix.Lstat(filepath.Join(s.cfg.Dir, "container.json"), &st) != nil {
		return edited{}
	}
	return edited{st.Ino, st.Size, st.Ctim, st.Mtim}
}

// removed tells whether somebody took the container's folder away, apart from a
// disk that is gone or does not answer.
func (s *shim) removed() bool {
	_, err := os.Lstat(s.cfg.Dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Lstat(s.store.Path("containers")) // else the root itself is not there: an unmounted disk
	return err == nil
}

// name is the container's name at this moment.
func (s *shim) name() string {
	_ = s.policy()
	return s.known.Name
}

// awaitRestart waits out the back-off and builds the container again, in a program
// that holds nothing of this life. It returns when a user's stop comes first, or
// when the container was removed.
func (s *shim) awaitRestart(wait time.Duration) int {
	s.mu.Lock()
	s.resting = true
	s.mu.Unlock()
	for {
		select {
		case <-s.stopped:
			return s.giveUp(nil)
		case <-time.After(wait):
		}
		if s.removed() {
			return s.giveUp(nil)
		}
		err := s.tryRestart()
		switch {
		case errors.Is(err, errBusy), errors.Is(err, errTerm): // somebody is asking something: a stop, perhaps
			wait = 10 * time.Millisecond
		case errors.Is(err, errNoConfig), scarce(err): // the disk is away; it may come back
			wait = min(2*max(wait, firstBackoff), maxBackoff)
			s.update(func(st *record.State) { st.Error = err.Error() })
		default:
			return s.giveUp(err)
		}
	}
}

var (
	errBusy     = errors.New("the shim is answering somebody")
	errNoConfig = errors.New("its configuration cannot be read now")
)

// scarce tells whether an execve failed for want of what there may be again.
func scarce(err error) bool {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// tryRestart does not return when it works.
func (s *shim) tryRestart() error {
	if f, err := os.Open(filepath.Join(s.cfg.Dir, "config.json")); err != nil {
		return fmt.Errorf("%w: %w", errNoConfig, err)
	} else {
		_ = f.Close()
	}
	release, ok := s.quiesce()
	if !ok {
		return errBusy
	}
	defer release()
	select {
	case <-s.stopped:
		return errBusy // the loop above sees why
	default:
	}
	files := s.carriedFiles()
	if s.net != nil {
		s.net.mu.Lock()
		if s.net.n0 != nil {
			files["n0"] = s.net.n0
		}
		s.net.mu.Unlock()
	}
	h := &handover{Restart: true, Kept: s.kept(), State: s.snapshot(), Backoff: s.backoff, Rows: s.streams.rows, Cols: s.streams.cols}
	return s.execAgain(h, files, nil)
}

// giveUp ends a container that waited for its restart: it has ended already.
func (s *shim) giveUp(err error) int {
	s.awaitRests(5 * time.Second)
	s.update(func(st *record.State) {
		st.Status, st.NextStart, st.ShimPID, st.ShimStart = record.Exited, time.Time{}, 0, 0
		if err != nil {
			st.Error = err.Error()
		}
	})
	if !s.removed() {
		_ = s.save(atomicfile.Durable)
	}
	s.farewell(nil)
	return 0
}

// awaitRests lets those end for whom the container stays at rest: after us somebody
// may start it, and what they have mounted would be mounted twice. A reader that
// stands still keeps nobody from stopping a container.
func (s *shim) awaitRests(bound time.Duration) {
	s.mu.Lock()
	s.resting = false
	s.mu.Unlock()
	none := make(chan struct{})
	go func() {
		s.rests.Wait()
		close(none)
	}()
	select {
	case <-none:
	case <-time.After(bound):
	}
}

// rebuild is the first step of a life by policy: what the program before handed
// over, and the configuration from the container's folder.
func (s *shim) rebuild(h *handover) error {
	s.inherit(h)
	go s.watchRuntime()
	s.byPolicy = true
	s.before = &h.State
	data, err := os.ReadFile(filepath.Join(h.Kept.Dir, "config.json"))
	if err != nil {
		return hint.New("start the container again", hint.Errno(err), "rc start "+h.Kept.Name)
	}
	cfg, err := start.Stored(data, h.Kept.Root) // a folder that was moved since it was made
	if err != nil {
		return hint.New("start the container again", err, "make it again with `rc run`")
	}
	if cfg.Spec == nil || cfg.Spec.Process == nil || cfg.Spec.Linux == nil || cfg.ID != h.Kept.ID {
		return hint.Newf("start the container again", "make it again with `rc run`", "its configuration is not whole")
	}
	// What belongs to one start, as in engine's reload.
	cfg.Name, cfg.Dir, cfg.Root, cfg.Runtime = h.Kept.Name, h.Kept.Dir, h.Kept.Root, h.Kept.Runtime
	cfg.Without, cfg.Detach, cfg.Fresh, cfg.Rows, cfg.Cols = os.Getenv("RC_TEST_WITHOUT"), true, false, h.Rows, h.Cols
	cfg.Cgroup, cfg.RestartCount, cfg.Inside.CopyUp = "", h.State.RestartCount, nil
	cfg.Attach, cfg.Keeper = h.Kept.Attach, h.Kept.Keeper // the same networks, addresses and ports, as changed since
	cfg.Unit = h.Kept.Unit                                // and the same sockets
	s.cfg = cfg
	if err := s.rejoin(); err != nil {
		return err
	}
	return s.regroup()
}

// rejoin asks for the namespaces of the container that this one lives in: that one
// may have been started anew since.
func (s *shim) rejoin() error {
	a := &s.cfg.Again
	if a.Join == "" {
		return nil
	}
	op := "join container " + a.Join[:12] + " again"
	path, err := s.store.ControlPath(a.Join)
	if err != nil {
		return err
	}
	r, files, err := control.Ask(path, control.Request{Op: control.OpNamespaces}, 5*time.Second)
	if err != nil {
		return hint.New(op, err, "start it first: rc start "+a.Join[:12])
	}
	lent := map[string]*os.File{}
	for i, name := range r.Files {
		lent[name] = files[i]
	}
	want := append([]string{"user"}, a.JoinNames...)
	if s.cfg.ShmMount >= 0 {
		want = append(want, "mnt")
	}
	for _, name := range want {
		f := lent[name]
		if f == nil && name != "user" {
			return hint.Newf(op, "", "its %s namespace is the host's", name)
		}
		if old := s.files["join-"+name]; old != nil {
			_ = old.Close()
		}
		s.files["join-"+name] = f
		delete(lent, name)
	}
	for _, f := range lent {
		_ = f.Close()
	}
	return nil
}

// regroup makes the cgroup again, which went with the processes of the life before:
// so did its counters, and what is counted is this life's.
func (s *shim) regroup() error {
	if old := s.files["cgroup"]; old != nil {
		_ = old.Close()
		delete(s.files, "cgroup")
	}
	asked := !s.cfg.Again.Resources.Empty() || s.cfg.Systemd == start.SystemdAlways
	subtree, err := cgroup.Find()
	var made cgroup.Made
	place := s.cfg.Again.Place
	if place.Mode == cgroup.PlaceDisabled {
		return nil
	}
	if err == nil {
		made, err = place.Make(subtree, s.cfg.ID, s.cfg.Again.Resources)
	}
	if err != nil && !place.Fallback && (asked || place.Mode != "" || place.Parent != "") {
		return err
	}
	if made.Group == nil {
		return nil
	}
	s.cfg.Cgroup = made.Group.Path
	if f, err := made.Group.PayloadFD(); err == nil {
		s.files["cgroup"] = f
	}
	return nil
}

// event appends to the user's stream. It never fails anything.
func (s *shim) event(action string, more map[string]string) {
	_ = s.store.AppendEvents(s.eventOf(action, more))
}

// eventOf is something that happened to the container.
func (s *shim) eventOf(action string, more map[string]string) *record.Event {
	defer trace.Begin("write an event").End()
	attributes := map[string]string{}
	for k, v := range s.known.Labels {
		attributes[k] = v
	}
	attributes["name"], attributes["image"] = s.known.Name, s.known.ImageName
	for k, v := range more {
		attributes[k] = v
	}
	return &record.Event{Type: "container", Action: action, Actor: record.Actor{ID: s.cfg.ID, Attributes: attributes}}
}
