package shim

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
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

// openProgram opens this program for the container to be started from, where the
// program before us in this process has not left it.
func (s *shim) openProgram() error {
	if s.files["program"] != nil {
		return nil
	}
	program, tree, err := ownProgram()
	if err != nil {
		return err
	}
	s.files["program"], s.loose = program, tree
	return nil
}

// settleProgram takes the clone's anonymous mount namespace away, before anything
// of the container's runs. It is not done at once because the kernel waits for all
// processors in it (synchronize_rcu_expedited in fs/namespace.c, 0.1 to 1.6 ms),
// and init can come to life meanwhile.
func (s *shim) settleProgram() {
	defer trace.Begin("let go of the program's tree").End()
	if s.loose != nil {
		_ = s.loose.Close()
		s.loose = nil
	}
}

// ownProgram opens this program, read-only. tree, if any, is to be closed before
// something foreign can get hold of a descriptor of it: see cloneProgram.
func ownProgram() (program, tree *os.File, err error) {
	const op = "protect the runtime's program"
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, nil, hint.New(op, hint.Errno(err), "")
	}
	defer self.Close()
	if program, tree, err = cloneProgram(self); err != nil {
		program, err = copyProgram(self)
	}
	if err != nil {
		return nil, nil, hint.New(op, hint.Errno(err), "")
	}
	return program, tree, nil
}

var errReplaced = errors.New("the program was replaced")

func cloneProgram(self *os.File) (program, tree *os.File, err error) {
	path, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return nil, nil, err
	}
	tree, err = linux.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, nil, err
	}
	var mine, there unix.Stat_t
	err = errors.Join(unix.Fstat(int(self.Fd()), &mine), unix.Fstat(int(tree.Fd()), &there))
	if err == nil && (mine.Ino != there.Ino || mine.Dev != there.Dev) {
		err = errReplaced
	}
	if err == nil {
		err = linux.SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, false)
	}
	// Through another descriptor, and the clone's own closed later: that dissolves its
	// anonymous mount namespace (dissolve_on_fput in fs/namespace.c), and the mount
	// lives on in none. As long as it is in one, whoever gets a descriptor of it, by
	// /proc/PID/exe, and has CAP_SYS_ADMIN in a namespace of its own, may take the
	// read-only flag away: mount_setattr(2) asks for no right over an anonymous one.
	if err == nil {
		program, err = os.OpenFile(linux.ProcFD(tree), unix.O_PATH, 0)
	}
	if err != nil {
		_ = tree.Close()
		return nil, nil, err
	}
	return program, tree, nil
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
