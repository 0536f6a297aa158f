// Package fuse makes the root file system of a container from its image's
// layers: by the kernel's overlay, by fuse-overlayfs, or by a plain copy. Which
// one works here is found by trying, in that order.
//
// Every driver ends in the same thing: a detached mount (fsmount(2),
// open_tree(2)), which exists only as a descriptor until the container moves it
// into its own mount namespace. A crash at any moment therefore leaves no mount
// behind: the kernel drops it with the last descriptor.
//
//	layers, upper, work ──► Mount ──► Mounted.FD ──► move_mount(2) in the child
//
// The caller stands in the user's namespace U0 with CAP_SYS_ADMIN and in a
// mount namespace of its own. The package is linked by rc-init and must stay
// small: x/sys, os and our leaves only.
package fuse

import "os"

// Driver names one way to make a root file system. The zero value lets Mount
// choose.
type Driver string

const (
	// Auto is the first of Drivers that works.
	Auto Driver = ""
	// Overlay is the kernel's: no process, no copy, 0.14 ms for one layer on a
	// tmpfs. It needs Linux 5.11 and a store with user.* attributes, and cannot
	// shift ids.
	Overlay Driver = "overlay"
	// FuseOverlayfs is the program of that name, one process a container: what
	// Overlay cannot do, at the price of a switch to it for every lookup.
	FuseOverlayfs Driver = "fuse-overlayfs"
	// Copy works wherever files can be written. It costs the image's size in time
	// and, without reflinks, in space, once a container.
	Copy Driver = "copy"
)

// Drivers is the order in which Auto tries: fastest first.
var Drivers = []Driver{Overlay, FuseOverlayfs, Copy}

// IDMap is one line of an ID map: Size ids from Inside (the id that an image
// uses, as it stands on disk) appear as those from Outside (the id in U0).
type IDMap struct{ Inside, Outside, Size uint32 }

// Rootfs says what to mount.
type Rootfs struct {
	// Layers are absolute folders, topmost first. Their names may hold any
	// byte. Whiteouts may be the kernel's (a 0:0 character device,
	// user.overlay.opaque) or `.wh.` files.
	Layers []string
	// TarWhiteouts says that some layer hides by `.wh.` files, which the kernel
	// would show as files: Overlay then refuses.
	TarWhiteouts bool
	// Upper receives what the container writes, Work is the driver's own. Both
	// exist, on one file system, and are empty or from an earlier start. For
	// Copy, Upper is the whole merged tree. Beside Upper stands a file
	// `<Upper>.driver` when a driver other than Overlay wrote to it.
	Upper, Work string
	// Volatile skips every sync (--rm): a power loss may cost the upper folder.
	Volatile bool
	// UIDMap and GIDMap translate the ids on disk to those of U0 where they
	// differ (--userns=auto, keep-id). Empty means the identity. Overlay cannot
	// (idmapped mounts need the host's CAP_SYS_ADMIN on ext4: EPERM).
	UIDMap, GIDMap []IDMap
}

// Mounted is a root file system ready to be moved into place.
type Mounted struct {
	// FD is the detached mount, close-on-exec. Whoever has moved it, or has
	// given up, closes it: a helper lives as long as any descriptor of it. It
	// must go into another mount namespace than the one that Mount was called in:
	// the helper is a member of that one, and the two would keep each other alive.
	FD *os.File
	// Driver is the one that was used.
	Driver Driver
	// Helper is the process that serves the mount; nil without one.
	Helper *Helper
	// Why says why an earlier choice in the order was not taken; "" if the
	// first was, or one was forced.
	Why string
}

// Close drops the detached mount and, if it was not moved anywhere, ends its
// helper.
func (m *Mounted) Close() error { return m.FD.Close() }

// Finding is the evidence about one driver in one folder.
type Finding struct {
	Driver Driver
	OK     bool
	Why    string // one line: what was tried and seen
}
