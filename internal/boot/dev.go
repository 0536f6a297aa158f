package boot

import (
	"errors"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
)

// DeviceNodes are the only ones in a container (runtime-spec, config-linux.md,
// "Default Devices"). A user namespace cannot make device nodes, so the shim
// clones the mounts of the host's.
var DeviceNodes = []string{"null", "zero", "full", "random", "urandom", "tty"}

var devLinks = [][2]string{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"},
	{"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
	{"pts/ptmx", "ptmx"},
}

// populateDev fills the fresh tmpfs on /dev. It is ours alone until the payload
// runs, so plain names below its descriptor are safe.
func (b *box) populateDev() error {
	defer trace.Begin("devices").End()
	dev, err := linux.OpenInRoot(int(b.root.Fd()), "/dev", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return hint.New("open /dev", err, "")
	}
	defer dev.Close()
	for _, name := range DeviceNodes {
		if err := b.addDevice(dev, name); err != nil {
			return hint.New("make /dev/"+name, hint.Errno(err), "")
		}
	}
	for _, l := range devLinks {
		if err := unix.Symlinkat(l[0], int(dev.Fd()), l[1]); err != nil && !errors.Is(err, unix.EEXIST) {
			return hint.New("make /dev/"+l[1], err, "")
		}
	}
	return nil
}

func (b *box) addDevice(dev *os.File, name string) error {
	node := b.files["dev-"+name]
	if node == nil {
		return errors.New("no descriptor came with it")
	}
	target, err := touch(dev, name)
	if err != nil {
		return err
	}
	defer target.Close()
	if name != "null" { // stays open: masked files are covered by clones of it
		defer node.Close()
	} else {
		b.nullPlaced = true
	}
	return linux.MoveMount(node, target)
}

// touch makes an empty file to mount on.
func touch(dir *os.File, name string) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o666)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// maskPaths hides and write-protects what Docker does below /proc and /sys.
// Paths that this kernel does not have are skipped.
func (b *box) maskPaths() error {
	defer trace.Begin("mask paths").End()
	var cover *os.File // one empty read-only tmpfs serves every folder
	for _, p := range b.cfg.Spec.Linux.MaskedPaths {
		f, err := linux.OpenInRoot(int(b.root.Fd()), p, unix.O_PATH, 0)
		if absent(err) {
			continue
		}
		if err == nil {
			cover, err = b.mask(f, cover)
			_ = f.Close()
		}
		if err != nil {
			return hint.New("mask "+p, hint.Errno(err), "")
		}
	}
	if cover != nil {
		_ = cover.Close()
	}
	for _, p := range b.cfg.Spec.Linux.ReadonlyPaths {
		if err := b.protect(p); err != nil {
			return hint.New("make "+p+" read-only", hint.Errno(err), "")
		}
	}
	return nil
}

// absent also covers a parent that is no folder or may not be entered (a host's
// /sys bound into the container).
func absent(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES)
}

func (b *box) mask(f, cover *os.File) (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return cover, err
	}
	source := b.files["dev-null"]
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if cover == nil {
			var err error
			cover, err = linux.NewMount("tmpfs", [][2]string{{"size", "0"}, {"nr_inodes", "1"}, {"mode", "0555"}},
				unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
			if err != nil {
				return nil, err
			}
			// A detached mount can be cloned only once it is attached somewhere
			// (before Linux 6.15), so the first folder takes the original.
			return cover, linux.MoveMount(cover, f)
		}
		source = cover
	} else if !b.nullPlaced { // the user brought a /dev of their own
		b.nullPlaced = true
		return cover, linux.MoveMount(source, f)
	}
	clone, err := linux.OpenTree(int(source.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return cover, err
	}
	defer clone.Close()
	return cover, linux.MoveMount(clone, f)
}

func (b *box) protect(p string) error {
	f, err := linux.OpenInRoot(int(b.root.Fd()), p, unix.O_PATH, 0)
	if absent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	clone, err := linux.CloneTree(f)
	if err != nil {
		return err
	}
	defer clone.Close()
	if err := linux.SetMountAttr(clone, unix.MOUNT_ATTR_RDONLY, 0, true); err != nil {
		return err
	}
	return linux.MoveMount(clone, f)
}

// openTerminal makes the container's terminal in its own devpts, so that its
// name inside is right and no terminal of the host is reachable.
func (b *box) openTerminal() error {
	defer trace.Begin("terminal").End()
	if !b.cfg.Spec.Process.Terminal {
		return nil
	}
	master, err := os.OpenFile("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return hint.New("open a terminal in the container", err, "leave out -t, or leave /dev/pts to rc")
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		return hint.New("unlock the terminal", err, "")
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		return hint.New("name the terminal", err, "")
	}
	if b.cfg.Inside.Rows > 0 {
		_ = unix.IoctlSetWinsize(int(master.Fd()), unix.TIOCSWINSZ,
			&unix.Winsize{Row: b.cfg.Inside.Rows, Col: b.cfg.Inside.Cols})
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return hint.New("open the terminal", err, "")
	}
	defer slave.Close()
	for fd := range 3 {
		if err := unix.Dup3(int(slave.Fd()), fd, 0); err != nil {
			return hint.New("connect the terminal", err, "")
		}
	}
	b.pty = master
	return b.bindConsole(slave)
}

// bindConsole shows the terminal as /dev/console, where init systems look.
func (b *box) bindConsole(slave *os.File) error {
	dev, err := os.OpenFile("/dev", unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return hint.New("open /dev", err, "")
	}
	defer dev.Close()
	target, err := touch(dev, "console")
	if errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EROFS) {
		return nil // the user brought a /dev of their own
	}
	if err != nil {
		return hint.New("make /dev/console", err, "")
	}
	defer target.Close()
	clone, err := linux.OpenTree(int(slave.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return hint.New("clone the terminal", hint.Errno(err), "")
	}
	defer clone.Close()
	if err := linux.MoveMount(clone, target); err != nil {
		return hint.New("attach /dev/console", hint.Errno(err), "")
	}
	return nil
}
