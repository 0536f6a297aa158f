package shim

import (
	"errors"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// network is the container's attachment to the keeper. It lives as long as the
// connection: when the shim dies, the keeper ends slirp4netns and the ports.
type network struct {
	runtime string
	keeper  start.Keeper
	attach  slirp.Attach
	changed func(*slirp.Attached) // is told of what a keeper gave that came later

	mu     sync.Mutex
	client *slirp.Client
	asked  *slirp.Client // by askAhead; of the goroutine that attaches
	n0     *os.File      // the user's network namespace: as long as we have it, it lives
	gone   bool          // the container has ended: do not attach again
	again  bool          // it was attached before, and runs: what can be had again is enough
	asking bool          // somebody asks for lost ports

	changes sync.Mutex // one Change at a time
}

// upPatience is how long a start waits for the next keeper when the one that rc had
// spoken to has ended: where other containers run, their shims have it within 0.1 s.
const upPatience = 3 * time.Second

// othersFirst is how long a shim without N0 lets those who have it start the keeper:
// else there would be two of them.
const othersFirst = 300 * time.Millisecond

// up attaches the container and watches over the attachment. Where the keeper has ended
// since rc spoke to it, and nobody else starts another, it does: in our user namespace,
// which is the one that the container is made in.
func (n *network) up() (*slirp.Attached, error) {
	began := time.Now()
	client, attached, err := n.connect()
	for errors.Is(err, slirp.ErrNoKeeper) && time.Since(began) < upPatience {
		if n.n0 != nil || time.Since(began) > othersFirst {
			_ = n.revive() // if it cannot, the last connect says so
		}
		time.Sleep(20 * time.Millisecond)
		client, attached, err = n.connect()
	}
	if err != nil {
		return nil, err
	}
	if err := n.keep(client, attached); err != nil {
		return nil, err
	}
	go n.watch(client)
	return attached, nil
}

// askAhead sends the request for the network and does not wait. client is nil, or a
// connection that is not used yet. What goes wrong goes wrong again in connect, where it
// is told.
func (n *network) askAhead(client *slirp.Client) {
	if client == nil {
		return
	}
	if n.ask(client) != nil {
		client.Close()
		return
	}
	n.asked = client
}

// connect attaches, by what was asked ahead if it was.
func (n *network) connect() (*slirp.Client, *slirp.Attached, error) {
	if client := n.asked; client != nil {
		n.asked = nil
		attached, err := n.answer(client)
		if !errors.Is(err, slirp.ErrNoKeeper) { // else it died, or was tired of waiting
			return client, attached, err
		}
	}
	client, err := slirp.Dial(n.folder())
	if err != nil {
		return nil, nil, err
	}
	if err := n.ask(client); err != nil {
		client.Close()
		return nil, nil, err
	}
	attached, err := n.answer(client)
	return client, attached, err
}

func (n *network) folder() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runtime
}

// ask sends the request.
func (n *network) ask(client *slirp.Client) error {
	netns, err := linux.OpenNamespace(n.attach.PID, unix.CLONE_NEWNET)
	if err != nil {
		return err
	}
	defer netns.Close()
	user, err := linux.OpenNamespace(n.attach.PID, unix.CLONE_NEWUSER)
	if err != nil {
		return err
	}
	defer user.Close()
	n.mu.Lock()
	request := n.attach
	request.Again = n.again
	n.mu.Unlock()
	mine := n.lendN0()
	if mine != nil {
		defer mine.Close()
	}
	return client.AskAttach(request, netns, user, mine)
}

// answer waits for the network. It closes client where there is none.
func (n *network) answer(client *slirp.Client) (*slirp.Attached, error) {
	attached, n0, err := client.Attached()
	n.mu.Lock()
	request := n.attach
	n.mu.Unlock()
	if err == nil && len(request.Endpoints) > 0 && len(attached.Endpoints) == 0 && !request.Fallback {
		err = hint.Newf("attach the network", "end it: pkill -u $USER -x rc-net; the next command starts another, and what runs has its network and ports again a second later",
			"the keeper that runs is of a version of rc before bridge networks")
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	n.holdN0(n0)
	return attached, nil
}

// holdN0 takes what a keeper gave: the namespace that we have, or, where that keeper
// had to make another, the one in which the container is now.
func (n *network) holdN0(f *os.File) {
	if f == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n0 != nil {
		_ = n.n0.Close()
	}
	n.n0 = f
}

// keep makes client the container's connection, unless the container has ended.
func (n *network) keep(client *slirp.Client, attached *slirp.Attached) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone {
		client.Close()
		return errors.New("the container has ended")
	}
	n.client = client
	n.remember(attached)
	return nil
}

// remember has the next Attach ask for what the container has now: a port that was
// chosen stays the same, and so does an address.
func (n *network) remember(a *slirp.Attached) {
	n.attach.Ports = a.Wanted()
	n.attach.Endpoints = withLast(n.attach.Endpoints, a)
}

// withLast notes in each endpoint the addresses that it had. The slice is new: the
// old one may be on its way to a keeper.
func withLast(list []slirp.Endpoint, had *slirp.Attached) []slirp.Endpoint {
	list = slices.Clone(list)
	for i := range list {
		for _, e := range had.Endpoints {
			if e.NetworkID != list[i].Network.ID {
				continue
			}
			list[i].Last = slices.DeleteFunc([]netip.Addr{e.IP, e.IP6}, func(a netip.Addr) bool { return !a.IsValid() })
			if list[i].Interface == "" {
				list[i].Interface = e.Interface
			}
		}
	}
	return list
}

// watch attaches again after the keeper died, and starts another in the same U0 where
// nobody else does. With no client it begins by attaching.
func (n *network) watch(client *slirp.Client) {
	n.mu.Lock()
	n.again = true
	n.mu.Unlock()
	for {
		if client != nil {
			client.Wait()
		}
		n.mu.Lock()
		n.client = nil // the connection is over: there is none to hand on
		n.mu.Unlock()
		lost := time.Now()
		for {
			n.mu.Lock()
			gone := n.gone
			n.mu.Unlock()
			if gone {
				return
			}
			next, attached, err := n.connect()
			if err == nil {
				if n.changed != nil {
					n.changed(attached) // before it counts as calm: the next program of ours shall know
				}
				if n.keep(next, attached) != nil {
					return
				}
				client = next
				break
			}
			if errors.Is(err, slirp.ErrNoKeeper) && n.revive() == nil {
				continue
			}
			time.Sleep(nextKnock(time.Since(lost)))
		}
	}
}

// nextKnock is the wait before the next try; away is how long there has been no
// keeper. Another shim starts one within 0.1 s, nearly always, so the first knocks come
// soon; at random, for hundreds of shims began at the same moment.
func nextKnock(away time.Duration) time.Duration {
	most := time.Second
	if away < 5*time.Second {
		most = max(20*time.Millisecond, min(away/2, 80*time.Millisecond))
	}
	return most/2 + rand.N(most/2)
}

// revive starts a keeper where none is.
func (n *network) revive() error {
	n.mu.Lock()
	runtime, n0 := n.runtime, n.n0
	n.mu.Unlock()
	if n.keeper.Program == "" {
		return slirp.ErrNotYet // of a container that was started by an older rc
	}
	client, err := slirp.ReviveKeeper(runtime, &slirp.Birth{Program: n.keeper.Program, N0: n0, Path: n.keeper.Path})
	if err == nil {
		client.Close()
	}
	return err
}

func (n *network) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = true
	if n.client != nil {
		n.client.Close()
	}
	// N0 stays, for the next life by policy: it may be the only thing that holds it.
}

// lendN0 is a copy of N0's descriptor; nil where there is none.
func (n *network) lendN0() *os.File {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n0 == nil {
		return nil
	}
	fd, err := unix.FcntlInt(n.n0.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "n0")
}

// calm returns the connection while it stands: nil while the container has to be
// attached again. It cannot end before the lock is given back.
func (n *network) calm() (client *slirp.Client, release func()) {
	n.mu.Lock()
	return n.client, n.mu.Unlock
}
