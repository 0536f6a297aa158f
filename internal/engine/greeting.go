package engine

import (
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// greetAhead has the keeper, where one lives, answer its greeting while rc looks for
// the image: the answer takes 0.3 ms, and the shim cannot be started without. What is
// wrong is said by enterFor.
func (e *Engine) greetAhead(hello slirp.Hello) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.home != nil || e.greeted != nil {
		return
	}
	dir, err := e.Store.Runtime()
	if err != nil {
		return
	}
	client, err := slirp.Dial(dir)
	if err != nil {
		return
	}
	if client.Say(hello) != nil {
		client.Close()
		return
	}
	e.greeted = client
}

// greet reaches the keeper, which is started if need be, and takes its welcome, or that
// to the greeting that was sent ahead. The lock is held.
func (e *Engine) greet(dir string, hello slirp.Hello) (*home, error) {
	client := e.greeted
	e.greeted = nil
	if client != nil {
		return welcome(client)
	}
	client, err := slirp.Dial(dir)
	if err != nil {
		if client, err = e.startKeeper(dir); err != nil {
			return nil, err
		}
	}
	if err := client.Say(hello); err != nil {
		client.Close()
		return nil, err
	}
	return welcome(client)
}

// welcome takes the answer to a greeting. It owns client.
func welcome(client *slirp.Client) (*home, error) {
	w, ns, err := client.Welcome()
	if err != nil {
		client.Close()
		return nil, err
	}
	h := &home{keeper: client, userns: ns, mapping: userns.Mapping{UID: w.UID, GID: w.GID, SingleID: w.SingleID}}
	h.settled(w)
	return h, nil
}
