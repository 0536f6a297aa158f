package keeper

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/rootless-containers/rootlesskit/v3/pkg/network"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

const (
	startLimit   = 10 * time.Second // for slirp4netns to be ready
	maxForkers   = 8
	folderPrefix = "net-" // folders of rootlesskit's port driver
)

// networks starts slirp4netns processes.
type networks struct {
	runtime  string
	hostPath string // rc's PATH
	tools    func() error

	mu    sync.Mutex
	jobs  chan *job
	alive int // forkers
	idle  int
}

// newNetworks clears what a keeper that was killed left in the runtime folder.
func newNetworks(runtimeDir, hostPath string) (*networks, error) {
	stale, err := filepath.Glob(filepath.Join(escapeGlob(runtimeDir), folderPrefix+"*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range stale {
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	n := &networks{runtime: runtimeDir, hostPath: hostPath, jobs: make(chan *job)}
	// Set before anything is executed; the folder is filled by whoever needs it first.
	if err := os.Setenv("PATH", filepath.Join(runtimeDir, toolsName)); err != nil {
		return nil, err
	}
	// iptables locks /run/xtables.lock, which is real root's (iptables(8)).
	if err := os.Setenv("XTABLES_LOCKFILE", filepath.Join(runtimeDir, "xtables.lock")); err != nil {
		return nil, err
	}
	n.tools = sync.OnceValue(func() error { _, err := makeTools(runtimeDir, hostPath); return err })
	return n, nil
}

func escapeGlob(s string) string {
	var out []rune
	for _, r := range s {
		if r == '*' || r == '?' || r == '[' || r == '\\' {
			out = append(out, '\\')
		}
		out = append(out, r)
	}
	return string(out)
}

// warm prepares what the first container would wait for, while rc is still busy
// with its own start.
func (n *networks) warm() {
	if n.tools() == nil {
		_ = n.submit(&job{mode: mode{ipv6: hostIPv6()}})
	}
}

// remove takes the files away. Only the last keeper of the folder calls it.
func (n *networks) remove() {
	_ = os.RemoveAll(filepath.Join(n.runtime, toolsName))
	_ = os.Remove(filepath.Join(n.runtime, "xtables.lock"))
}

// submit gives a job to an idle forker, or to a new one while there are few.
func (n *networks) submit(j *job) error {
	n.mu.Lock()
	if n.idle == 0 && n.alive < maxForkers {
		binary, err := slirp.LookPath(slirp.Program, n.hostPath)
		if err != nil {
			n.mu.Unlock()
			return hint.New("find the program "+slirp.Program, err,
				"install the package slirp4netns; --network=host and --network=none work without it")
		}
		n.alive++
		n.idle++
		f := &forker{binary: binary, drivers: map[mode]network.ParentDriver{}, finished: n.finished}
		go f.serve(n.jobs)
	}
	n.idle--
	n.mu.Unlock()
	n.jobs <- j
	return nil
}

func (n *networks) finished() {
	n.mu.Lock()
	n.idle++
	n.mu.Unlock()
}

// running is a live slirp4netns.
type running struct {
	output *output
	stop   func() error
}

func (r *running) end() { _ = r.stop() }

// start starts a slirp4netns for the namespaces of process pid and returns when
// it reads packets. What it said last is the error when it does not get there.
func (n *networks) start(pid int, m mode) (*running, error) {
	const op = "start slirp4netns"
	if err := n.tools(); err != nil {
		return nil, hint.New(op, err, "")
	}
	j := &job{pid: pid, mode: m, output: make(chan *output, 1), heard: make(chan struct{}), done: make(chan started, 1)}
	if err := n.submit(j); err != nil {
		return nil, err
	}
	var out *output
	var ended chan struct{}
	limit := time.After(startLimit)
	for {
		select {
		case out = <-j.output:
			ended = out.ended
		case <-ended: // died; rootlesskit would notice after up to a second
			go j.abandon()
			return nil, refusal(op, out, errors.New("it ended at once"))
		case <-limit:
			j.kill()
			go j.abandon()
			return nil, refusal(op, out, fmt.Errorf("not ready after %v", startLimit))
		case s := <-j.done:
			if out == nil && s.err == nil {
				out = <-j.output
			}
			if s.err != nil {
				return nil, refusal(op, out, s.err)
			}
			return &running{out, s.stop}, nil
		}
	}
}

// abandon waits for a start that nobody wants any more.
func (j *job) abandon() {
	if s := <-j.done; s.stop != nil {
		_ = s.stop()
	}
}

func refusal(op string, out *output, err error) error {
	if out != nil {
		if said := out.lastLine(); said != "" {
			err = fmt.Errorf("%w: %s", err, said)
		}
	}
	if e := slirp.CheckTun(); e != nil {
		return e // the usual reason, in its own words
	}
	return hint.New(op, err, "try it by hand: unshare -rn sleep 9 & slirp4netns $! tap0")
}

func hostIPv6() bool {
	data, err := os.ReadFile("/proc/net/ipv6_route")
	return err == nil && hostHasIPv6(string(data)) && unix.Access("/proc/sys/net/ipv6", unix.F_OK) == nil
}
