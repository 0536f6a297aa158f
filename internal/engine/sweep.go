package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
)

// A command that was killed between two steps leaves things of a container that
// has no folder yet, or none any more: its life lock and socket, its name, its
// reference to an image, its cgroup. No look-up by folder finds them.

// strays is what carries the id of a container without a folder.
type strays struct {
	known []string // sorted: the ids of those that have one
	ids   map[string]bool
	names map[string][]string // files of container-names by the id in them
	refs  map[string][]string // files of images/*/users by name
}

// sweep removes strays. What the listing has is none. Only more names than that has
// containers are worth reading them all.
func (e *Engine) sweep(seen *record.Listing) {
	s := strays{seen.IDs, map[string]bool{}, map[string][]string{}, map[string][]string{}}
	for _, name := range seen.Runtime {
		s.add(e, strings.TrimSuffix(strings.TrimSuffix(name, ".sock"), ".lock"))
	}
	for _, image := range namesIn(e.Store.Path("images")) {
		users := e.Store.Path("images", image, "users")
		for _, id := range namesIn(users) {
			if s.add(e, id) {
				s.refs[id] = append(s.refs[id], filepath.Join(users, id))
			}
		}
	}
	if names := namesIn(e.Store.Path("container-names")); len(names) > len(seen.IDs) || len(s.ids) > 0 {
		for _, name := range names {
			id := strings.TrimPrefix(name, ".") // a name that was being claimed
			if id == name {
				id, _ = e.Store.NameHolder(name)
			}
			s.names[id] = append(s.names[id], e.Store.Path("container-names", name))
			s.add(e, id)
		}
	}
	for id := range s.ids {
		e.sweepOne(id, append(s.names[id], s.refs[id]...))
	}
	sweepTemporary(e.Store.Path("image-names"))
}

// add takes in an id if no container has it, and tells whether it is one of those.
func (s *strays) add(e *Engine, id string) bool {
	if s.ids[id] {
		return true
	}
	if _, known := slices.BinarySearch(s.known, id); known || !record.ValidID(id) {
		return false
	}
	if _, err := os.Lstat(e.Store.ContainerDir(id)); os.IsNotExist(err) {
		s.ids[id] = true
	}
	return s.ids[id]
}

// sweepOne removes what is left of one, unless somebody is at work on it: who
// starts a container has its life lock before anything else of it exists.
func (e *Engine) sweepOne(id string, files []string) {
	lock, err := e.Store.TakeLife(id)
	if err != nil {
		return
	}
	defer e.Store.DropLife(id, lock)
	if _, err := os.Lstat(e.Store.ContainerDir(id)); err == nil {
		return // made since we looked
	}
	if path, err := e.Store.ControlPath(id); err == nil {
		_ = os.Remove(path)
	}
	for _, f := range files {
		_ = os.Remove(f)
	}
	e.dropGroup(id)
}

// dropGroup removes the cgroup of a container whose state does not name it.
func (e *Engine) dropGroup(id string) {
	subtree, err := e.subtreeOfKeeper()
	if err != nil {
		return
	}
	if g := cgroup.Open(filepath.Join(subtree.Path, "rc-"+id)); unix.Access(g.Path, unix.F_OK) == nil {
		e.removeGroup(g)
	}
}

// sweepTemporary removes what atomicfile did not come to rename: .NAME.PID.N, of
// a process that is gone. The age is for a store that hosts share.
func sweepTemporary(dir string) {
	for _, name := range namesIn(dir) {
		parts := strings.Split(name, ".")
		if name[0] != '.' || len(parts) < 4 {
			continue
		}
		path := filepath.Join(dir, name)
		pid, err := strconv.Atoi(parts[len(parts)-2])
		info, serr := os.Lstat(path)
		if err == nil && serr == nil && pid > 0 && unix.Kill(pid, 0) == unix.ESRCH && time.Since(info.ModTime()) > time.Minute {
			_ = os.Remove(path)
		}
	}
}

func namesIn(dir string) []string {
	names, _ := linux.Names(dir)
	return names
}

// reviveKeeper starts a keeper where one was killed: the shims of networked
// containers wait for it, to attach them again.
func (e *Engine) reviveKeeper(list []*Entry) {
	for _, c := range list {
		if !c.Running() || !spec.NamespaceKind(c.Network).Kept() {
			continue
		}
		// Not only a connection: one that is just dying still has its queue.
		if _, err := e.enter(); err != nil {
			e.Warn("the containers have no network: " + err.Error())
		}
		return
	}
}
