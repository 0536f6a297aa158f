package keeper

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
	"github.com/rc-containers/rc/slirp/forward"
)

// out is the relay of what bridged containers open to the world by TCP. It is made with
// the first way out and lives as long as the keeper; slirp4netns, which carries the
// rest, may come and go meanwhile.
type out struct {
	mu    sync.Mutex
	relay *forward.Outbound // nil: there is none
	why   error             // then
}

// openOut is for tests of kernels that cannot.
var openOut = (*bridge.World).OpenOut

// lead opens the relay, unless it is there. Where the kernel cannot do it everything
// goes by slirp4netns, and inspect says why.
func (o *out) lead(w *bridge.World, ipv6 bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.relay != nil {
		return
	}
	fds, err := openOut(w, ipv6)
	if err != nil {
		o.why = err
		return
	}
	r, err := forward.NewOutbound(forward.Exit(*fds))
	if err != nil {
		fds.Close()
		o.why = err
		return
	}
	if err := w.Lead(fds); err != nil {
		r.Close()
		o.why = err
		return
	}
	o.relay, o.why = r, nil
}

// way says what carries TCP to the world.
func (o *out) way() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.relay != nil:
		return slirp.OutRelay
	case o.why != nil:
		return fmt.Sprintf("%s (%v)", slirp.OutSlirp, o.why)
	}
	return slirp.OutSlirp
}

// cut ends what a container has open that has left an address.
func (o *out) cut(addresses ...netip.Addr) {
	o.mu.Lock()
	r := o.relay
	o.mu.Unlock()
	for _, a := range addresses {
		if r != nil && a.IsValid() {
			r.Cut(a)
		}
	}
}
