package transfer

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

const (
	xattrPrefix    = "SCHILY.xattr." // archive/tar: PAX records of xattrs
	capabilityName = "security.capability"
	escapePrefix   = "user.overlay.overlay." // a payload's own user.overlay.* (overlayfs.rst, "Nesting overlayfs mounts")
)

// driverXattrs are the drivers' own marks.
var driverXattrs = []string{"user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.", "user.containers.override_stat"}

func driverXattr(name string) bool {
	for _, p := range driverXattrs {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// xattrs puts user.* and the file's capabilities into a header: what a user may
// set, and what an image can carry.
func (w *walker) xattrs(n *node, h *tar.Header) error {
	path := linux.ProcFD(n.f) // flistxattr(2) refuses O_PATH; the magic link is this very inode
	names, err := listXattrs(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		shown := name
		if w.raw {
			if rest, ok := strings.CutPrefix(name, escapePrefix); ok {
				shown = "user.overlay." + rest
			} else if driverXattr(name) {
				continue
			}
		}
		if !strings.HasPrefix(name, "user.") && name != capabilityName {
			continue
		}
		value, err := getXattr(path, name)
		if err != nil {
			continue // removed meanwhile
		}
		if name == capabilityName {
			value = w.plainCapability(value)
		}
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrPrefix+shown] = string(value)
	}
	return nil
}

// plainCapability takes the root id out of a file's capabilities when it is the
// container's own root: in an image they are of whatever root the container will
// have. The forms are vfs_ns_cap_data and vfs_cap_data (linux/capability.h).
func (w *walker) plainCapability(v []byte) []byte {
	const revision2, revision3 = 0x02000000, 0x03000000
	if len(v) != 24 {
		return v
	}
	magic := binary.LittleEndian.Uint32(v)
	if magic&0xff000000 != revision3 || w.uid.inside(binary.LittleEndian.Uint32(v[20:])) != 0 {
		return v
	}
	plain := append([]byte(nil), v[:20]...)
	binary.LittleEndian.PutUint32(plain, revision2|magic&0x00ffffff)
	return plain
}

func listXattrs(path string) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Listxattr(path, buf)
		switch {
		case err == unix.ERANGE:
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
			continue
		case err == unix.EOPNOTSUPP, err == unix.EACCES, err == nil && n == 0:
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list attributes: %w", err)
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}

func getXattr(path, name string) ([]byte, error) {
	buf := make([]byte, 64<<10) // XATTR_SIZE_MAX
	n, err := unix.Getxattr(path, name, buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// setXattrs gives f what a header says. A file system without attributes, and
// what a user may not set, are no failure: as with tar --xattrs.
func setXattrs(f *os.File, h *tar.Header, capabilities bool) error {
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok || driverXattr(name) || name == capabilityName && !capabilities || name != capabilityName && !strings.HasPrefix(name, "user.") {
			continue
		}
		switch err := unix.Setxattr(linux.ProcFD(f), name, []byte(value), 0); err {
		case nil, unix.EOPNOTSUPP, unix.EPERM:
		default:
			return fmt.Errorf("set %s: %w", quote(name), err)
		}
	}
	return nil
}
