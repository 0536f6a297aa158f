package keeper

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/internal/unwind"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
)

// attachment is the network of one container: its part of the bridge networks, or a
// slirp4netns or pasta of its own, and its ports.
type attachment struct {
	keeper   *keeper
	networks *networks
	id       string
	target   *target
	ports    *published
	wires    *wires // of bridge networks, else nil

	// Of a stack of its own:
	mode  mode
	side  bool     // it is not the way out, but leads to the host's loopback only
	sock  *os.File // in the network namespace
	pasta *pasta   // in the place of slirp4netns
	note  string
	marks *trace.Log // of the request that made it

	building sync.Mutex // held while it is attached, changed or closed

	mu     sync.Mutex
	slirp  *running
	closed bool
	quit   chan struct{}
}

const attachOp = "attach the network"

// attach owns netns and userns, and borrows n0, which may be nil.
func (k *keeper) attach(r *slirp.Attach, marks *trace.Log, netns, userns, n0 *os.File) (*attachment, *slirp.Attached, error) {
	var undo unwind.Stack
	defer undo.Run()
	undo.Push(func() { _ = netns.Close(); _ = userns.Close() })
	if err := checkRequest(r); err != nil {
		return nil, nil, hint.New(attachOp, err, "")
	}
	check := marks.Begin("check whose namespaces they are")
	t, err := openTarget(r.PID, netns, userns)
	check.End()
	if err != nil {
		return nil, nil, hint.New(attachOp, err, "")
	}
	undo.Release() // t owns them
	a := &attachment{keeper: k, networks: k.networks, id: r.ID, target: t, marks: marks, quit: make(chan struct{})}
	a.building.Lock()
	defer a.building.Unlock()
	if before := k.commons.claim(a); before != nil {
		before.close() // its own connection ends late; the ports are needed now
	}
	got, err := a.build(r, n0)
	if err != nil {
		a.end()
		return nil, nil, err
	}
	return a, got, nil
}

// build attaches; after an error, end takes away what is there.
func (a *attachment) build(r *slirp.Attach, n0 *os.File) (*slirp.Attached, error) {
	var err error
	// Ports first: they are what fails, and listening takes no time.
	listen := publish
	if r.Again {
		listen = publishAgain
	}
	if a.ports, err = listen(owner(r), a.target.netns, r.Ports); err != nil {
		return nil, err
	}
	if err := a.connect(r, n0); err != nil {
		return nil, err
	}
	got, at, err := a.describe()
	if err != nil {
		return nil, err
	}
	a.ports.serve(at)
	a.ports.tell(got)
	return got, nil
}

// connect brings the container into a network.
func (a *attachment) connect(r *slirp.Attach, n0 *os.File) error {
	if r.Bridged() {
		err := a.bridge(r, n0)
		if err == nil || !r.Fallback || !errors.Is(err, bridge.ErrNoFilter) && !errors.Is(err, bridge.ErrReadOnly) {
			return err
		}
		a.note = a.keeper.commons.noteFallback(err)
	}
	return a.alone(r)
}

// alone starts a stack for this container only.
func (a *attachment) alone(r *slirp.Attach) (err error) {
	a.mode = mode{hostLoopback: r.HostLoopback, ipv6: r.IPv6 || hostIPv6()}
	if a.sock, err = socketIn(a.target.netns); err != nil {
		return hint.New(attachOp, err, "")
	}
	if r.Driver == slirp.DriverPasta {
		if a.pasta, err = a.keeper.newPasta(r); err != nil {
			return err
		}
	}
	a.slirp, err = a.start()
	return err
}

// beside starts a slirp4netns that leads to the host's loopback, in a container on
// bridge networks.
func (a *attachment) beside() (err error) {
	a.mode, a.side = mode{hostLoopback: true}, true
	if a.sock, err = socketIn(a.target.netns); err != nil {
		return hint.New(attachOp, err, "")
	}
	a.slirp, err = a.start()
	return err
}

// describe is the network that the container has now, and where its services are.
func (a *attachment) describe() (*slirp.Attached, inside, error) {
	switch {
	case a.wires != nil:
		got, at := a.wires.describe()
		return got, at, nil
	case a.pasta != nil:
		return a.pasta.describe(a)
	}
	return &slirp.Attached{
		IP: slirp.Address, Prefix: slirp.PrefixLength, Gateway: slirp.Gateway,
		DNS: []string{slirp.Resolver}, MTU: slirp.MTU, IPv6: a.mode.ipv6, Note: a.note,
	}, insideSlirp(), nil
}

// owner is what messages call the container.
func owner(r *slirp.Attach) string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID[:min(12, len(r.ID))]
}

// checkRequest bounds what a message may ask for.
func checkRequest(r *slirp.Attach) error {
	if len(r.ID) == 0 || len(r.ID) > 128 {
		return fmt.Errorf("a container ID of %d bytes", len(r.ID))
	}
	switch r.Driver {
	case "", slirp.DriverBridge, slirp.DriverSlirp, slirp.DriverPasta:
	default:
		return fmt.Errorf("no network is called %q", r.Driver)
	}
	if len(r.Endpoints) > slirp.MaxEndpoints {
		return fmt.Errorf("%d networks, %d at most", len(r.Endpoints), slirp.MaxEndpoints)
	}
	if len(r.Ports) > slirp.MaxPorts {
		return fmt.Errorf("%d ports, %d at most", len(r.Ports), slirp.MaxPorts)
	}
	for _, p := range r.Ports {
		if err := p.Check(); err != nil {
			return err
		}
	}
	return nil
}

// start starts slirp4netns and configures its tap. One whose predecessor is just
// ending (its keeper was killed) finds the tap busy and waits for it to go.
func (a *attachment) start() (*running, error) {
	if a.pasta != nil {
		return a.pasta.start(a.target)
	}
	for end := time.Now().Add(time.Second); hasTap(a.sock) && time.Now().Before(end); {
		time.Sleep(2 * time.Millisecond)
	}
	r, err := a.networks.start(a.target.pid, a.mode)
	if err != nil {
		return nil, err
	}
	// Alive now means alive all the time: the pid was that of our container when
	// slirp4netns joined its namespaces, and of nobody else.
	err = a.target.alive()
	if err == nil {
		err = configureTap(a.sock, !a.side)
	}
	if err != nil {
		r.end()
		return nil, hint.New(attachOp, err, "")
	}
	return r, nil
}

// How often, and after which pauses, a slirp4netns that died is replaced. The
// last pause is repeated; a life longer than fresh starts the count anew.
var (
	restartPauses = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, time.Second, 3 * time.Second}
	freshLife     = time.Minute
)

// watch replaces a slirp4netns that dies while the container runs, and calls
// lost when it will not live.
func (a *attachment) watch(lost func()) {
	if a.slirp == nil {
		return // the bridges' is not ours
	}
	go func() {
		if !a.keepRunning() {
			lost()
		}
	}()
}

// keepRunning returns true when the attachment was closed.
func (a *attachment) keepRunning() bool {
	tries, born := 0, time.Now()
	for {
		select {
		case <-a.quit:
			return true
		case <-a.slirp.output.ended:
		}
		if time.Since(born) > freshLife {
			tries = 0
		}
		if tries == len(restartPauses) {
			return false
		}
		select {
		case <-a.quit:
			return true
		case <-time.After(restartPauses[tries]):
		}
		tries++
		born = time.Now()
		if !a.replace() {
			return a.isClosed()
		}
	}
}

// replace swaps the dead slirp4netns for a new one, unless the attachment is
// being closed. An error of the start counts as a life: the next try follows.
func (a *attachment) replace() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed || a.target.alive() != nil {
		return false
	}
	a.slirp.end()
	r, err := a.start()
	if err != nil {
		a.slirp = &running{output: &output{ended: closedChannel}, stop: func() error { return nil }}
		return true
	}
	a.slirp = r
	return true
}

var closedChannel = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (a *attachment) isClosed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.closed
}

// close ends the ports and slirp4netns, whose tap goes with it. It may be called
// again.
func (a *attachment) close() {
	a.building.Lock()
	defer a.building.Unlock()
	if !a.isClosed() {
		a.end()
	}
}

// end is close with the lock held.
func (a *attachment) end() {
	close(a.quit)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.ports != nil {
		a.ports.close()
	}
	if a.slirp != nil {
		a.slirp.end()
	}
	if a.sock != nil {
		_ = a.sock.Close()
	}
	if a.wires != nil {
		a.wires.end(a)
		return
	}
	a.keeper.commons.release(a)
	a.target.close()
}

// target is the process whose namespaces slirp4netns joins.
type target struct {
	pid           int
	pidfd         *os.File
	netns, userns *os.File
}

// openTarget checks what a message claims: that the descriptors are a network
// namespace and the user namespace which owns it, not ours, and that both are
// those of process pid. The driver takes a pid and nothing else; its pidfd,
// asked again afterwards, makes sure that the pid was not recycled meanwhile.
func openTarget(pid int, netns, userns *os.File) (*target, error) {
	if err := checkOwner(netns, userns); err != nil {
		return nil, err
	}
	pidfd, err := linux.OpenPidfd(pid)
	if err != nil {
		return nil, err
	}
	for _, ns := range []struct {
		kind int
		f    *os.File
	}{{unix.CLONE_NEWNET, netns}, {unix.CLONE_NEWUSER, userns}} {
		if err := sameNamespace(pid, ns.kind, ns.f); err != nil {
			_ = pidfd.Close()
			return nil, err
		}
	}
	return &target{pid, pidfd, netns, userns}, nil
}

// checkOwner also refuses U0 itself: the kernel does not show the owner of a
// namespace that is not below the caller's own.
func checkOwner(netns, userns *os.File) error {
	if kind, err := linux.NamespaceKind(netns); err != nil || kind != unix.CLONE_NEWNET {
		return fmt.Errorf("the first descriptor is not a network namespace: %w", errors.Join(err, unix.EINVAL))
	}
	if kind, err := linux.NamespaceKind(userns); err != nil || kind != unix.CLONE_NEWUSER {
		return fmt.Errorf("the second descriptor is not a user namespace: %w", errors.Join(err, unix.EINVAL))
	}
	owner, err := linux.OwningUserNS(netns)
	if err != nil {
		return err
	}
	defer owner.Close()
	var ids [3]linux.NamespaceID
	for i, f := range []*os.File{owner, userns} {
		if ids[i], err = linux.NamespaceOf(f); err != nil {
			return err
		}
	}
	if ids[2], err = linux.NamespaceOfProcess(0, unix.CLONE_NEWUSER); err != nil {
		return err
	}
	if ids[0] != ids[1] || ids[0] == ids[2] {
		return fmt.Errorf("the network namespace is not owned by the sandbox's user namespace: %w", unix.EPERM)
	}
	return nil
}

func sameNamespace(pid, kind int, f *os.File) error {
	a, err := linux.NamespaceOfProcess(pid, kind)
	if err != nil {
		return err
	}
	if b, err := linux.NamespaceOf(f); err != nil || a != b {
		return fmt.Errorf("process %d is not in that %s namespace: %w", pid, linux.NamespaceName(kind), errors.Join(err, unix.ESRCH))
	}
	return nil
}

// alive returns ESRCH once the process has ended.
func (t *target) alive() error {
	poll := []unix.PollFd{{Fd: int32(t.pidfd.Fd()), Events: unix.POLLIN}}
	if n, _ := unix.Poll(poll, 0); n > 0 {
		return fmt.Errorf("the container's process %d has ended: %w", t.pid, unix.ESRCH)
	}
	return nil
}

func (t *target) close() {
	_ = t.pidfd.Close()
	_ = t.netns.Close()
	_ = t.userns.Close()
}
