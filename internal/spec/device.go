package spec

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// devices reads --device HOST[:CONTAINER][:rwm] (docker/cli, parseLinuxDevice). A
// node is bound from the host: without root none can be made. For the same
// reason there is no device cgroup, so that r or w alone cannot be honoured; m,
// the right to make the node, nobody has in a user namespace.
func (b *builder) devices() error {
	for _, value := range b.o.Device {
		host, inside, err := parseDevice(value)
		if err != nil {
			return err
		}
		if err := b.device(value, host, inside); err != nil {
			return err
		}
	}
	return nil
}

func parseDevice(value string) (host, inside string, err error) {
	const form = "write HOSTPATH[:PATH[:rwm]], as in /dev/fuse"
	if strings.Contains(value, "=") && strings.Contains(value, "/") && value[0] != '/' {
		return "", "", refuse("--device", value, "name the nodes themselves: --device /dev/…", "CDI names are not here")
	}
	parts := strings.Split(value, ":")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return "", "", refuse("--device", value, form, "not a path, a path and permissions")
	}
	host, inside = parts[0], parts[0]
	access := "rwm"
	switch {
	case len(parts) == 3:
		inside, access = parts[1], parts[2]
	case len(parts) == 2 && deviceAccess(parts[1]):
		access = parts[1]
	case len(parts) == 2:
		inside = parts[1]
	}
	if !deviceAccess(access) {
		return "", "", refuse("--device", value, form, "%s is not made of r, w and m", quoted(access))
	}
	if !strings.Contains(access, "r") || !strings.Contains(access, "w") {
		return "", "", refuse("--device", value, "write rw, or restrict the node itself with chmod", "%s alone needs a device cgroup, which a rootless container cannot have", quoted(access))
	}
	if host[0] != '/' || inside[0] != '/' {
		return "", "", refuse("--device", value, form, "not an absolute path")
	}
	return host, inside, nil
}

// deviceAccess tells whether s is made of r, w and m, each at most once.
func deviceAccess(s string) bool {
	for i := range len(s) {
		if !strings.Contains("rwm", s[i:i+1]) || strings.Contains(s[:i], s[i:i+1]) {
			return false
		}
	}
	return s != ""
}

// device binds one node, or all that stand in a folder.
func (b *builder) device(value, host, inside string) error {
	var st unix.Stat_t
	if err := unix.Stat(host, &st); err != nil {
		return badFlag("--device", value, err, "name a device node of the host")
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFCHR, unix.S_IFBLK:
		if why := deviceDenied(host, &st); why != "" {
			b.warn("--device " + quoted(value) + ": " + why)
		}
		return b.addDevice(value, host, inside)
	case unix.S_IFDIR:
		return b.deviceTree(value, host, inside)
	}
	return refuse("--device", value, "use --volume for what is not a device", "not a device")
}

// deviceTree binds what stands in a folder of /dev, as --device /dev/snd wants.
func (b *builder) deviceTree(value, host, inside string) error {
	host = path.Clean(host)
	if !within(host, "/dev") {
		return refuse("--device", value, "name a device node, or a folder below /dev", "a folder outside /dev")
	}
	nodes := deviceNodes(host)
	if len(nodes) == 0 {
		return refuse("--device", value, "name a device node of the host", "no devices in this folder")
	}
	for _, p := range nodes {
		if err := b.addDevice(value, p, path.Join(inside, strings.TrimPrefix(p, host))); err != nil {
			return err
		}
	}
	return nil
}

// deviceNodes lists the nodes below dir, without the console and the folders
// that are file systems of their own (opencontainers/cgroups, devices.GetDevices).
// A folder that cannot be read shows nothing.
func deviceNodes(dir string) (nodes []string) {
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error { // the callback never fails
		switch {
		case err != nil:
		case d.IsDir():
			switch d.Name() {
			case "pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev":
				return fs.SkipDir
			}
		case d.Type()&fs.ModeDevice != 0 && d.Name() != "console":
			nodes = append(nodes, p)
		}
		return nil
	})
	return nodes
}

func (b *builder) addDevice(value, host, inside string) error {
	return b.add(bindMount("--device", value, host, inside, "bind", "", []string{"nosuid", "noexec"}))
}

// deviceDenied says why the payload will not be able to use a node: bound or
// not, it is opened with the user's own rights, and without the user's
// supplementary groups, which the container gives up.
func deviceDenied(host string, st *unix.Stat_t) string {
	if err := unix.Access(host, unix.R_OK|unix.W_OK); err != nil {
		return "you cannot open it yourself (" + err.Error() + "), so the container cannot either"
	}
	byOwner := int(st.Uid) == os.Getuid() && st.Mode&0o600 == 0o600
	byGroup := int(st.Gid) == os.Getgid() && st.Mode&0o060 == 0o060
	byOther := st.Mode&0o006 == 0o006
	if byOwner || byGroup || byOther || os.Getuid() == 0 {
		return ""
	}
	// logind gives the seat's user an entry of its own in the node's ACL.
	if _, err := unix.Getxattr(host, "system.posix_acl_access", nil); err == nil {
		return ""
	}
	return "you can open it through a supplementary group, and the container does not have your groups"
}

// hostDevices binds every node below /dev that the user can open (--privileged),
// but what init makes itself and the host's terminals.
func (b *builder) hostDevices() {
	for _, p := range deviceNodes("/dev") {
		var st unix.Stat_t
		if !b.mounted(p) && unix.Lstat(p, &st) == nil && !ownDevice(&st) && deviceDenied(p, &st) == "" {
			b.addDevice("", p, p) // the path is clean and free
		}
	}
}

// ownDevice tells whether a node is one of init's, or a terminal (kernel,
// admin-guide/devices.txt: 1 memory devices, 4 and 5 consoles, 136–143 pts).
func ownDevice(st *unix.Stat_t) bool {
	major, minor := unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return false
	}
	switch {
	case major == 1:
		return minor == 3 || minor == 5 || minor == 7 || minor == 8 || minor == 9
	case major == 4:
		return minor < 64
	}
	return major == 5 || 136 <= major && major <= 143
}
