package engine

import (
	"cmp"
	"errors"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

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
	inBlocks(len(entries), func(next func() (int, int)) {
		reader := seen.Reader()
		for from, to := next(); from < to; from, to = next() {
			for i := from; i < to; i++ {
				fine[i] = glance(reader, seen.IDs[i], &entries[i])
			}
		}
	})
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

// Images lists the images of the store. One whose record cannot be read is a warning
// that says what to type, and the others are listed.
func (e *Engine) Images() ([]*record.Image, error) {
	images, err := e.Store.Images()
	var damaged interface{ Unwrap() []error } // errors.Join
	if !errors.As(err, &damaged) {
		return images, err
	}
	for _, err := range damaged.Unwrap() {
		e.Warn(err.Error())
	}
	return images, nil
}

// inBlocks has n things done, in as many goroutines as that is worth; each asks next
// for its blocks until one is empty. Reading 300 records takes two processors two
// thirds of the time that it takes one; a thread to do so is worth some dozens.
func inBlocks(n int, work func(next func() (from, to int))) {
	const block = 16
	var taken atomic.Int64
	next := func() (int, int) {
		from := min(int(taken.Add(block))-block, n)
		return from, min(from+block, n)
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 1+n/(4*block), 4) - 1 {
		others.Go(func() { work(next) })
	}
	work(next)
	others.Wait()
}

// glance is Load of a container of which nothing is to be repaired, waited for or
// reported. False for every other, of which the entry then says nothing.
func glance(r *record.Reader, id string, entry *Entry) bool {
	// The entry's last byte, before anything of it is read: a page that is read first
	// costs two faults, and the second one interrupts the other processor.
	entry.Alive = false
	c, st := &entry.Container, &entry.State
	if !r.Read(id, c, st) {
		return false
	}
	if st.Status == record.Running && c.MachineID == record.MachineID() {
		entry.Alive = shimLives(st) // whatever its lock says: see Load
		return entry.Alive
	}
	alive, err := r.Alive(id)
	entry.Alive = alive || !atRest(st) && shimLives(st)
	return err == nil && (alive || sound(c, st, nil))
}
