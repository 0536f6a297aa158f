package cgroup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

var errMoved = errors.New("a folder changed its place while it was read")

// level is one folder on the way down to the current one.
type level struct {
	name    string   // of the folder, in its parent
	inode   uint64   // of the parent, to recognise it on the way back
	pending []string // folders in the parent that are still to be visited
}

// walk visits every group below d, the innermost first, and calls leave with its
// parent when it is done with one. A payload that was given its cgroup chose the
// names and the depth: so no path is ever put together, and two descriptors are
// held however deep it goes. Back up by "..", which is then compared, because a
// descriptor for each level would let a payload exhaust ours.
func (d *dir) walk(visit func(g *dir) error, leave func(parent *dir, name string) error) error {
	cur, err := d.at(".")
	if err != nil {
		return err
	}
	defer func() { cur.close() }()
	pending, err := cur.children()
	if err != nil {
		return err
	}
	var way []level
	for {
		if len(pending) > 0 {
			name := pending[0]
			next, err := cur.at(name)
			if errors.Is(err, unix.ENOENT) { // removed by the payload meanwhile
				pending = pending[1:]
				continue
			}
			if err != nil {
				return err
			}
			way = append(way, level{name, cur.inode(), pending[1:]})
			cur.close()
			cur = next
			if pending, err = cur.children(); err != nil {
				return err
			}
			continue
		}
		if len(way) == 0 {
			return nil
		}
		up := way[len(way)-1]
		way = way[:len(way)-1]
		if err := visit(cur); err != nil {
			return err
		}
		parent, err := cur.at("..")
		if err != nil {
			return err
		}
		cur.close()
		cur, pending = parent, up.pending
		if cur.inode() != up.inode {
			return &os.PathError{Op: "walk", Path: d.path, Err: errMoved}
		}
		// After the visit, because a group with groups in it cannot be removed (EBUSY).
		if err := leave(cur, up.name); err != nil {
			return err
		}
	}
}

func (d *dir) inode() uint64 {
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) != nil {
		return 0
	}
	return st.Ino
}

// Remove removes the group and whatever groups the payload made in it. It waits
// up to two seconds for the last processes to go; Kill comes first where they
// would not go by themselves. A group that is gone is no error.
func (g *Group) Remove() error {
	parent, name, err := g.parent()
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	defer parent.close()
	top, err := parent.at(name)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return hint.New("remove a cgroup", err, "")
	}
	defer top.close()
	if empty, err := top.waitEmpty(removeWait); err == nil && !empty {
		return hint.New("remove the cgroup "+g.Path, unix.EBUSY, "processes live in it: rc kill, or echo 1 > "+g.Path+"/"+killFile)
	}
	err = top.walk(func(*dir) error { return nil }, (*dir).rmdir)
	if err == nil {
		err = parent.rmdir(name)
	}
	if err != nil {
		return hint.New("remove the cgroup "+g.Path, err, "")
	}
	return nil
}
