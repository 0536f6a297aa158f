package shim

import (
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/slirp"
)

// network is the container's attachment to the keeper. It lives as long as the
// connection: when the shim dies, the keeper ends slirp4netns and the ports.
type network struct {
	runtime string
	attach  slirp.Attach

	mu     sync.Mutex
	client *slirp.Client
	gone   bool // the container has ended: do not attach again
}

// up attaches the container and watches over the attachment.
func (n *network) up() (*slirp.Attached, error) {
	client, attached, err := n.connect()
	if err != nil {
		return nil, err
	}
	go n.watch(client)
	return attached, nil
}

func (n *network) connect() (*slirp.Client, *slirp.Attached, error) {
	netns, err := linux.OpenNamespace(n.attach.PID, unix.CLONE_NEWNET)
	if err != nil {
		return nil, nil, err
	}
	defer netns.Close()
	user, err := linux.OpenNamespace(n.attach.PID, unix.CLONE_NEWUSER)
	if err != nil {
		return nil, nil, err
	}
	defer user.Close()
	client, err := slirp.Dial(n.runtime)
	if err != nil {
		return nil, nil, err
	}
	attached, err := client.Attach(n.attach, netns, user)
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone {
		client.Close()
		return nil, nil, errors.New("the container has ended")
	}
	n.client = client
	n.attach.Ports = attached.Ports // a port that was chosen stays the same
	return client, attached, nil
}

// watch attaches again after the keeper died: the next rc command starts a new
// one, in the same U0. Polling costs one failed connect a second, and only then.
// With no client it begins by attaching.
func (n *network) watch(client *slirp.Client) {
	for {
		if client != nil {
			client.Wait()
		}
		n.mu.Lock()
		n.client = nil // the connection is over: there is none to hand on
		n.mu.Unlock()
		for {
			n.mu.Lock()
			gone := n.gone
			n.mu.Unlock()
			if gone {
				return
			}
			next, _, err := n.connect()
			if err == nil {
				client = next
				break
			}
			time.Sleep(time.Second)
		}
	}
}

func (n *network) down() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = true
	if n.client != nil {
		n.client.Close()
	}
}

// calm returns the connection while it stands: nil while the container has to be
// attached again. It cannot end before the lock is given back.
func (n *network) calm() (client *slirp.Client, release func()) {
	n.mu.Lock()
	return n.client, n.mu.Unlock
}
