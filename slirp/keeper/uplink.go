package keeper

import (
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
)

// uplink is the one slirp4netns that carries what all bridge networks send to the
// world. It is started with the first container that may go there, and lives as long
// as the keeper: starting it is most of what a first container waits for.
type uplink struct {
	networks *networks
	out      out // carries TCP, where it can

	mu      sync.Mutex
	attempt *attempt // of the first start: under way, or done
}

// attempt is a start; err is set when done is closed.
type attempt struct {
	done chan struct{}
	err  error
}

// want has the uplink started and returns at once; wait returns when it works, with
// the error of the first start. The next want tries again after one that failed.
func (u *uplink) want(w *bridge.World) (wait func() error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.attempt == nil {
		at := &attempt{done: make(chan struct{})}
		u.attempt = at
		go u.run(w, at)
	}
	at := u.attempt
	return func() error {
		<-at.done
		return at.err
	}
}

// run starts it, and another one whenever it dies, without end: containers live on
// meanwhile and reach each other.
func (u *uplink) run(w *bridge.World, first *attempt) {
	r, err := u.start(w)
	if err != nil {
		first.err = err
		u.mu.Lock()
		u.attempt = nil
		u.mu.Unlock()
		close(first.done)
		return
	}
	close(first.done)
	for tries, born := 0, time.Now(); ; {
		if r != nil {
			<-r.output.ended
			r.end()
		}
		if time.Since(born) > freshLife {
			tries = 0
		}
		time.Sleep(restartPauses[min(tries, len(restartPauses)-1)])
		tries++
		born = time.Now()
		if r, err = u.start(w); err != nil {
			r = nil
		}
	}
}

// start makes the tap and everything that leads to it.
func (u *uplink) start(w *bridge.World) (*running, error) {
	way := w.WayOut(hostRoutes(), hostIPv6())
	m := mode{ipv6: way.IPv6}
	if way.Prefix != bridge.DefaultWay.Prefix { // else its driver is the one that warm made
		m.cidr = way.Prefix
	}
	led := make(chan struct{})
	go func() { // while slirp4netns starts
		defer close(led)
		u.out.lead(w, way.IPv6)
	}()
	defer func() { <-led }()
	if err := u.clear(w); err != nil {
		return nil, err
	}
	r, err := u.networks.start(w.TID(), m)
	if err != nil {
		return nil, err
	}
	if err := w.Uplink(way); err != nil {
		r.end()
		return nil, err
	}
	return r, nil
}

// clear waits for the tap of a slirp4netns whose keeper was killed: it dies with it,
// a moment later.
func (u *uplink) clear(w *bridge.World) error {
	sock, err := socketIn(w.File())
	if err != nil {
		return err
	}
	defer sock.Close()
	for end := time.Now().Add(time.Second); hasTap(sock) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}

// hostRoutes are the networks that the host reaches by a route of their own.
func hostRoutes() []netip.Prefix {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil
	}
	return slirp.Routes4(string(table))
}
