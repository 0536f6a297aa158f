package keeper

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/rootless-containers/rootlesskit/v3/pkg/network"
	"github.com/rootless-containers/rootlesskit/v3/pkg/network/slirp4netns"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// forker is a thread that starts slirp4netns. rootlesskit asks the kernel to
// kill it when its parent dies, and to the kernel the parent is the THREAD that
// forked (PR_SET_PDEATHSIG(2const)): Go may end an idle thread at any time, so
// these are locked and live as long as the keeper.
type forker struct {
	binary   string
	finished func()                        // called when it is free again
	drivers  map[mode]network.ParentDriver // each made once: it costs a `slirp4netns --help`

	mu      sync.Mutex
	current *job
}

// mode is what the driver of a container depends on.
type mode struct {
	hostLoopback, ipv6 bool
	cidr               netip.Prefix // zero: slirp4netns's own
}

// job is one start. output comes before done, if slirp4netns was executed at all.
type job struct {
	pid    int // of the container's init: slirp4netns joins its user and network namespaces
	mode   mode
	output chan *output
	heard  chan struct{} // closed when output was sent
	done   chan started

	mu     sync.Mutex
	thread int
	before map[int]bool // children of the thread when it began
}

type started struct {
	stop func() error // kills it and reaps it; nil with an error
	err  error
}

func (f *forker) serve(jobs <-chan *job) {
	runtime.LockOSThread()
	for j := range jobs {
		f.mu.Lock()
		f.current = j
		f.mu.Unlock()
		f.run(j)
		f.finished()
	}
}

func (f *forker) run(j *job) {
	driver, err := f.driver(j.mode)
	if j.done == nil {
		return // only to have the driver made
	}
	if err != nil {
		j.done <- started{err: err}
		return
	}
	j.begin()
	_, stop, err := driver.ConfigureNetwork(j.pid, "", "")
	if err != nil {
		_ = stop()
		j.done <- started{err: err}
		return
	}
	// The copying of its output began with the process, but as a goroutine, which
	// may be late. It must have found this job before the next one takes its place.
	<-j.heard
	j.done <- started{stop: stop}
}

// driver makes the driver of a mode. Sandbox and seccomp are never off:
// slirp4netns parses packets that the payload makes.
func (f *forker) driver(m mode) (network.ParentDriver, error) {
	if d := f.drivers[m]; d != nil {
		return d, nil
	}
	var ipnet *net.IPNet
	if m.cidr.IsValid() {
		ipnet = &net.IPNet{IP: m.cidr.Addr().AsSlice(), Mask: net.CIDRMask(m.cidr.Bits(), 32)}
	}
	d, err := slirp4netns.NewParentDriver(f, f.binary, slirp.MTU, ipnet, slirp.Device,
		!m.hostLoopback, "", true, true, m.ipv6)
	if err == nil {
		f.drivers[m] = d
	}
	return d, err
}

// ReadFrom takes the output of the slirp4netns that was just started until it
// ends. The driver keeps the process to itself, and this is how we learn that it
// died: os/exec copies its output here and reads the end of file.
func (f *forker) ReadFrom(r io.Reader) (int64, error) {
	f.mu.Lock()
	j := f.current
	f.mu.Unlock()
	o := &output{ended: make(chan struct{})}
	j.output <- o
	close(j.heard)
	return o.drain(r)
}

// Write makes it an io.Writer; os/exec never gets to it.
func (f *forker) Write(p []byte) (int, error) { return len(p), nil }

// output is the last words of a slirp4netns.
type output struct {
	ended chan struct{} // closed when it has no output open any more: it died

	mu   sync.Mutex
	text []byte
}

const maxOutput = 2 << 10 // bytes kept

func (o *output) drain(r io.Reader) (int64, error) {
	defer close(o.ended)
	var total int64
	buf := make([]byte, 512)
	for {
		n, err := r.Read(buf)
		total += int64(n)
		o.mu.Lock()
		o.text = append(o.text, buf[:n]...)
		o.text = o.text[max(0, len(o.text)-maxOutput):]
		o.mu.Unlock()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// lastLine is what it said in the end.
func (o *output) lastLine() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(o.text), []byte("\n"))
	return string(lines[len(lines)-1])
}

func (j *job) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.thread = unix.Gettid()
	j.before = children(j.thread)
}

// kill ends what the job has started so far: the driver waits for a slirp4netns
// that hangs for ever, and gives no handle to it before.
func (j *job) kill() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for pid := range children(j.thread) {
		if !j.before[pid] {
			_ = unix.Kill(pid, unix.SIGKILL) // our own child, not reaped before the driver returns
		}
	}
}

// children are the processes that a thread forked (proc_pid_task(5), children).
func children(thread int) map[int]bool {
	set := map[int]bool{}
	data, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", thread))
	for _, f := range bytes.Fields(data) {
		if pid, err := strconv.Atoi(string(f)); err == nil {
			set[pid] = true
		}
	}
	return set
}
