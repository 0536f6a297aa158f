package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// view is where the kernel's texts come from. Tests give folders of their own.
type view struct {
	proc string                  // /proc
	pid  int                     // this process
	root bool                    // it is the host's root: everything is its own
	told string                  // the group of a unit of which somebody knows that it was delegated
	isV2 func(path string) bool  // is this folder on a cgroup2 file system?
	ours func(path string) bool  // may we make groups in it?
	made func(path string) error // fills a new folder as the kernel does; nil on a real tree
}

func hostView() view {
	return view{proc: "/proc", pid: os.Getpid(), root: os.Getuid() == 0, isV2: isCgroup2, ours: writable}
}

func isCgroup2(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// Find looks for the place in the cgroup v2 tree where the caller may make
// groups, by trying: from the group that this process stands in upwards, the
// first that is ours and has no other process in it, because only such a group
// can hand controllers down ("No Internal Process Constraint", cgroup-v2.rst).
// That is a unit with Delegate=yes, a container or a hand-made subtree: never what
// a systemd manages by itself, as the slices and sessions of the user's.
//
// Without one the error is a *hint.Error that says why and what to type.
func Find() (*Subtree, error) { return find(hostView()) }

func find(v view) (*Subtree, error) {
	at, err := locate(v)
	if err != nil {
		return nil, err
	}
	chain := at.ours()
	if len(chain) == 0 {
		return nil, at.whyNone()
	}
	if chain = at.unmanaged(chain); len(chain) == 0 {
		return nil, at.whyManaged()
	}
	s := &Subtree{mount: at.mount, view: v}
	s.choose(at, chain)
	s.within = s.Path == at.dir
	// Whoever outlives us stands in our leaf then: it is the mark by which a shim
	// knows the unit again, which has none of systemd's.
	s.apart = v.told != ""
	s.Controllers = s.offered()
	s.How = s.how(at)
	return s, nil
}

// place is where this process stands.
type place struct {
	view  view
	mount mountPoint
	group string   // as /proc/self/cgroup names it
	dir   string   // the same as a folder
	v1    []string // controllers that version 1 holds
}

// mountPoint is a cgroup2 file system in this mount namespace.
type mountPoint struct {
	dir      string
	root     string // the group it shows as its top, "/" for all that this cgroup namespace has
	readOnly bool
}

// standing is locate without the folder.
func standing(v view) (*place, error) {
	p := &place{view: v}
	text, err := linux.ReadFile(v.proc + "/self/cgroup")
	if err != nil {
		return nil, noProc(err)
	}
	for line := range strings.Lines(string(text)) {
		// hierarchy-ID:controller-list:path (cgroups(7), "/proc/PID/cgroup")
		id, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		list, group, _ := strings.Cut(rest, ":")
		switch {
		case id == "0" && list == "":
			p.group = strings.TrimSuffix(group, " (deleted)")
		case !strings.Contains(list, "="): // name=systemd is no controller
			p.v1 = append(p.v1, strings.Split(list, ",")...)
		}
	}
	return p, nil
}

// locate finds this process's own group as a folder.
func locate(v view) (*place, error) {
	p, err := standing(v)
	if err == nil {
		err = p.findFolder()
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// findFolder looks for the mount that shows the group.
func (p *place) findFolder() error {
	mounts, err := v2Mounts(p.view.proc + "/self/mountinfo")
	if err != nil {
		return noProc(err)
	}
	if p.group == "" || len(mounts) == 0 {
		return p.whyNoV2()
	}
	for _, m := range mounts {
		rel, ok := below(p.group, m.root)
		if dir := filepath.Join(m.dir, rel); ok && p.view.isV2(dir) {
			p.mount, p.dir = m, dir
			return nil
		}
	}
	return p.whyNotShown(mounts[0])
}

// below gives group relative to root. A group outside of this cgroup namespace
// begins with "/..", and then no folder shows it (cgroup_namespaces(7)).
func below(group, root string) (rel string, ok bool) {
	if group == "/.." || strings.HasPrefix(group, "/../") {
		return "", false
	}
	rel, ok = strings.CutPrefix(group, strings.TrimSuffix(root, "/"))
	return rel, ok && (rel == "" || rel[0] == '/')
}

// v2Mounts lists the cgroup2 mounts, the topmost first where they cover each other.
func v2Mounts(mountinfo string) ([]mountPoint, error) {
	text, err := linux.ReadFile(mountinfo)
	if err != nil {
		return nil, err
	}
	var mounts []mountPoint
	for line := range strings.Lines(string(text)) {
		// id parent major:minor root dir options [optional…] - type source superoptions (proc_pid_mountinfo(5))
		before, after, ok := strings.Cut(line, " - cgroup2 ")
		f := strings.Fields(before)
		if !ok || len(f) < 6 {
			continue
		}
		super := strings.Fields(after)
		ro := slices.Contains(strings.Split(f[5], ","), "ro") ||
			(len(super) > 1 && slices.Contains(strings.Split(super[1], ","), "ro"))
		mounts = append(mounts, mountPoint{dir: unescape(f[4]), root: unescape(f[3]), readOnly: ro})
	}
	slices.Reverse(mounts)
	return mounts, nil
}

// unescape undoes mountinfo's octal escapes of space, tab, newline and backslash.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// ours lists the groups from the process's own upwards in which we may make
// groups and between which we may move processes, nearest first. A group of
// somebody else's below ours does not matter (a login's leaf made by root);
// the first one above ours ends the list.
func (p *place) ours() []string {
	var chain []string
	for dir := p.dir; ; dir = filepath.Dir(dir) {
		if filepath.Base(dir) == hostLeaf {
			// Made for processes like us, beside the groups: the subtree is above.
		} else if p.view.ours(dir) {
			chain = append(chain, dir)
		} else if len(chain) > 0 {
			return chain
		}
		if dir == p.mount.dir {
			return chain
		}
	}
}

// writable asks the kernel, with the credentials that will be used: to make a
// group, to move a process into it, and to hand controllers down.
func writable(path string) bool {
	d, err := openDir(path)
	if err != nil {
		return false
	}
	defer d.close()
	for _, name := range []string{".", procsFile, controlFile} {
		if unix.Faccessat(d.fd, name, unix.W_OK, unix.AT_EACCESS) != nil {
			return false
		}
	}
	return true
}

// choose takes the nearest group of chain that can hand controllers down, or
// that systemd gave to this very unit.
func (s *Subtree) choose(at *place, chain []string) {
	s.Path, s.chain = chain[0], chain
	for i, path := range chain {
		if at.delegated(path) || len(s.others(path)) == 0 {
			s.Path, s.chain = path, chain[i:]
			return
		}
	}
}

// delegatedUnit tells whether systemd marked path as its unit's own: then the
// container belongs there, so that it ends with the unit. (systemd 251 and later
// set user.delegate, systemd.exec's cgroup delegation document; earlier ones
// set trusted.delegate, which only root can read.) The user's own systemd is
// such a unit too, but it manages its groups itself.
func delegatedUnit(path string) bool {
	var one [4]byte
	switch name := filepath.Base(path); {
	case name == ScopeName:
		return true
	case strings.HasPrefix(name, "user@"):
		return false
	}
	n, err := unix.Lgetxattr(path, "user.delegate", one[:])
	return err == nil && n == 1 && one[0] == '1'
}

// others lists the processes that stand in path itself and are not this one.
// None where it does not matter: the hierarchy's own root may have both
// processes and controllers.
func (s *Subtree) others(path string) []int {
	d, err := openDir(path)
	if err != nil || !d.has(typeFile) {
		return nil
	}
	defer d.close()
	var pids []int
	for _, word := range d.fields(procsFile) {
		// 0 is a process of a PID namespace that we do not see.
		if pid, err := strconv.Atoi(word); err == nil && pid != s.view.pid {
			pids = append(pids, pid)
		}
	}
	return pids
}

// offered lists the controllers that groups made here can have: those that Path
// has, and those that we may still hand down to it from further up.
func (s *Subtree) offered() []string {
	d, err := openDir(s.chain[len(s.chain)-1])
	if err != nil {
		return nil
	}
	defer d.close()
	return d.fields(controllersFile)
}

// how says in a phrase why Path is ours.
func (s *Subtree) how(at *place) string {
	base := filepath.Base(s.Path)
	switch {
	case base == ScopeName:
		return "a scope of your systemd's for all your containers"
	case at.delegated(s.Path) && filepath.Ext(base) != "":
		return "the unit " + base + " is delegated to us"
	case s.Path == at.mount.dir && at.group == "/":
		return "the top of the tree that is visible here"
	case s.Path == at.dir:
		return "rc stands in it and may write it"
	}
	return "rc stands below it and may write it"
}
