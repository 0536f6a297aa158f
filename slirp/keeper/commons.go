package keeper

import (
	"errors"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
	"github.com/rc-containers/rc/slirp/names"
)

// commons is what all containers on bridge networks share: N0 with its bridges, the
// names on them, and the one way out.
type commons struct {
	given  *os.File // the N0 of containers that outlived their keeper; nil for none
	uplink *uplink
	names  *names.Server

	ready   sync.Once
	opening sync.Mutex
	world   *bridge.World // nil until the first container needs it

	mu        sync.Mutex
	listening map[string]bool        // networks whose names are answered
	members   map[string]*attachment // the last that was attached under each ID
	noted     bool                   // somebody was told that there can be no bridge
}

// expectLimit is how long questions wait for containers that outlived a keeper to be
// attached again. Their shims knock within 0.1 s.
const expectLimit = 2 * time.Second

// openWorld is for tests of hosts without nf_tables.
var openWorld = bridge.Open

func newCommons(n *networks, given *os.File) *commons {
	return &commons{given: given, uplink: &uplink{networks: n}, names: names.New(names.Options{}),
		listening: map[string]bool{}, members: map[string]*attachment{}}
}

// inherit goes on with an N0 that there is.
func (c *commons) inherit() {
	if c.given != nil {
		_, _ = c.enter(nil) // else the first container says what is wrong
	}
}

// enter opens N0, or makes one. n0 is what a shim holds, borrowed: it counts where
// nobody gave us one at our start.
func (c *commons) enter(n0 *os.File) (*bridge.World, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.world != nil {
		return c.world, nil
	}
	if c.given != nil {
		n0 = c.given
	}
	o := bridge.Options{Dropped: c.dropped}
	w, err := openWorld(n0, o)
	if err != nil && n0 != nil && errors.Is(err, unix.EPERM) { // of another U0
		w, err = openWorld(nil, o)
	}
	if err != nil {
		return nil, err
	}
	c.world = w
	if c.given != nil {
		_ = c.given.Close()
		c.given = nil
	}
	var found []string
	for _, m := range w.Members() {
		found = append(found, m.ID)
	}
	c.names.Expect(found, expectLimit)
	return w, nil
}

// makeReady makes in the background what the first container would wait for, while rc
// and the shim are busy with its file system (20 ms).
func (c *commons) makeReady() {
	c.ready.Do(func() {
		go func() {
			if w, err := c.enter(nil); err == nil {
				_ = c.uplink.want(w) // the container says what went wrong
			}
		}()
	})
}

// listen has the names of a network answered.
func (c *commons) listen(w *bridge.World, n *slirp.Network) error {
	c.mu.Lock()
	already := c.listening[n.ID]
	c.listening[n.ID] = true
	c.mu.Unlock()
	if already || n.NoDNS {
		return nil
	}
	// No lock: the World's thread may be at dropped.
	udp, tcp, err := w.ListenDNS(n.ID)
	if err == nil {
		err = c.names.Serve(*n, udp, tcp)
	}
	if err != nil {
		c.mu.Lock()
		delete(c.listening, n.ID)
		c.mu.Unlock()
	}
	return err
}

// dropped runs on the World's thread.
func (c *commons) dropped(networkID string) {
	c.names.Drop(networkID)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.listening, networkID)
}

// noteFallback is what the user is told, once in the life of a keeper.
func (c *commons) noteFallback(err error) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.noted {
		return ""
	}
	c.noted = true
	note := "no bridge network: " + err.Error() + ". Containers get a slirp4netns of their own, and do not find each other by name"
	if errors.Is(err, bridge.ErrNoFilter) { // it would have remembered them (slirp/forward, nft.go)
		note += "; behind a port of UDP they see no client's address"
	}
	return note
}

// claim makes a the attachment of its ID, and returns the one that was.
func (c *commons) claim(a *attachment) (before *attachment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before = c.members[a.id]
	c.members[a.id] = a
	return before
}

// release is the end of a claim.
func (c *commons) release(a *attachment) (last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last = c.members[a.id] == a; last {
		delete(c.members, a.id)
	}
	return last
}

// current tells whether a is the attachment of its ID still.
func (c *commons) current(a *attachment) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[a.id] == a
}

// ended waits until the container's process has ended: a shim that was killed may
// have left it running, and its addresses are its own as long as it can use them. It
// owns t.
func (c *commons) ended(a *attachment, t *target) {
	defer t.close()
	_ = linux.WaitPidfd(t.pidfd)
	if c.release(a) {
		c.opening.Lock()
		w := c.world
		c.opening.Unlock()
		w.Gone(a.id)
		a.wires.cut(a.wires.member.Endpoints)
	}
}

// inheritedN0 is the descriptor that our starter gave us, if it did: 7 may be anything
// else of his.
func inheritedN0() *os.File {
	fd, err := unix.FcntlInt(n0FD, unix.F_DUPFD_CLOEXEC, firstFD)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), "N0")
	if !isNetwork(f) {
		_ = f.Close()
		return nil
	}
	return f
}

func isNetwork(f *os.File) bool {
	kind, err := linux.NamespaceKind(f)
	return err == nil && kind == unix.CLONE_NEWNET
}
