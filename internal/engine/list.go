package engine

import (
	"cmp"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// List returns the containers, newest first, after repairing what a killed
// process left behind. It takes no lock that a running container holds.
func (e *Engine) List() ([]*Entry, error) {
	seen, err := e.Store.ListContainers()
	if err != nil {
		return nil, hint.New("list the containers", hint.Cause(err), "")
	}
	defer seen.Close()
	list := e.loadAll(seen)
	e.sweep(seen)
	e.emptyTrash()
	e.reviveKeeper(list)
	slices.SortFunc(list, func(a, b *Entry) int {
		return cmp.Or(b.Created.Compare(a.Created), strings.Compare(a.ID, b.ID))
	})
	return list, nil
}

// loadAll loads the containers of a listing: at a glance those that are as they
// should be, then the others, one after the other.
func (e *Engine) loadAll(seen *record.Listing) []*Entry {
	entries := make([]Entry, len(seen.IDs)) // in one piece: they are large
	fine := make([]bool, len(entries))
	reader := seen.Reader()
	for i := range entries {
		fine[i] = glance(reader, seen.IDs[i], &entries[i])
	}
	list := make([]*Entry, 0, len(entries))
	for i, id := range seen.IDs {
		if fine[i] {
			list = append(list, &entries[i])
			continue
		}
		entry, err := e.Load(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // half-made, or removed while we looked
		}
		if err != nil {
			e.Warn("container " + shortID(id) + ": " + err.Error())
			continue
		}
		list = append(list, entry)
	}
	return list
}

// glance is Load of a container of which nothing is to be repaired, waited for or
// reported. False for every other, of which the entry then says nothing.
func glance(r *record.Reader, id string, entry *Entry) bool {
	alive, err := r.Alive(id)
	if err != nil || !r.Read(id, &entry.Container, &entry.State) {
		return false
	}
	c, st := &entry.Container, &entry.State
	if !alive {
		entry.Alive = !atRest(st) && shimLives(st)
		return sound(c, st, nil)
	}
	entry.Alive = true
	return st.Status != record.Running || c.MachineID != record.MachineID() || shimLives(st)
}
