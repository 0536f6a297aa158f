package cgroup

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// ScopeName is the unit that the keeper has the user's systemd make: one for all
// of the user's containers. Package cgroup/scope asks for it. It is known by its
// name too, because systemd marks what it delegated only since version 251.
const ScopeName = "rc.scope"

// At is the subtree at group, named as /proc/PID/cgroup names it: the scope in
// which the keeper stands. The caller may stand anywhere; see Far.
func At(group string) (*Subtree, error) { return at(hostView(), group) }

func at(v view, group string) (*Subtree, error) {
	p, err := locate(v)
	if err != nil {
		return nil, err
	}
	rel, ok := below(group, p.mount.root)
	if !ok {
		return nil, p.whyNotShown(p.mount)
	}
	s := &Subtree{Path: filepath.Join(p.mount.dir, rel), mount: p.mount, view: v, apart: true}
	if !v.ours(s.Path) {
		return nil, hint.New(finding, &unreachable{s.Path, unix.EACCES}, "see who made it: ls -ld "+s.Path)
	}
	s.chain = []string{s.Path}
	s.far = !v.ours(commonAncestor(s.Path, p.dir))
	s.Controllers = s.offered()
	s.How = s.how(p)
	return s, nil
}

// unreachable is a group of the keeper's that its user may not write.
type unreachable struct {
	path string
	err  error
}

func (u *unreachable) Error() string { return u.path + " may not be written: " + u.err.Error() }
func (u *unreachable) Unwrap() error { return u.err }

// Far tells that the kernel lets no process of where the caller stands into the
// subtree, neither by a move nor at birth: the lowest group above both is
// somebody else's (cgroup-v2.rst, "Delegation Containment"). Who stands in the
// subtree has to fork for it.
func (s *Subtree) Far() bool { return s.far }

// StepAside moves this process, if it stands in the subtree itself, into the leaf
// for those who outlive a command, where it bars no limits.
func (s *Subtree) StepAside() error {
	top, err := openDir(s.Path)
	if err != nil {
		return hint.New(finding, err, "")
	}
	defer top.close()
	return s.stepAside(top)
}

// Within tells whether the caller stands in the subtree itself.
func (s *Subtree) Within() bool { return s.within }

// Own is the group of this process as /proc/self/cgroup names it, in the version
// 2 hierarchy; an error where that is not mounted.
func Own() (string, error) {
	p, err := locate(hostView())
	if err != nil {
		return "", err
	}
	return p.group, nil
}

func commonAncestor(a, b string) string {
	for !strings.HasPrefix(b+"/", strings.TrimSuffix(a, "/")+"/") {
		a = filepath.Dir(a)
	}
	return a
}

// unmanaged takes from chain what a systemd manages: it resets subtree_control of
// its units at will, so that a limit below would be gone with the next reload
// (systemd, CGROUP_DELEGATION.md, "Three scenarios": only what is delegated is
// the caller's). What is left is at or below a unit that was delegated.
func (p *place) unmanaged(chain []string) []string {
	if !p.systemd() {
		return chain
	}
	last := -1
	for i, dir := range chain {
		if p.delegated(dir) {
			last = i
		}
	}
	if last >= 0 {
		return chain[:last+1]
	}
	// A unit of the system's that is ours although we are not root has been given
	// to us (systemd before 251 leaves no mark that we could read), and a folder
	// that no unit holds is somebody's handiwork.
	if strings.Contains(p.group, "/user@") || p.view.root && p.inUnit() {
		return nil
	}
	return chain
}

// delegated tells whether the group dir was given away by systemd. The user's own
// systemd leaves no mark (systemd 257, src/core/cgroup.c, cgroup_xattr_apply: "if
// (!MANAGER_IS_SYSTEM(u->manager)) return"): it has to be asked, which is the
// keeper's, or somebody asked before us and made our leaf there.
func (p *place) delegated(dir string) bool {
	if delegatedUnit(dir) || p.view.told != "" && dir == p.folder(p.view.told) {
		return true
	}
	return filepath.Base(p.dir) == hostLeaf && dir == filepath.Dir(p.dir)
}

// folder is where the group is seen; "" when it is not shown.
func (p *place) folder(group string) string {
	rel, ok := below(group, p.mount.root)
	if !ok {
		return ""
	}
	return filepath.Join(p.mount.dir, rel)
}

// OwnUnit is the group of the unit of the user's systemd in which this process
// stands, and the inode of its folder; "" where it stands in none. Whether that unit
// is delegated nobody can see.
func OwnUnit() (group string, inode uint64) {
	p, err := standing(hostView())
	if err != nil {
		return "", 0
	}
	if group = ownUnit(p.group); group == "" {
		return "", 0 // without a look at the mounts: most who ask stand in none
	}
	var st unix.Stat_t
	if p.findFolder() != nil || unix.Stat(p.folder(group), &st) != nil {
		return "", 0
	}
	return group, st.Ino
}

func ownUnit(group string) string {
	names := strings.Split(group, "/")
	inside := false
	for i, name := range names {
		switch ext := filepath.Ext(name); {
		case strings.HasPrefix(name, "user@") && ext == ".service":
			inside = true
		case inside && (ext == ".service" || ext == ".scope"):
			return strings.Join(names[:i+1], "/")
		}
	}
	return ""
}

// FindDelegated is Find for a process in the unit of the group told, of which it is
// known that it was delegated ("" is none).
func FindDelegated(told string) (*Subtree, error) {
	v := hostView()
	v.told = told
	return find(v)
}

// inUnit tells whether the process stands in a unit of systemd's, or below one.
func (p *place) inUnit() bool {
	for name := range strings.SplitSeq(p.group, "/") {
		switch filepath.Ext(name) {
		case ".slice", ".scope", ".service":
			return true
		}
	}
	return false
}
