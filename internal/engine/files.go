package engine

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

// lifePatience is how long a file verb waits for another command that works on
// the same container at rest.
const lifePatience = 10 * time.Second

// FilesConfig is what cp, export, diff and commit do; FilesPlace is one end of it.
type (
	FilesConfig = start.FilesConfig
	FilesPlace  = start.FilesPlace
)

// filesVerb is one verb on its way to rc-image.
type filesVerb struct {
	e    *Engine
	cfg  start.FilesConfig
	pass []*os.File // descriptors from start.FilesFD+1 on
	undo unwind.Stack
}

// Copy is `rc cp`. The place of a container has its reference in Typed; the
// result is the exit code of rc-image, which has printed its refusal.
func (e *Engine) Copy(cfg FilesConfig) (int, error) {
	cfg.Verb = "cp"
	f := &filesVerb{e: e, cfg: cfg}
	defer f.undo.Run()
	if err := f.open(&f.cfg.From, &f.cfg.To); err != nil {
		return 0, err
	}
	code, err := f.run()
	if err == nil && code == 0 {
		f.event(f.cfg.From, "archive-path", map[string]string{"path": f.cfg.From.Path})
		f.event(f.cfg.To, "extract-to-dir", map[string]string{"path": f.cfg.To.Path})
	}
	return code, err
}

// Export is `rc export`: cfg has the container in From.Typed and the file in
// To.Path, "" for stdout.
func (e *Engine) Export(cfg FilesConfig) (int, error) {
	cfg.Verb = "export"
	f := &filesVerb{e: e, cfg: cfg}
	defer f.undo.Run()
	if err := f.open(&f.cfg.From); err != nil {
		return 0, err
	}
	code, err := f.run()
	if err == nil && code == 0 {
		f.event(f.cfg.From, "export", nil)
	}
	return code, err
}

// Diff is `rc diff`. It reads the folders of the container, running or not: no
// lock is needed, and none is taken that a start would meet.
func (e *Engine) Diff(ref string) (int, error) {
	f := &filesVerb{e: e, cfg: start.FilesConfig{Verb: "diff", From: start.FilesPlace{Typed: ref}}}
	defer f.undo.Run()
	if _, err := f.find(&f.cfg.From); err != nil {
		return 0, err
	}
	return f.run()
}

// Commit is `rc commit`. With pause the container's processes stand still while
// its files are read.
func (e *Engine) Commit(cfg FilesConfig, pause bool) (int, error) {
	cfg.Verb = "commit"
	f := &filesVerb{e: e, cfg: cfg}
	defer f.undo.Run()
	if err := f.open(&f.cfg.From); err != nil {
		return 0, err
	}
	if pause && f.cfg.From.Root != 0 {
		f.pause(f.cfg.From.ID)
	}
	return f.run()
}

// pause stops the container until the verb has ended. What it writes meanwhile
// would be missing or torn, no more: so a container that cannot be paused is
// committed all the same, and that is said.
func (f *filesVerb) pause(id string) {
	if st, err := f.e.Store.LoadState(id); err == nil && st != nil && st.Status == record.Paused {
		return // by the user, who will go on with it
	}
	path, err := f.e.Store.ControlPath(id)
	var h *control.Held
	if err == nil {
		h, err = control.Hold(path, askTimeout)
	}
	if err != nil {
		f.e.Warn(fmt.Sprintf("the container goes on while it is read: %v", hint.Reason(err)))
		return
	}
	f.undo.Push(func() {
		if h.ForGood {
			_, _, _ = control.Ask(path, control.Request{Op: control.OpUnpause}, askTimeout)
		}
		h.Release(askTimeout)
	})
	// rc-image has it too: should rc be killed, it reads on, and nothing moves.
	f.add(h.File())
}

// find resolves a container and repairs its record if need be.
func (f *filesVerb) find(p *start.FilesPlace) (*Entry, error) {
	id, err := f.e.Store.FindContainer(p.Typed)
	if err != nil {
		return nil, err
	}
	entry, err := f.e.Load(id)
	if err != nil {
		return nil, hint.New("open container "+p.Typed, err, "see `rc ps -a`").WithCode(1)
	}
	if entry.MachineID != record.MachineID() {
		return nil, hint.Newf("open container "+p.Typed, "do it there", "it belongs to another host, %s", entry.MachineID).WithCode(1)
	}
	p.ID = id
	return entry, nil
}

// open gets the root of each container: from the shim, or the right to mount it.
func (f *filesVerb) open(places ...*start.FilesPlace) error {
	held := map[string]int{} // life locks, by container: from one to itself is one
	for _, p := range places {
		if p.Typed == "" {
			continue
		}
		if _, err := f.find(p); err != nil {
			return err
		}
		if p.Life = held[p.ID]; p.Life != 0 {
			continue
		}
		if err := f.reach(p); err != nil {
			return err
		}
		held[p.ID] = p.Life
	}
	return nil
}

// reach takes the container's life lock or, while a shim has it, asks that one. A
// command that holds it for a moment is waited for.
func (f *filesVerb) reach(p *start.FilesPlace) error {
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		life, err := f.e.Store.TakeLife(p.ID)
		if err == nil {
			f.undo.Push(func() { f.e.Store.DropLife(p.ID, life) })
			p.Life = f.add(life)
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return hint.New("lock container "+p.Typed, hint.Cause(err), "").WithCode(1)
		}
		err = f.askRoot(p)
		if err == nil {
			return nil
		}
		passing := errors.Is(err, control.ErrGone) || errors.Is(err, unix.EAGAIN)
		if !passing || time.Since(began) > lifePatience {
			return hint.New("open the files of container "+p.Typed, hint.Reason(err), fixOf(err)).WithCode(1)
		}
	}
}

// askRoot gets the root folder and the mount namespace of a running container.
func (f *filesVerb) askRoot(p *start.FilesPlace) error {
	path, err := f.e.Store.ControlPath(p.ID)
	if err != nil {
		return err
	}
	var root *os.File
	r, list, err := control.Ask(path, control.Request{Op: control.OpRoot}, askTimeout)
	switch {
	case err == nil && len(list) > 0 && r.Files[0] == "root":
		root = list[0]
		stage.CloseFiles(list[1:])
	case errors.Is(err, control.ErrGone):
		return err
	case errors.Is(err, unix.EAGAIN):
		return f.keepAtRest(p, path)
	default: // a shim of before OpRoot
		if root, err = f.rootOfOlder(path); err != nil {
			return err
		}
	}
	p.Root = f.lend(root)
	if ns, err := f.e.borrow(p.ID); err == nil {
		if mnt := ns.files["mnt"]; mnt != nil {
			p.Mnt = f.lend(mnt)
			delete(ns.files, "mnt")
		}
		ns.Close()
	}
	return nil
}

// keepAtRest has a container that waits for its restart wait until the verb has
// ended: its files are mounted as those of any container at rest.
func (f *filesVerb) keepAtRest(p *start.FilesPlace, path string) error {
	h, err := control.HoldRest(path, askTimeout)
	if err != nil {
		return err
	}
	f.undo.Push(func() { h.Release(askTimeout) })
	p.Life = f.add(h.File()) // rc-image keeps it at rest, should rc be killed
	return nil
}

// rootOfOlder opens /proc/PID/root. The start time, looked at before and after,
// says that the number was the same process all the while.
func (f *filesVerb) rootOfOlder(path string) (*os.File, error) {
	r, list, err := control.Ask(path, control.Request{Op: control.OpState}, askTimeout)
	stage.CloseFiles(list)
	if err != nil {
		return nil, err
	}
	st := r.State
	if st == nil || st.PID == 0 {
		return nil, control.ErrGone
	}
	who := linux.Identity{PID: st.PID, StartTime: st.PIDStart, BootID: st.BootID}
	root, err := os.OpenFile(fmt.Sprintf("/proc/%d/root", st.PID), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, hint.New("open its root folder", hint.Cause(err), "stop it first, or start it anew with this version of rc")
	}
	if !who.Alive() {
		_ = root.Close()
		return nil, control.ErrGone
	}
	return root, nil
}

func (f *filesVerb) add(file *os.File) int {
	f.pass = append(f.pass, file)
	return start.FilesFD + len(f.pass)
}

func (f *filesVerb) lend(file *os.File) int {
	f.undo.Push(func() { _ = file.Close() })
	return f.add(file)
}

// run starts rc-image and waits for it.
func (f *filesVerb) run() (int, error) {
	f.cfg.Version = version.Version
	path, err := f.e.program("rc-image")
	if err != nil {
		return 0, err
	}
	h, err := f.e.enter()
	if err != nil {
		return 0, err
	}
	sealed, err := stage.Seal("rc-files", &f.cfg)
	if err != nil {
		return 0, err
	}
	defer sealed.Close()
	p := &userns.Program{
		Path: path, Args: []string{"rc-image", "files"},
		Env: replaceKey(os.Environ(), "RC_ROOT", f.e.Store.Root), Dir: workingDir(),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Files: append([]*os.File{sealed}, f.pass...),
	}
	proc, err := userns.Start(h.inHome(p))
	if err != nil {
		return 0, err
	}
	return f.e.follow(proc)
}

func (f *filesVerb) event(p start.FilesPlace, action string, more map[string]string) {
	if p.ID == "" {
		return
	}
	if c, err := f.e.Store.LoadContainer(p.ID); err == nil {
		f.e.event(c, action, more)
	}
}
