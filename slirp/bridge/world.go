// Package bridge is what lives in N0, the network namespace of one user's
// containers: a bridge for each network, a veth pair for each container on it,
// the filter between them, and the way out by one shared slirp4netns.
//
//	host's netns      keeper, slirp4netns' sockets, DNS forwarding
//	      ▲
//	      │ tap0, made by slirp4netns (Way, Uplink)
//	N0    │ masquerade; nothing passes from one bridge to another
//	      ├── rc-<network>  10.89.0.1/24 ── veth ── eth0 of container a
//	      │                              └─ veth ── eth0 of container b
//	      └── rc-<network>  10.89.1.1/24 ── veth ── eth0 of container c
//
// It knows neither the keeper nor its messages. N0 outlives the keeper: whoever
// lives holds its descriptor (File), and Open finds again what is in it, from
// the names and aliases of the links alone; there is no file to go stale.
//
// Everything runs on one thread that is locked in N0 and never leaves it but for
// the moments in which it opens a socket in a container's namespace. A World is
// safe for concurrent use: calls queue for that thread (about 1 ms each).
package bridge

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Options are what a World tells its owner. The zero value is usable.
type Options struct {
	// Dropped is called before the bridge of a network without members is removed: what
	// listens on its gateways (ListenDNS) must be closed then. It runs on the World's
	// thread and must not call the World.
	Dropped func(networkID string)
	// Linger is how long a bridge without members stays, for the next container; zero:
	// DefaultLinger.
	Linger time.Duration
}

// DefaultLinger is long enough for a restart, and for a loop of short containers.
const DefaultLinger = 30 * time.Second

// World is N0 as one process sees it. Two processes must not work on one N0 at the
// same time (the keeper's lock sees to that).
type World struct {
	options Options
	thread  *thread
	filter  *filter
	file    *os.File

	// What follows belongs to the thread: only functions run by it touch it.
	route    *rtnl
	networks map[string]*network // by ID12
	ports    map[string][]*port  // by container
	index    int                 // of the link made last
	inode    uint64              // of N0
	ipv6     bool                // the kernel has it
	found    bool                // some ports may be those that nobody has asked for since Open
	expelled []*port             // to be forgotten by the filter
	leaving  []leaver
	timer    *time.Timer // for sweep
	swept    time.Time   // when it ran last

	closing sync.Once
}

// Open takes over N0 and everything that lives in it, or makes one when n0 is nil.
// The caller is root of the user namespace that owns it (or will). n0 is borrowed.
// ErrNoFilter when this kernel has no nf_tables: then there is no bridge, because
// nothing would keep networks apart. It takes about 10 ms.
func Open(n0 *os.File, o Options) (*World, error) {
	const op = "make the network namespace of this user's containers"
	if o.Linger == 0 {
		o.Linger = DefaultLinger
	}
	t, file, err := startThread(n0)
	if err != nil {
		return nil, hint.New(op, err, "`rc doctor` says what this host lacks; --network=slirp4netns works without it")
	}
	w := &World{options: o, thread: t, file: file, networks: map[string]*network{}, ports: map[string][]*port{}}
	if err := w.Do(w.start); err != nil {
		w.Close()
		return nil, hint.New(op, err, fixFor(err))
	}
	return w, nil
}

// start readies N0 itself and finds what lives in it.
func (w *World) start() (err error) {
	var st unix.Stat_t
	if err := unix.Fstat(w.thread.n0, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	w.inode = st.Ino
	if w.route, err = dialRoute(); err != nil {
		return err
	}
	if w.filter, err = openFilter(); err != nil {
		return err
	}
	if err := w.prepare(); err != nil {
		return err
	}
	return w.recover()
}

// File is the descriptor of N0, borrowed: whoever keeps a copy keeps N0 alive.
func (w *World) File() *os.File { return w.file }

// TID is the thread that is locked in N0: /proc/TID/ns/net is N0 for those who may
// look at us, which are root of U0 and our own children.
func (w *World) TID() int { return w.thread.tid }

// Do runs f in N0, on the World's thread: sockets that it opens are N0's. f must not
// call the World.
func (w *World) Do(f func() error) error { return w.thread.do(f) }

// Close gives up the thread and the sockets. N0 lives on for whoever holds it; without
// another holder it ends, with every bridge in it.
func (w *World) Close() {
	w.closing.Do(func() {
		_ = w.Do(func() error {
			if w.timer != nil {
				w.timer.Stop()
			}
			w.route.close()
			w.filter.close()
			return nil
		})
		w.thread.stop()
		_ = w.file.Close()
	})
}
