package bridge

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel says is there may not be at work yet. settleSteps bounds how long we
// wait for it; a container can take its own end down, and harms only itself.
const (
	settleSteps = 200
	settleStep  = 50 * time.Microsecond
)

// settle waits until a link carries packets. That it is up and has somebody at the
// other end is heeded by a worker of the kernel (net/core/link_watch.c); until then it
// drops what it should send or take. Since Linux 6.8 the question itself has it done;
// before, the worker takes some tenths of a millisecond. What comes first is done in the
// same system call as the first question.
func (r *rtnl) settle(index int, first ...request) error {
	for range settleSteps {
		got, err := r.exchange(append(first, request{"look at the interface", unix.RTM_GETLINK, 0, ifinfomsg(index, false), nil}))
		if err != nil {
			return err
		}
		if l, ok := parseLink(got[len(got)-1]); ok && l.up {
			break
		}
		first = nil
		pause()
	}
	return nil
}

// pause is shorter than what Go's timers can do, and the World's thread has nothing
// else to do.
func pause() {
	_ = unix.Nanosleep(&unix.Timespec{Nsec: settleStep.Nanoseconds()}, nil)
}

// settleAddress waits until an address of IPv6 is at work: its local route, and the
// group in which it is asked for, are made by a worker even if no double is looked for
// (addrconf_dad_work of net/ipv6/addrconf.c).
func (r *rtnl) settleAddress(a netip.Addr) {
	for range settleSteps {
		got, err := r.get(getRoute(a))
		if err == nil && len(got) == 1 && len(got[0].Data) >= unix.SizeofRtMsg && got[0].Data[7] == unix.RTN_LOCAL {
			break
		}
		pause()
	}
}
