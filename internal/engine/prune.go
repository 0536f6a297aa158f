package engine

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Pruned is what a prune removed. Of images the lines that Docker prints.
type Pruned struct {
	Removed   []string
	Reclaimed int64 // bytes
}

// PruneFilter is what a prune spares: the zero value spares nothing.
type PruneFilter struct {
	Until  time.Time // what was made later stays; zero: no matter when
	Labels func(map[string]string) bool
}

func (f *PruneFilter) takes(made time.Time, labels map[string]string) bool {
	return (f.Until.IsZero() || made.Before(f.Until)) && (f.Labels == nil || f.Labels(labels))
}

// PruneContainers removes every container that has ended or was never started,
// one after the other as `rc rm` does; volumes stay. What is being started at this
// moment, or lives on another host, is left alone. What cannot be removed stays,
// and the error says so in the end.
func (e *Engine) PruneContainers(f *PruneFilter) (*Pruned, error) {
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(c *Entry) bool { return !c.prunable() || !f.takes(c.Created, c.Labels) })
	sizes := e.writtenBy(list)
	p := &Pruned{}
	var failed []error
	for i, c := range list {
		// Not by force: one that was started since is refused, and stays.
		if _, err := e.Remove(c.ID, false, false); err != nil {
			if alive, aerr := e.Store.Alive(c.ID); aerr == nil && !alive {
				failed = append(failed, err)
			}
			continue
		}
		p.Removed = append(p.Removed, c.ID)
		p.Reclaimed += sizes[i]
	}
	e.pruneEvent("container", p.Reclaimed)
	return p, errors.Join(failed...)
}

// prunable tells whether a container is at rest on this host.
func (c *Entry) prunable() bool {
	at := c.State.Status == record.Exited || c.State.Status == record.Created
	return at && !c.Alive && c.MachineID == record.MachineID()
}

// writtenBy are the bytes of each container's own layer; zeros where they cannot
// be counted, which is no reason to keep a container.
func (e *Engine) writtenBy(list []*Entry) []int64 {
	paths := make([]string, len(list))
	for i := range list {
		paths[i] = e.Store.Path("containers", list[i].ID, "upper")
	}
	sizes, err := e.TreeSizes(paths)
	if err != nil {
		return make([]int64, len(list))
	}
	return sizes
}

// PruneVolumes removes the volumes that no container's record names: anonymous
// ones, or all of them.
func (e *Engine) PruneVolumes(all bool, f *PruneFilter) (*Pruned, error) {
	list, err := e.Volumes()
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(v *VolumeEntry) bool {
		return len(v.Users) > 0 || !all && !v.Anonymous || !f.takes(v.CreatedAt, v.ShownLabels())
	})
	paths := make([]string, len(list))
	for i, v := range list {
		paths[i] = v.Mountpoint
	}
	sizes, err := e.TreeSizes(paths)
	if err != nil {
		sizes = make([]int64, len(list))
	}
	p := &Pruned{}
	var failed []error
	var trees []string
	for i, v := range list {
		trash, err := e.Store.TrashVolume(v.Name, "")
		switch {
		case errors.Is(err, record.ErrVolumeInUse), errors.Is(err, record.ErrNoVolume):
			continue // a container has it since we looked
		case err != nil:
			failed = append(failed, hint.New("remove volume "+v.Name, hint.Cause(err), ""))
			continue
		}
		e.volumeEvent("destroy", v.Name)
		trees = append(trees, trash)
		p.Removed = append(p.Removed, v.Name)
		p.Reclaimed += sizes[i]
	}
	if err := e.removeTrees(trees); err != nil {
		failed = append(failed, err)
	}
	e.pruneEvent("volume", p.Reclaimed)
	return p, errors.Join(failed...)
}

// PruneImages has rc-image remove images without a name, or with all those that no
// container refers to, and with caches what downloads have left. args are the flags
// of its verb.
func (e *Engine) PruneImages(args []string) (*Pruned, error) {
	fd, err := unix.MemfdCreate("rc-prune", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, hint.New("prune the images", err, "")
	}
	answer := os.NewFile(uintptr(fd), "rc-prune")
	defer answer.Close()
	code, err := e.Image(append([]string{"prune"}, args...), answer)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, &hint.Error{Err: errReported, Code: code}
	}
	if _, err := answer.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	p := &Pruned{}
	if err := json.NewDecoder(answer).Decode(p); err != nil {
		return nil, hint.New("prune the images", err, "")
	}
	e.pruneEvent("image", p.Reclaimed)
	return p, nil
}

func (e *Engine) pruneEvent(kind string, bytes int64) {
	_ = e.Store.AppendEvent(kind, "prune", "", map[string]string{"reclaimed": strconv.FormatInt(bytes, 10)})
}
