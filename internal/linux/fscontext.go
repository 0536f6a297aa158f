package linux

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FSContext configures a new file system instance before it is mounted
// (fsopen(2)). Its errors carry what the file system logged, which mount(2)
// leaves in the kernel log.
type FSContext struct {
	f      *os.File
	fstype string
}

// Fsopen starts the configuration of a file system of the given type. Whoever
// calls it must have the user namespace of the mount's owner: for a FUSE or
// tmpfs mount of a sandbox, call it inside.
func Fsopen(fstype string) (*FSContext, error) {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fail("fsopen", fstype, err)
	}
	return &FSContext{os.NewFile(uintptr(fd), fstype), fstype}, nil
}

// Close ends the context. A FUSE server outlives its mount while it is open.
func (c *FSContext) Close() error { return c.f.Close() }

// Set sets option key to value, at most 255 bytes.
func (c *FSContext) Set(key, value string) error {
	return c.explain(key, unix.FsconfigSetString(int(c.f.Fd()), key, value))
}

// SetFlag sets an option that has no value.
func (c *FSContext) SetFlag(key string) error {
	return c.explain(key, unix.FsconfigSetFlag(int(c.f.Fd()), key))
}

// SetFD sets option key to a descriptor, where the file system knows that form
// (overlay's folders: Linux 6.13).
func (c *FSContext) SetFD(key string, f *os.File) error {
	return c.explain(key, unix.FsconfigSetFd(int(c.f.Fd()), key, int(f.Fd())))
}

// Mount creates the instance and returns it as a detached mount with attrs
// (MOUNT_ATTR_*), ready for MoveMount. It unmounts itself when the descriptor
// is closed before that.
func (c *FSContext) Mount(attrs int) (*os.File, error) {
	if err := unix.FsconfigCreate(int(c.f.Fd())); err != nil {
		return nil, c.explain("", err)
	}
	fd, err := unix.Fsmount(int(c.f.Fd()), unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return nil, fail("fsmount", c.fstype, err)
	}
	return os.NewFile(uintptr(fd), c.fstype), nil
}

// explain adds the messages that the kernel queued on the context.
func (c *FSContext) explain(key string, err error) error {
	if err == nil {
		return nil
	}
	object := c.fstype
	if key != "" {
		object += " option " + key
	}
	err = fail("mount", object, err)
	if said := c.messages(); said != "" {
		return fmt.Errorf("%w (kernel: %s)", err, said)
	}
	return err
}

// messages drains the log of the context. Each read gives one message, with "e ",
// "w " or "i " before it (Documentation/filesystems/mount_api.rst); ENODATA ends.
func (c *FSContext) messages() string {
	var said []string
	buf := make([]byte, 1024)
	for range 16 {
		n, err := unix.Read(int(c.f.Fd()), buf)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n <= 0 {
			break
		}
		line := strings.TrimSpace(string(buf[:n]))
		if len(line) > 2 && line[1] == ' ' {
			line = line[2:]
		}
		said = append(said, strings.TrimPrefix(line, c.fstype+": "))
	}
	return strings.Join(said, ", ")
}

// NewMount is Fsopen, one Set per option (a flag where the value is empty) and
// Mount in one go.
func NewMount(fstype string, options [][2]string, attrs int) (*os.File, error) {
	c, err := Fsopen(fstype)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	for _, o := range options {
		if o[1] == "" {
			err = c.SetFlag(o[0])
		} else {
			err = c.Set(o[0], o[1])
		}
		if err != nil {
			return nil, err
		}
	}
	return c.Mount(attrs)
}
