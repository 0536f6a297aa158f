package engine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/slirp"
)

// subtree is the part of the cgroup tree in which this user's containers get
// their groups: the one in which we stand, where it is ours, else the scope in
// which the keeper stands. Without one the error says why and what to type.
func (e *Engine) subtree() (*cgroup.Subtree, error) {
	look := e.looked
	if e.looked = nil; look == nil {
		look = lookAround()
	}
	s, err := look.found, look.err
	if err == nil {
		return s, nil
	}
	h, herr := e.enter()
	if herr != nil {
		return nil, err
	}
	if s, uerr := h.unit(); !errors.Is(uerr, errNoUnit) {
		return s, uerr
	}
	return h.subtree(err)
}

// look is what the cgroup tree around us offers.
type look struct {
	found *cgroup.Subtree
	err   error
}

func lookAround() *look {
	s, err := cgroup.Find()
	return &look{s, err}
}

// lookAhead is for the next call of subtree: a start has nothing else to do while the
// keeper answers.
func (l *launch) lookAhead() error {
	if !l.fresh || l.opts.Cgroups == "disabled" || l.opts.Cgroups == "split" {
		return nil
	}
	defer trace.Begin("find the place in the cgroup tree").End()
	l.e.looked = lookAround()
	return nil
}

// errNoUnit is a process outside of every unit that was delegated.
var errNoUnit = errors.New("no unit of ours")

// unit is the subtree of a unit of the user's systemd in which we stand, where that
// was delegated: then the container belongs there, and ends with it. errNoUnit where
// it was not; a question without an answer is neither, since a container that is
// put elsewhere on a guess outlives its unit.
func (h *home) unit() (*cgroup.Subtree, error) {
	group, inode := cgroup.OwnUnit()
	if group == "" {
		return nil, errNoUnit
	}
	yes, err := h.keeper.Delegated(group, inode)
	if err != nil {
		return nil, hint.New("ask systemd whether "+group+" was delegated", hint.Reason(err), "try again, or say so: --cgroups=split")
	}
	if !yes {
		return nil, errNoUnit
	}
	return cgroup.FindDelegated(group)
}

// subtreeOfKeeper is subtree for whoever only tidies: no keeper is started for it.
func (e *Engine) subtreeOfKeeper() (*cgroup.Subtree, error) {
	s, err := cgroup.Find()
	if err == nil {
		return s, nil
	}
	e.mu.Lock()
	h := e.home
	e.mu.Unlock()
	if h == nil {
		dir, rerr := e.Store.Runtime()
		if rerr != nil {
			return nil, err
		}
		if h, rerr = knock(dir); rerr != nil {
			return nil, err
		}
		defer h.close()
	}
	return h.subtree(err)
}

// subtree is the keeper's; none is why the caller has no own.
func (h *home) subtree(none error) (*cgroup.Subtree, error) {
	if h.group == "" {
		return nil, both(none, h.noGroup)
	}
	s, err := cgroup.At(h.group)
	if err != nil {
		return nil, err
	}
	if h.far = s.Far(); h.far {
		if err := h.likeUs(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// both is one refusal of two reasons: why there is no group of ours where we stand,
// and why the keeper has none either. What to type is the second's, where it knows.
func both(here, keeper error) error {
	var h, k *hint.Error
	if !errors.As(here, &h) || !errors.As(keeper, &k) || k.Fix == "" {
		return here
	}
	fix := k.Fix
	if strings.Contains(h.Fix, "Delegate=yes\\n") { // of a unit, which can do without
		fix += "; or, to keep the container in its unit: " + h.Fix
	}
	return hint.New(h.Op, fmt.Errorf("%w, and %w", h.Err, k.Err), fix)
}

// The lines of /proc/PID/status that a child of the keeper's would have otherwise
// than one of ours, and that nobody can change for it: a group that is not mapped
// in U0 cannot be set there, and a filter not be taken off or put on by others.
var inherited = []string{"Groups:", "NoNewPrivs:", "Seccomp_filters:"}

// likeUs refuses a keeper whose children would be different from ours.
func (h *home) likeUs() error {
	const op = "start the container in a cgroup of its own"
	const fix = "end all containers, wait until the keeper is gone (ps -C rc-net), and run the command again from here"
	ours, err := statusLines("self")
	if err != nil {
		return hint.New(op, err, "mount /proc: mount -t proc proc /proc")
	}
	theirs, err := statusLines(strconv.Itoa(h.pid))
	if err != nil {
		return hint.New(op, err, fix)
	}
	if different := h.namespaces.Different(slirp.OwnNamespaces()); len(different) > 0 {
		return hint.Newf(op, fix, "the keeper, which has to start it, lives in other namespaces of the host: %s", strings.Join(different, ", "))
	}
	for _, key := range inherited {
		if ours[key] != theirs[key] {
			return hint.Newf(op, fix, "the keeper, which has to start it, was born in a login with other rights: %s %s there, %s here",
				strings.TrimSuffix(key, ":"), quoted(theirs[key]), quoted(ours[key]))
		}
	}
	return nil
}

func quoted(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func statusLines(pid string) (map[string]string, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return nil, err
	}
	lines := map[string]string{}
	for line := range strings.Lines(string(text)) {
		for _, key := range inherited {
			if rest, ok := strings.CutPrefix(line, key); ok {
				lines[key] = strings.TrimSpace(rest)
			}
		}
	}
	return lines, nil
}

// settled takes from a greeting where the keeper stands.
func (h *home) settled(w *slirp.Welcome) {
	h.pid, h.group, h.namespaces = w.PID, w.Group, w.Namespaces
	if w.NoGroup != nil {
		h.noGroup = w.NoGroup.Error()
	}
}
