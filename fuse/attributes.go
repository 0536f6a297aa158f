package fuse

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// errUnmapped: an image uses an id that the container's ID map does not have.
var errUnmapped = errors.New("the container's ID map does not have it")

// shift translates ids on disk to those of U0.
type shift struct{ uid, gid []IDMap }

func shiftID(maps []IDMap, id uint32) (uint32, error) {
	if len(maps) == 0 {
		return id, nil
	}
	for _, m := range maps {
		if id >= m.Inside && id-m.Inside < m.Size {
			return m.Outside + (id - m.Inside), nil
		}
	}
	return 0, errUnmapped
}

func (s shift) owner(st *unix.Stat_t) (uid, gid int, err error) {
	u, err := shiftID(s.uid, st.Uid)
	if err != nil {
		return 0, 0, fmt.Errorf("user %d: %w", st.Uid, err)
	}
	g, err := shiftID(s.gid, st.Gid)
	if err != nil {
		return 0, 0, fmt.Errorf("group %d: %w", st.Gid, err)
	}
	return int(u), int(g), nil
}

// attributes gives the file or folder dst the owner, mode, xattrs and times of
// src, in an order that matters: chown(2) clears set-uid bits and capabilities,
// an ACL changes the group's mode bits, and all of them the times.
func (m *merger) attributes(src, dst int, st *unix.Stat_t) error {
	uid, gid, err := m.shift.owner(st)
	if err != nil {
		return err
	}
	if err := unix.Fchown(dst, uid, gid); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", uid, gid, err)
	}
	if err := m.xattrs(src, dst); err != nil {
		return err
	}
	if err := unix.Fchmod(dst, st.Mode&0o7777); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, fdPath(dst), times, 0); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// specialAttributes is attributes for what cannot be opened (links, pipes,
// devices). The names were made a moment ago, in a folder that is ours alone.
func (m *merger) specialAttributes(src, dst int, name string, st *unix.Stat_t) error {
	uid, gid, err := m.shift.owner(st)
	if err != nil {
		return err
	}
	if err := unix.Fchownat(dst, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("chown to %d:%d: %w", uid, gid, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK { // a link has no mode
		if err := unix.Fchmodat(dst, name, st.Mode&0o7777, 0); err != nil {
			return fmt.Errorf("chmod: %w", err)
		}
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	if err := unix.UtimesNanoAt(dst, name, times, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set times: %w", err)
	}
	return nil
}

// xattrs makes dst's attributes those of src; a folder of a lower layer may
// have others, which an overlay would not show either.
func (m *merger) xattrs(src, dst int) error {
	want, err := listXattrs(src)
	if err != nil {
		return err
	}
	have, err := listXattrs(dst)
	if err != nil {
		return err
	}
	// First what must go: an ACL that only a lower layer has would change the mode
	// bits that fchmod(2) is about to set.
	for _, name := range have {
		if (!slices.Contains(want, name) || driverXattr(name)) && !kernelXattr(name) {
			if err := unix.Fremovexattr(dst, name); err != nil && err != unix.ENODATA && err != unix.EPERM {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
	}
	for _, name := range want {
		if kernelXattr(name) || driverXattr(name) {
			continue
		}
		value, err := getXattr(src, name)
		if err == nil && strings.HasPrefix(name, "system.posix_acl_") {
			err = m.shift.acl(value)
		}
		if err == nil {
			err = unix.Fsetxattr(dst, name, value, 0)
		}
		if err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}

// kernelXattr: attributes that the kernel sets by its own policy, and that a
// user namespace may not set.
func kernelXattr(name string) bool {
	return strings.HasPrefix(name, "security.") && name != "security.capability"
}

func listXattrs(fd int) ([]string, error) {
	buf := make([]byte, 1024)
	for {
		n, err := unix.Flistxattr(fd, buf)
		switch {
		case err == unix.ERANGE:
			buf = make([]byte, 64<<10) // XATTR_LIST_MAX
			continue
		// A file system without attributes has none to copy.
		case err == unix.EOPNOTSUPP || err == nil && n == 0:
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("list attributes: %w", err)
		}
		return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00"), nil
	}
}

func getXattr(fd int, name string) ([]byte, error) {
	buf := make([]byte, 256)
	n, err := unix.Fgetxattr(fd, name, buf)
	if err == unix.ERANGE {
		buf = make([]byte, 64<<10) // XATTR_SIZE_MAX
		n, err = unix.Fgetxattr(fd, name, buf)
	}
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// acl shifts the ids in an access control list, in place. The form is the
// kernel's posix_acl_xattr_header (include/uapi/linux/posix_acl_xattr.h): a
// version, then tag, permissions and id of each entry, little-endian.
func (s shift) acl(value []byte) error {
	const (
		headerSize, entrySize = 4, 8
		tagUser, tagGroup     = 0x02, 0x08
	)
	for p := headerSize; p+entrySize <= len(value); p += entrySize {
		maps := s.uid
		switch binary.LittleEndian.Uint16(value[p:]) {
		case tagUser:
		case tagGroup:
			maps = s.gid
		default:
			continue
		}
		id, err := shiftID(maps, binary.LittleEndian.Uint32(value[p+4:]))
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint32(value[p+4:], id)
	}
	return nil
}
