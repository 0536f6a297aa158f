package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// handDown opens the subtree with the controllers need switched on for the
// groups in it. memory and pids are asked for too, for stats and OOM reports,
// but only where they cost nobody anything.
func (s *Subtree) handDown(need []string) (*dir, error) {
	top, err := openDir(s.Path)
	if err != nil {
		return nil, hint.New(finding, err, "")
	}
	have := top.fields(controlFile)
	missing := without(need, have)
	if len(missing) > 0 {
		err = s.enableFromAbove(top, missing)
	} else if wish := both(without([]string{"memory", "pids"}, have), top.fields(controllersFile)); len(wish) > 0 {
		_ = top.enable(wish) // EBUSY where processes stand in Path: stats then say less
	}
	if err != nil {
		top.close()
		return nil, err
	}
	return top, nil
}

// enableFromAbove switches controllers on in each group of ours that lacks them,
// topmost first, and in the subtree last.
func (s *Subtree) enableFromAbove(top *dir, names []string) error {
	for _, name := range names {
		if !slices.Contains(s.Controllers, name) {
			return s.whyMissing(name)
		}
	}
	for _, path := range slices.Backward(s.chain[1:]) {
		d, err := openDir(path)
		if err != nil {
			return hint.New(finding, err, "")
		}
		err = d.enable(without(names, d.fields(controlFile)))
		d.close()
		if err != nil {
			return s.whyNotEnabled(path, names, err)
		}
	}
	err := top.enable(names)
	if errors.Is(err, unix.EBUSY) && s.within && len(s.others(s.Path)) == 0 {
		if err := s.stepAside(top); err != nil {
			return err
		}
		err = top.enable(names)
	}
	if err != nil {
		return s.whyNotEnabled(s.Path, names, err)
	}
	return nil
}

// stepAside moves this process, all of its threads, into the leaf beside the
// containers' groups.
func (s *Subtree) stepAside(top *dir) error {
	host, err := s.hostLeaf(top)
	if err != nil {
		return err
	}
	defer host.close()
	if err := host.write(procsFile, strconv.Itoa(s.view.pid)); err != nil {
		return hint.New("move rc out of "+s.Path, err, "start rc in a child of that group")
	}
	// The shim, and whatever else we start, is born in the leaf as well: a child
	// stands where its parent stands (cgroup-v2.rst, "Processes").
	s.within = false
	return nil
}

func (s *Subtree) hostLeaf(top *dir) (*dir, error) {
	if err := s.make(top, hostLeaf); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, whyNoGroup(filepath.Join(s.Path, hostLeaf), err)
	}
	host, err := top.at(hostLeaf)
	if err != nil {
		return nil, hint.New("make a cgroup for rc itself", err, "")
	}
	return host, nil
}

// Inherited tells whether a child of this process is well placed where it is born:
// HostFD is nil then.
func (s *Subtree) Inherited() bool { return !s.within && !s.apart }

// HostFD opens, for CLONE_INTO_CGROUP, the leaf in which a process that outlives
// this one (the shim) should be born, so that it does not stand in the subtree
// itself and bar later limits. nil when it is well placed by inheritance.
func (s *Subtree) HostFD() (*os.File, error) {
	if s.Inherited() {
		return nil, nil
	}
	top, err := openDir(s.Path)
	if err != nil {
		return nil, hint.New(finding, err, "")
	}
	defer top.close()
	host, err := s.hostLeaf(top)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(host.fd), host.path), nil
}

// enable hands the controllers names down to the groups in d, all in one write.
func (d *dir) enable(names []string) error {
	if len(names) == 0 {
		return nil
	}
	return d.write(controlFile, "+"+strings.Join(names, " +"))
}

func without(names, drop []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(drop, n) })
}

func both(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(n string) bool { return !slices.Contains(b, n) })
}

// whyNotEnabled is for a group of ours whose processes keep it from handing
// controllers down.
func (s *Subtree) whyNotEnabled(path string, names []string, err error) error {
	op := "apply a " + strings.Join(names, ", ") + " limit"
	if !errors.Is(err, unix.EBUSY) {
		return hint.New(op, err, "")
	}
	var who []string
	for _, pid := range s.others(path) {
		who = append(who, strconv.Itoa(pid))
		// Enough to see who it is; a terminal's group can hold hundreds.
		if len(who) == 4 {
			break
		}
	}
	said := fmt.Errorf("%s cannot hand controllers down while processes stand in it (%s): %w", path, strings.Join(who, " "), unix.EBUSY)
	if unit := filepath.Base(path); strings.HasSuffix(unit, ".service") {
		return hint.New(op, said, "add DelegateSubgroup=main below Delegate= in the unit "+unit+" (systemd 254), or let rc be its only process: exec rc …")
	}
	return hint.New(op, said, "move them to a leaf: mkdir -p "+path+"/shell && for p in $(cat "+path+"/"+procsFile+"); do echo $p > "+path+"/shell/"+procsFile+"; done")
}
