package cgroup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// execLeaf is the group inside the payload's own in which further processes are
// born once the payload has handed controllers down: its own group takes none then
// (EBUSY; kernel, cgroup-v2.rst, "No Internal Process Constraint").
//
// Why there: outside of it, as a sibling, a process would stand outside of its own
// cgroup namespace, and with nsdelegate could not be moved into a session's scope
// by the logind inside. In the group of init, which podman takes, it would count
// as systemd itself. In one of the payload's units that unit's limits and its end
// would hit it. systemd leaves groups alone that it has not made. LXC does the
// same (src/lxc/cgroups/cgfsng.c, cgroup_attach_leaf: ".lxc").
const execLeaf = "rc-exec"

// ExecFD opens the leaf for further processes, as PayloadFD does the payload's
// group, and makes it where it is missing. All that the payload can do to it, it
// does to itself. The caller closes it.
func (g *Group) ExecFD() (*os.File, error) {
	f, err := g.PayloadFD()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := &dir{int(f.Fd()), f.Name()}
	if err := d.mkdir(execLeaf); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, hint.New("make a cgroup for one more process", err, "")
	}
	fd, err := unix.Openat(d.fd, execLeaf, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, hint.New("open the cgroup of further processes", err, "")
	}
	return os.NewFile(uintptr(fd), f.Name()+"/"+execLeaf), nil
}

// delegated are the files that may be another's (kernel, cgroup-v2.rst, "Model of
// Delegation"; /sys/kernel/cgroup/delegate lists them, and more that are its own
// to read). The limits stay ours.
var delegated = []string{procsFile, "cgroup.threads", "cgroup.subtree_control"}

// Give makes uid and gid the owner of the payload's group, so that an init with
// another id than ours makes its own groups in it. It takes CAP_CHOWN over both ids.
func (g *Group) Give(uid, gid int) error {
	f, err := g.PayloadFD()
	if err != nil {
		return err
	}
	defer f.Close()
	for _, name := range append([]string{""}, delegated...) {
		err := unix.Fchownat(int(f.Fd()), name, uid, gid, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			return hint.New("give the container its cgroup", &os.PathError{Op: "chown", Path: f.Name() + "/" + name, Err: err}, "")
		}
	}
	return nil
}
