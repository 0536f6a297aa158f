package fuse

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// A marker beside the upper folder (`upper.driver`) names the driver that wrote
// to it, because the three do not understand each other's whiteouts there and
// a copy must never be taken for an overlay's difference, nor be wiped for
// being an incomplete copy when it is a user's data. No marker means Overlay:
// the fast path writes nothing.
const (
	markFuse    = string(FuseOverlayfs)
	markCopy    = string(Copy)        // the copy is complete
	markPartial = "copy (incomplete)" // a crash came first: wiped and redone
)

// Mount makes the root file system r with driver d; Auto takes the first of
// Drivers that works, except that an upper folder already written to stays with
// the driver that wrote it. It fails with a *hint.Error; errors.Is finds the
// errno. On failure nothing is mounted and no process is left.
func Mount(d Driver, r Rootfs) (*Mounted, error) {
	f, err := openFolders(r)
	if err != nil {
		return nil, err
	}
	defer f.close()
	mine, err := f.owner()
	if err != nil {
		return nil, err
	}
	order, err := choose(d, mine)
	if err != nil {
		return nil, err
	}
	if mine == Auto { // a fresh container
		if err := f.adoptRoot(); err != nil {
			return nil, err
		}
	}
	var whys []string
	for i, d := range order {
		m, err := mountWith(d, f, r)
		if err == nil {
			m.Why = strings.Join(whys, "; ")
			return m, nil
		}
		if i == len(order)-1 {
			return nil, refusal(err, whys)
		}
		whys = append(whys, string(d)+": "+hint.Reason(err).Error())
	}
	panic("unreachable: choose returns at least one driver")
}

// choose lists the drivers to try, given the one asked for and the one that the
// upper folder belongs to.
func choose(asked, mine Driver) ([]Driver, error) {
	switch {
	case asked != Auto && asked != Overlay && asked != FuseOverlayfs && asked != Copy:
		return nil, hint.Newf("use storage driver \""+string(asked)+"\"",
			"set RC_STORAGE_DRIVER or --storage-driver to overlay, fuse-overlayfs or copy", "no such driver")
	case mine == Auto && asked == Auto:
		return Drivers, nil
	case mine == Auto:
		return []Driver{asked}, nil
	// A folder that was written to decides before the user does: the three cannot
	// read each other's marks, and data must not vanish because a flag was given.
	case asked == Auto || asked == mine:
		return []Driver{mine}, nil
	}
	return nil, hint.Newf("mount with storage driver "+string(asked),
		"start it without RC_STORAGE_DRIVER and --storage-driver, or make a new container",
		"this container's changes were written by %s, which %s cannot read", mine, asked)
}

func mountWith(d Driver, f *folders, r Rootfs) (*Mounted, error) {
	m := &Mounted{Driver: d}
	var err error
	switch d {
	case Overlay:
		m.FD, err = mountOverlay(f, r)
	case FuseOverlayfs:
		m.FD, m.Helper, err = mountFuse(f, r)
	default:
		m.FD, err = mountCopy(f, r)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// owner is the driver that the upper folder belongs to; Auto if to none yet.
// What an interrupted copy left is removed.
func (f *folders) owner() (Driver, error) {
	switch mark := f.mark(); mark {
	case markFuse, markCopy:
		return Driver(mark), nil
	case markPartial:
		if err := clearDir(f.upper); err != nil {
			return Auto, err
		}
		return Auto, f.setMark("")
	}
	empty, err := f.upperEmpty()
	if err != nil || empty {
		return Auto, err
	}
	return Overlay, nil
}

func (f *folders) markName() string { return f.base + ".driver" }

func (f *folders) mark() string {
	fd, err := unix.Openat(f.parent, f.markName(), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	buf := make([]byte, 64)
	n, _ := unix.Read(fd, buf)
	return strings.TrimSpace(string(buf[:max(n, 0)]))
}

// setMark replaces the marker by rename; "" removes it. internal/atomicfile
// wants a path, and the folder is only known by descriptor here.
func (f *folders) setMark(mark string) error {
	fail := func(err error) error { return hint.New("record the storage driver", err, writeFix(err)) }
	if mark == "" {
		if err := unix.Unlinkat(f.parent, f.markName(), 0); err != nil && err != unix.ENOENT {
			return fail(err)
		}
		return nil
	}
	tmp := f.markName() + ".tmp"
	fd, err := unix.Openat(f.parent, tmp, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fail(err)
	}
	file := os.NewFile(uintptr(fd), tmp)
	_, err = file.WriteString(mark + "\n")
	if err = errors.Join(err, file.Close()); err != nil {
		return fail(err)
	}
	if err := unix.Renameat(f.parent, tmp, f.parent, f.markName()); err != nil {
		return fail(err)
	}
	return nil
}

// writeFix says what to do about an errno of writing to the store.
func writeFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "make room on the store's disk, or choose another with --root"
	case errors.Is(err, unix.EROFS):
		return "choose a store that can be written to with --root"
	}
	return ""
}

// refusal is the last driver's error, with the reasons of those before it.
func refusal(err error, whys []string) error {
	var h *hint.Error
	if len(whys) == 0 || !errors.As(err, &h) {
		return err
	}
	all := *h
	all.Op = h.Op + " (" + strings.Join(whys, "; ") + ")"
	return &all
}
