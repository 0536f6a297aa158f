package forward

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Exit are descriptors of N0's by which an Outbound is asked and answers; bridge.Out says
// what each does. -1: not there. An Outbound owns them.
type Exit struct{ Tun, Listen4, Listen6, Pass int }

// Outbound carries what containers open by TCP to the world, ports the other way round:
//
//	container ── SYN ──► tun ──► call: connect(2), from the host's namespace
//	                              │ refused: RST; unreachable: ICMP; no room: on to slirp4netns
//	                              ▼ it works
//	          ◄─ SYN,ACK ── the SYN once more, into the tun: TCP is the kernel's, of N0
//	          ─── ACK ────► accepted by a listener there ──► relay, with the host's socket
//
// So what connect(2) says inside is what it says outside. It is one goroutine, which
// sleeps while nobody asks.
type Outbound struct {
	poller
	exit   Exit
	closed atomic.Bool
	done   chan struct{}

	// The goroutine's own.
	buffer  [2048]byte
	calls   map[route]*call
	dialing map[int32]*call     // those of calls that wait for the host's side
	passed  map[route]time.Time // SYNs that went on to slirp4netns, with their last
	ticking bool

	mu      sync.Mutex // of callers, and what they count
	callers map[netip.Addr]*caller
}

// caller is one address of a container.
type caller struct {
	o       *Outbound
	address netip.Addr
	pending int // calls
	open    int // pairs
}

// NewOutbound begins to carry. With an error the descriptors are the caller's still.
func NewOutbound(e Exit) (*Outbound, error) {
	o := &Outbound{exit: e, done: make(chan struct{}), calls: map[route]*call{}, dialing: map[int32]*call{},
		passed: map[route]time.Time{}, callers: map[netip.Addr]*caller{}}
	if err := o.poller.open(); err != nil {
		return nil, err
	}
	err := o.add(e.Tun, unix.EPOLLIN)
	for _, fd := range []int{e.Listen4, e.Listen6} {
		if err == nil && fd >= 0 {
			if err = prepare(fd, within); err == nil {
				err = o.add(fd, unix.EPOLLIN)
			}
		}
	}
	if err != nil {
		o.poller.close()
		return nil, err
	}
	go o.run()
	return o, nil
}

// Both sockets of a connection are set up so; what a listener accepts inherits it. If the
// keeper is killed both end by RST (prepare), and nobody takes it for a whole answer;
// urgent data is carried as any other, where it would be lost (tcp(7), SO_OOBINLINE).
//
// Of a container that vanished we know soon. Of the world we ask after two hours only
// (tcp(7), tcp_keepalive_time): who sleeps or is offline for a while is not to be cut off.
var (
	outside = [][3]int{{unix.SOL_TCP, unix.TCP_NODELAY, 1}, {unix.SOL_SOCKET, unix.SO_OOBINLINE, 1}, {unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}}
	within  = append(outside[:3:3], [][3]int{{unix.SOL_TCP, unix.TCP_KEEPIDLE, keepIdle},
		{unix.SOL_TCP, unix.TCP_KEEPINTVL, keepInterval}, {unix.SOL_TCP, unix.TCP_KEEPCNT, keepCount}}...)
)

func prepare(fd int, options [][3]int) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o[0], o[1], o[2]); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
}

// Close gives up the descriptors and cuts all connections.
func (o *Outbound) Close() {
	if !o.closed.Swap(true) {
		o.alarm(1)
	}
	<-o.done
	o.mu.Lock()
	var all []*caller
	for _, c := range o.callers {
		all = append(all, c)
	}
	o.mu.Unlock()
	for _, c := range all {
		relay.cut(c)
	}
}

// Cut ends the connections of a container that is no longer there: its address may be
// another's soon.
func (o *Outbound) Cut(address netip.Addr) {
	o.mu.Lock()
	c := o.callers[address]
	o.mu.Unlock()
	if c != nil {
		relay.cut(c)
	}
}

// Open is the number of connections now; Pending those that are being made.
func (o *Outbound) Open() (open, pending int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, c := range o.callers {
		open, pending = open+c.open, pending+c.pending
	}
	return open, pending
}

func (o *Outbound) run() {
	defer close(o.done)
	for !o.closed.Load() {
		events, late, err := o.wait()
		if err != nil {
			break
		}
		if late {
			o.tick(time.Now())
		}
		for _, e := range events {
			switch int(e.Fd) {
			case o.exit.Tun:
				o.hear()
			case o.exit.Listen4, o.exit.Listen6:
				o.accept(int(e.Fd))
			default:
				if c := o.dialing[e.Fd]; c != nil {
					o.outcome(c)
				}
			}
		}
	}
	for _, c := range o.calls {
		o.forget(c)
	}
	for _, fd := range []int{o.exit.Tun, o.exit.Listen4, o.exit.Listen6, o.exit.Pass} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
	o.poller.close()
}

// hear reads what containers ask for.
func (o *Outbound) hear() {
	for range 64 { // then others have their turn
		n, err := unix.Read(o.exit.Tun, o.buffer[:])
		if err != nil {
			return
		}
		if r, seq, ok := parseSYN(o.buffer[:n]); ok && n <= maxSYN {
			o.ask(r, seq, o.buffer[:n])
		}
	}
}

// accept takes what the kernel of N0 has connected.
func (o *Outbound) accept(listener int) {
	for range 64 {
		fd, from, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
		case unix.EAGAIN:
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			// They wait in the queue, and we do not spin.
			time.Sleep(10 * time.Millisecond)
			return
		default: // accept(2): errors of that one connection
			continue
		}
		to, err := unix.Getsockname(fd) // it is the destination
		if err != nil {
			_ = unix.Close(fd)
			continue
		}
		if c := o.calls[route{addrOf(from), addrOf(to)}]; c != nil && c.answered {
			o.connect(c, fd)
		} else { // it came too late, and the host's side is gone
			_ = unix.Close(fd)
		}
	}
}

// tick drops every second what nobody waits for any more.
func (o *Outbound) tick(now time.Time) {
	for _, c := range o.calls {
		if c.over(now) {
			o.forget(c)
		}
	}
	for r, last := range o.passed {
		if now.Sub(last) > passedLife {
			delete(o.passed, r)
		}
	}
	o.ticking = len(o.calls)+len(o.passed) > 0
	if o.ticking {
		o.alarm(time.Second)
	} else {
		o.alarm(0)
	}
	if o.closed.Load() { // between the two alarms
		o.alarm(1)
	}
}

func (o *Outbound) startTicking() {
	if !o.ticking {
		o.ticking = true
		o.alarm(time.Second)
	}
	if o.closed.Load() {
		o.alarm(1)
	}
}
