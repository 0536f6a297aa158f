package engine

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// Remove removes a container; volumes says whether its anonymous volumes go with
// it. A running one is refused unless force kills it. The result is its id.
func (e *Engine) Remove(ref string, force, volumes bool) (string, error) {
	id, err := e.Store.FindContainer(ref)
	if err != nil {
		return "", err
	}
	for began := time.Now(); ; {
		err := e.remove(id, ref, force, volumes)
		// Who restarts it starts what we have just killed: that is killed, too.
		if !force || !errors.Is(err, errBusy) || time.Since(began) > lifePatience {
			return id, err
		}
	}
}

func (e *Engine) remove(id, ref string, force, volumes bool) error {
	alive, err := e.Store.Alive(id)
	if err != nil {
		return err
	}
	st, serr := e.Store.LoadState(id)
	// Who holds the lock of one at rest is its shim, about to leave, or somebody who
	// starts it or removes it too: that is waited for below.
	busy := !force && (alive && st == nil || atRest(st))
	switch {
	case busy:
	case alive || serr == nil && shimLives(st):
		if !force {
			return hint.Newf("remove container "+ref, "stop it first, or: rc rm -f "+ref, "it is %s", inWords(st)).WithCode(1)
		}
		if err := e.end(id); err != nil {
			return err
		}
	default:
		if err := e.reconcile(id); err != nil && !force && !errors.As(err, new(*unsavedState)) {
			return damaged(ref, err)
		}
	}
	e.doNotRevive(id)
	lock, err := e.takeLife(id, "remove container "+ref)
	if err != nil {
		return err
	}
	defer e.Store.DropLife(id, lock)
	c, _, err := e.peek(id)
	switch {
	case err != nil && !force:
		return damaged(ref, err)
	case c != nil && c.MachineID != record.MachineID() && !force:
		return e.elsewhere(c, "remove container "+ref)
	case c == nil:
		if _, err := os.Lstat(e.Store.ContainerDir(id)); err != nil {
			return nil // --rm was quicker
		}
	}
	return e.erase(id, c, volumes)
}

// inWords names a live container's status for a refusal.
func inWords(st *record.State) string {
	if st == nil || atRest(st) || st.Status == record.Created {
		return "being started"
	}
	if st.Status == "" { // its state cannot be read; its shim lives
		return "running"
	}
	return string(st.Status)
}

// damaged is a record that cannot be read, as after a power cut.
func damaged(ref string, err error) error {
	return hint.New("remove container "+ref, err, "to delete its folder all the same: rc rm -f "+ref).WithCode(1)
}

// erase removes a container that is at rest; the caller holds its life lock.
func (e *Engine) erase(id string, c *record.Container, volumes bool) error {
	var trees []string
	// Of a shim that was killed after it had saved the end.
	if path, err := e.Store.ControlPath(id); err == nil {
		_ = os.Remove(path)
	}
	if c != nil {
		if err := e.Store.DropName(c.Name, id); err != nil {
			return err
		}
		if volumes {
			trees = e.dropVolumes(c)
		}
	}
	trash, err := e.Store.Trash(id)
	if err != nil {
		return hint.New("remove container "+shortID(id), hint.Cause(err), "")
	}
	if c != nil {
		e.event(c, "destroy", nil)
	}
	if c != nil && c.Image != "" {
		if err := e.Store.ReleaseImage(c.Image, id); err != nil {
			return err
		}
	}
	return e.removeTrees(append(trees, trash))
}

// removeTrees deletes folders: ourselves where every file is ours, else through
// a helper in U0, where files of subordinate ids can be deleted.
func (e *Engine) removeTrees(trees []string) error {
	var left []string
	for _, t := range trees {
		if err := os.RemoveAll(t); err != nil {
			rel, err := filepath.Rel(e.Store.Root, t)
			if err != nil {
				return err
			}
			left = append(left, rel)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return e.tidy(&start.TidyConfig{Root: e.Store.Root, Paths: left})
}

// tidy has a helper in U0 delete what is not this user's own.
func (e *Engine) tidy(c *start.TidyConfig) error {
	h, err := e.enter()
	if err != nil {
		return err
	}
	conn, proc, err := e.converse(h, "rc-tidy", c, nil, &userns.Program{})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer proc.Close()
	var m start.Message
	files, err := conn.Recv(&m)
	stage.CloseFiles(files)
	_, _ = proc.Wait()
	if err != nil {
		return hint.New("delete "+strings.Join(slices.Concat(c.Paths, c.Groups), " "), err, "")
	}
	if m.Fail != nil {
		return m.Fail.Error()
	}
	return nil
}

// emptyTrash finishes what an interrupted removal left. Another command may be
// doing the same, hence no complaint.
func (e *Engine) emptyTrash() {
	entries, err := os.ReadDir(e.Store.Path("trash"))
	if err != nil || len(entries) == 0 {
		return
	}
	var trees []string
	for _, entry := range entries {
		trees = append(trees, e.Store.Path("trash", entry.Name()))
	}
	_ = e.removeTrees(trees)
}
