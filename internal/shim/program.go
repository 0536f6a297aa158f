package shim

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// What runs inside a container, if only for a moment, must not be a file that can
// be written to through /proc/PID/exe (CVE-2019-5736), and must be of the shim's
// own build, whatever was installed since: init, exec and the shim speak a protocol
// of one version. So the shim keeps a read-only clone of the mount at the running
// file from its start on, alone in no mount namespace. A clone of /proc/self/exe
// itself is EINVAL: that one lies in the mount namespace of rc, which executed it.
//
// The clone outlives the file's name. Where the name was given to another file
// between rc's execve and here, there is nothing to clone, and a sealed copy in
// memory does it.

// ownProgram opens this program for a container to be started from.
func ownProgram() (*os.File, error) {
	const op = "protect the runtime's program"
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, hint.New(op, unwrapErrno(err), "")
	}
	defer self.Close()
	f, err := cloneProgram(self)
	if err != nil {
		f, err = copyProgram(self)
	}
	if err != nil {
		return nil, hint.New(op, unwrapErrno(err), "")
	}
	return f, nil
}

var errReplaced = errors.New("the program was replaced")

func cloneProgram(self *os.File) (*os.File, error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	tree, err := linux.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer tree.Close()
	var mine, there unix.Stat_t
	err = errors.Join(unix.Fstat(int(self.Fd()), &mine), unix.Fstat(int(tree.Fd()), &there))
	if err == nil && (mine.Ino != there.Ino || mine.Dev != there.Dev) {
		err = errReplaced
	}
	if err == nil {
		err = linux.SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, false)
	}
	if err != nil {
		return nil, err
	}
	// Through another descriptor, and the clone's own closed: that dissolves its
	// anonymous mount namespace (dissolve_on_fput in fs/namespace.c), and the mount
	// lives on in none. As long as it is in one, whoever gets a descriptor of it, by
	// /proc/PID/exe, and has CAP_SYS_ADMIN in a namespace of its own, may take the
	// read-only flag away: mount_setattr(2) asks for no right over an anonymous one.
	return os.OpenFile(linux.ProcFD(tree), unix.O_PATH, 0)
}

// copyProgram costs the program's size in memory, for as long as the shim lives.
func copyProgram(self *os.File) (*os.File, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("rc-init", flags|unix.MFD_EXEC)
	if err == unix.EINVAL { // MFD_EXEC is Linux 6.3
		fd, err = unix.MemfdCreate("rc-init", flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	w := os.NewFile(uintptr(fd), "rc-init")
	defer w.Close()
	if _, err := io.Copy(w, self); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(w.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return nil, os.NewSyscallError("seal", err)
	}
	// A file that is open for writing cannot be executed (ETXTBSY).
	return os.Open(linux.ProcFD(w))
}
