package e2e

import (
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// needs is what a script may ask of the host with `needs NAME...`: each probe
// returns "" or why the host does not have it. A name that is not here is a
// mistake in the script.
var needs = map[string]func() string{
	"userns":  func() string { return tryUnshare("--map-root-user") },
	"subids":  func() string { return tryUnshare("--map-root-user", "--map-auto") },
	"slirp":   func() string { return program("slirp4netns", "/dev/net/tun") },
	"fuse":    func() string { return program("fuse-overlayfs", "/dev/fuse") },
	"tmux":    func() string { return program("tmux", "") },
	"cgroup2": delegatedCgroup,
	"overlay": userOverlay,
	"nocgroup2": func() string {
		return unless(delegatedCgroup() != "", "a cgroup is delegated to the caller")
	},
	"smalldisk": func() string {
		return unless(os.Getenv("RC_FS_SMALL") != "", "root mounts a small file system for it: sudo make test")
	},
	"noxattr": func() string {
		return unless(os.Getenv("RC_FS_NOXATTR") != "", "root mounts a ramfs for it: sudo make test")
	},
	"root":     func() string { return unless(os.Getuid() == 0, "the caller is not root") },
	"user":     func() string { return unless(os.Getuid() != 0, "the caller is root") },
	"testuser": testUser,
	"ptmx":     func() string { return accessible("/dev/ptmx") },
}

var probed = map[string]string{}

// hostHas runs a probe once.
func hostHas(need string) string {
	if _, done := probed[need]; !done {
		probed[need] = needs[need]()
	}
	return probed[need]
}

func unless(ok bool, reason string) string {
	if ok {
		return ""
	}
	return reason
}

func tryUnshare(args ...string) string {
	out, err := exec.Command("unshare", append(args, "true")...).CombinedOutput()
	if err != nil {
		return "unshare " + strings.Join(args, " ") + ": " + strings.TrimSpace(string(out))
	}
	return ""
}

func program(name, device string) string {
	if _, err := exec.LookPath(name); err != nil {
		return err.Error()
	}
	if device != "" {
		return accessible(device)
	}
	return ""
}

func accessible(file string) string {
	if err := unix.Access(file, unix.R_OK|unix.W_OK); err != nil {
		return file + ": " + err.Error()
	}
	return ""
}

// delegatedCgroup: the cgroup that this process is in lies on a cgroup2 mount and
// a group can be made in it.
func delegatedCgroup() string {
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err.Error()
	}
	for _, line := range strings.Split(string(data), "\n") {
		path, ok := strings.CutPrefix(line, "0::")
		if !ok {
			continue
		}
		dir := "/sys/fs/cgroup" + path + "/e2e-probe"
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "no delegated cgroup v2: " + err.Error()
		}
		if err := os.Remove(dir); err != nil {
			return err.Error()
		}
		return ""
	}
	return "no cgroup v2 in /proc/self/cgroup"
}

// userOverlay tries the mount that the overlay driver needs.
func userOverlay() string {
	const script = `d=$(mktemp -d) && cd "$d" && mkdir l u w m && mount -t overlay -o lowerdir=l,upperdir=u,workdir=w,userxattr o m; s=$?; cd /; umount "$d/m" 2>/dev/null; rm -rf "$d"; exit $s`
	out, err := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script).CombinedOutput()
	if err != nil {
		return "overlay as a user: " + strings.TrimSpace(string(out))
	}
	return ""
}
