package bridge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// heldLimit is how long the interfaces of a container that has ended may live on: the
// kernel removes them with its namespace, some time after its last process.
const heldLimit = 3 * time.Second

// leaver is a port whose container has ended.
type leaver struct {
	name  string
	since time.Time
}

// Disconnect takes a running container off one network: its interface goes, which takes
// up to 30 ms. ENOENT when it is not on it.
func (w *World) Disconnect(id, networkID string) error {
	err := w.Do(func() error {
		n := w.networks[short(networkID)]
		if n == nil || w.port(id, n) == nil {
			return fmt.Errorf("it is not on that network: %w", unix.ENOENT)
		}
		p := w.port(id, n)
		err := w.route.run(deleteLink(p.name))
		if errors.Is(err, unix.ENODEV) {
			err = nil // it removed the interface itself
		}
		if err != nil {
			return err
		}
		w.forget(id, func(other *port) bool { return other == p })
		return nil
	})
	if err != nil {
		return hint.New(fmt.Sprintf("disconnect container %s from network %s", short(id), short(networkID)), err, "")
	}
	return nil
}

// Gone forgets a container that has ended: its addresses are free at once. Its
// interfaces end with its network namespace, whenever the kernel comes to it; if
// somebody else holds that (container:ID), they are removed some seconds later.
func (w *World) Gone(id string) {
	_ = w.Do(func() error {
		w.forget(id, func(*port) bool { return true })
		return nil
	})
}

// forget does so with those ports of a container that ended says.
func (w *World) forget(id string, ended func(*port) bool) {
	before := len(w.ports[id])
	w.ports[id] = slices.DeleteFunc(w.ports[id], func(p *port) bool {
		if !ended(p) {
			return false
		}
		w.left(p)
		w.expelled = append(w.expelled, p)
		w.leaving = append(w.leaving, leaver{p.name, time.Now()})
		return true
	})
	if len(w.ports[id]) == 0 {
		delete(w.ports, id)
	}
	if before > len(w.ports[id]) {
		w.plan()
	}
}

// expelDelay gathers the ports that the filter forgets, for one transaction.
const expelDelay = 200 * time.Millisecond

// left gives back what a port had.
func (w *World) left(p *port) {
	p.release()
	if p.on != nil {
		p.on.ports--
	}
	if p.net.ports--; p.net.ports == 0 {
		p.net.empty = time.Now()
		w.plan()
	}
}

// plan has sweep run when the next thing is due. One timer does: a thousand short
// containers leave no thousand of them.
func (w *World) plan() {
	var next time.Time
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	if len(w.expelled) > 0 {
		soonest(time.Now().Add(expelDelay))
	}
	for _, l := range w.leaving {
		soonest(l.since.Add(heldLimit))
	}
	for _, n := range w.networks {
		if n.ports == 0 {
			soonest(n.empty.Add(w.options.Linger))
		}
	}
	if w.found {
		soonest(time.Now().Add(foundStep))
	}
	if w.timer != nil {
		w.timer.Stop()
	}
	if next.IsZero() {
		return
	}
	// In a row of short containers something is always due: one sweep for each of them
	// was a twentieth of the keeper's work.
	if early := w.swept.Add(expelDelay); next.Before(early) {
		next = early
	}
	w.timer = time.AfterFunc(time.Until(next)+10*time.Millisecond, func() {
		_ = w.Do(func() error {
			w.sweep(time.Now())
			return nil
		})
	})
}

// sweep does what must not wait in anybody's way.
func (w *World) sweep(now time.Time) {
	w.swept = now
	if len(w.expelled) > 0 && w.filter.expel(w.expelled...) == nil {
		w.expelled = nil
	}
	w.lookAfterFound()
	var held []request
	w.leaving = slices.DeleteFunc(w.leaving, func(l leaver) bool {
		if now.Sub(l.since) < heldLimit {
			return false
		}
		held = append(held, deleteLink(l.name)) // ENODEV nearly always
		return true
	})
	for some := range slices.Chunk(held, maxMessages) {
		_ = w.route.run(some...)
	}
	for _, n := range w.networks {
		if n.ports == 0 && now.Sub(n.empty) >= w.options.Linger {
			_ = w.drop(n)
		}
	}
	w.plan()
}

// foundStep is how often we look after containers that nobody has asked for since Open.
const foundStep = 5 * time.Second

// lookAfterFound forgets those whose interface is gone: they ended while there was no
// keeper, and no session will tell.
func (w *World) lookAfterFound() {
	if !w.found {
		return // no look at every port, at each end of a container
	}
	found := map[string]*port{}
	for _, ports := range w.ports {
		for _, p := range ports {
			if p.found {
				found[p.name] = p
			}
		}
	}
	w.found = len(found) > 0
	if !w.found {
		return
	}
	links, err := w.links()
	if err != nil {
		return
	}
	for _, l := range links {
		delete(found, l.name)
	}
	for _, p := range found {
		w.forget(p.id, func(other *port) bool { return other == p })
	}
}
