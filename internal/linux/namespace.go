package linux

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// NamespaceID tells namespaces apart for as long as one of them is held open.
type NamespaceID struct{ Dev, Ino uint64 }

// namespaceNames are the files below /proc/PID/ns.
var namespaceNames = map[int]string{
	unix.CLONE_NEWUSER: "user", unix.CLONE_NEWPID: "pid", unix.CLONE_NEWNS: "mnt", unix.CLONE_NEWNET: "net",
	unix.CLONE_NEWIPC: "ipc", unix.CLONE_NEWUTS: "uts", unix.CLONE_NEWCGROUP: "cgroup", unix.CLONE_NEWTIME: "time",
}

// NamespaceName is the name of a CLONE_NEW* type in /proc/PID/ns; "" if unknown.
func NamespaceName(kind int) string { return namespaceNames[kind] }

// OpenNamespace opens the namespace of the given CLONE_NEW* type of pid (0: the
// calling process). The kernel asks for ptrace rights: a non-dumpable process of
// another address space refuses with EACCES, even for its own user.
func OpenNamespace(pid, kind int) (*os.File, error) {
	// Not os.Open, which tries in five more calls to have Go's poller watch it: a start
	// opens a dozen.
	path := namespacePath(pid, kind)
	fd, err := Open(path, unix.O_RDONLY, 0)
	if err != nil {
		return nil, fail("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func namespacePath(pid, kind int) string {
	who := "self"
	if pid != 0 {
		who = strconv.Itoa(pid)
	}
	return "/proc/" + who + "/ns/" + namespaceNames[kind]
}

// NamespaceOfProcess is the identity of a namespace that OpenNamespace would open; it
// means something while that process lives.
func NamespaceOfProcess(pid, kind int) (NamespaceID, error) {
	var st unix.Stat_t
	path := namespacePath(pid, kind)
	err := unix.Stat(path, &st)
	return NamespaceID{st.Dev, st.Ino}, fail("stat", path, err)
}

// NamespaceOf is the identity of an open namespace.
func NamespaceOf(f *os.File) (NamespaceID, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return NamespaceID{st.Dev, st.Ino}, fail("fstat", f.Name(), err)
}

// NamespaceKind is the CLONE_NEW* type of an open namespace (ioctl_nsfs(2));
// ENOTTY when f is something else.
func NamespaceKind(f *os.File) (int, error) {
	kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE)
	return kind, fail("ioctl NS_GET_NSTYPE", f.Name(), err)
}

// OwningUserNS opens the user namespace that owns f; EPERM when that one is
// neither the caller's nor below it.
func OwningUserNS(f *os.File) (*os.File, error) {
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_USERNS)
	if err != nil {
		return nil, fail("ioctl NS_GET_USERNS", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()+" owner"), nil
}
