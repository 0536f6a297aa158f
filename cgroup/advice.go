package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

const finding = "find a cgroup of our own"

// unified is what turns a version 1 or hybrid host into a version 2 host; needed
// for systemd before 256, which then dropped version 1.
const unified = "boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line (without systemd: mount -t cgroup2 cgroup2 /sys/fs/cgroup in place of the version 1 mounts)"

func noProc(err error) error {
	return hint.New(finding, err, "mount /proc: mount -t proc proc /proc")
}

// whyNoV2 is for a mount namespace without any cgroup2 mount.
func (p *place) whyNoV2() error {
	if len(p.v1) > 0 {
		return hint.Newf(finding, unified, "this host uses cgroup version 1, of which a user can be given nothing safely")
	}
	return hint.Newf(finding, "mount -t cgroup2 cgroup2 /sys/fs/cgroup", "no cgroup2 file system is mounted here")
}

// whyNotShown is for a process whose group lies outside of every mount.
func (p *place) whyNotShown(m mountPoint) error {
	return hint.Newf(finding,
		"start this container with a cgroup namespace of its own (docker, podman: --cgroupns=private)",
		"this process's group %s is not below %s, which %s shows", p.group, m.root, m.dir)
}

// whyNone is for a process that stands in somebody else's group.
func (p *place) whyNone() error {
	said := fmt.Errorf("%s belongs to %s: %w", p.dir, owner(p.dir), unix.EACCES)
	if p.mount.readOnly {
		return hint.New(finding, fmt.Errorf("%s: %w", p.mount.dir, unix.EROFS),
			"start this container with a writable cgroup (podman: --security-opt unmask=/sys/fs/cgroup; docker: --privileged --cgroupns=private)")
	}
	if slices.Contains(p.v1, "memory") {
		// To delegate the empty version 2 tree of a hybrid host would limit nothing.
		return hint.New(finding, fmt.Errorf("version 1 holds the controllers (a hybrid host), and %w", said), unified)
	}
	unit := filepath.Base(p.dir)
	switch {
	case !p.systemd():
		return hint.New(finding, said, handMade(p.mount.dir))
	case strings.HasPrefix(unit, "session-") || sharedDaemon(unit):
		return hint.New(finding, said, throughUserSystemd())
	case strings.HasSuffix(unit, ".service"):
		return hint.New(finding, said, dropIn(unit, "Delegate=yes", "sudo systemctl restart "+unit))
	}
	return hint.New(finding, said, throughUserSystemd())
}

// whyManaged is for a process in a group that is its user's, and that the user's
// systemd manages.
func (p *place) whyManaged() error {
	return hint.Newf(finding, throughUserSystemd(), "%s is managed by systemd, which resets what others set there", p.dir)
}

// systemd tells whether systemd manages this tree (sd_booted(3)).
func (p *place) systemd() bool {
	if p.view.made != nil {
		return strings.Contains(p.group, ".slice/") // a test's tree says so itself
	}
	_, err := os.Stat("/run/systemd/system")
	return err == nil
}

func owner(path string) string {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "somebody else"
	}
	if st.Uid == 0 {
		return "root"
	}
	return "uid " + strconv.Itoa(int(st.Uid))
}

// sharedDaemon names the services whose children are other people's work: to
// delegate their group to one user would be wrong.
func sharedDaemon(unit string) bool {
	switch strings.TrimSuffix(unit, ".service") {
	case "cron", "crond", "cronie", "anacron", "atd", "ssh", "sshd", "dropbear", "getty", "xdm", "lightdm":
		return true
	}
	return strings.HasPrefix(unit, "sshd@") || strings.HasPrefix(unit, "getty@")
}

// throughUserSystemd is for a session whose group is root's: only the user's
// systemd can move a process out of it, by asking PID 1.
func throughUserSystemd() string {
	uid := strconv.Itoa(os.Getuid())
	run := "XDG_RUNTIME_DIR=/run/user/" + uid + " systemd-run --user --scope --quiet -p Delegate=yes -- rc …"
	if _, err := os.Stat("/run/user/" + uid + "/systemd"); err == nil {
		return "run it in a scope of your own: " + run
	}
	return "start your systemd with `sudo loginctl enable-linger " + uid + "`, then run it in a scope of your own: " + run
}

// handMade is for hosts without systemd. Only the files that the kernel calls
// safe to give away are given: not the folder's own limits, which stay root's.
// $$ is the shell into which the line is pasted: that is the process to move.
func handMade(top string) string {
	uid := strconv.Itoa(os.Getuid())
	own := "rc-user-" + uid
	return "give yourself one: sudo sh -c \"cd " + top + " && mkdir -p " + own + "/shell && chown " + uid + " " + own + " " + own + "/shell " +
		own + "/cgroup.procs " + own + "/cgroup.threads " + own + "/cgroup.subtree_control " + own + "/shell/cgroup.procs && echo $$ > " + own + "/shell/cgroup.procs\""
}

// dropIn is the whole command that adds one setting to a unit.
func dropIn(unit, line, then string) string {
	d := "/etc/systemd/system/" + unit + ".d"
	return "sudo mkdir -p " + d + " && printf '[Service]\\n" + line + "\\n' | sudo tee " + d + "/delegate.conf && sudo systemctl daemon-reload && " + then
}

// whyMissing says where on the way down to the subtree the controller name is
// not handed on, and how to hand it on there.
func (s *Subtree) whyMissing(name string) error {
	op := "apply a " + name + " limit"
	lacks := s.firstWithout(name)
	if lacks == s.mount.dir {
		return s.whyNotAtTop(op, name)
	}
	giver := filepath.Dir(lacks)
	said := fmt.Errorf("the %s controller is not delegated: %s/%s does not hand it down", name, giver, controlFile)
	if strings.Contains(s.Path, ".slice/") && !slices.Contains(systemdDelegates, name) {
		return hint.New(op, said, s.handsDown(name, giver))
	}
	const all = "Delegate=cpu cpuset io memory pids"
	for dir := s.Path; dir != s.mount.dir; dir = filepath.Dir(dir) {
		unit := filepath.Base(dir)
		switch {
		case strings.HasPrefix(unit, "user@") && strings.HasSuffix(unit, ".service"):
			return hint.New(op, said, dropIn("user@.service", all, "sudo systemctl restart "+unit+" (this ends your sessions; or log in anew)"))
		case strings.HasSuffix(unit, ".service") && !strings.Contains(dir, "/user@"):
			return hint.New(op, said, dropIn(unit, all, "sudo systemctl restart "+unit))
		}
	}
	return hint.New(op, said, "echo +"+name+" | sudo tee "+giver+"/"+controlFile)
}

// firstWithout is the topmost group towards Path that lacks the controller.
func (s *Subtree) firstWithout(name string) string {
	lacks := s.Path
	for dir := s.Path; ; dir = filepath.Dir(dir) {
		d, err := openDir(dir)
		if err != nil || slices.Contains(d.fields(controllersFile), name) {
			if err == nil {
				d.close()
			}
			return lacks
		}
		d.close()
		lacks = dir
		if dir == s.mount.dir {
			return lacks
		}
	}
}

// whyNotAtTop is for a controller that even the top of the tree lacks.
func (s *Subtree) whyNotAtTop(op, name string) error {
	at, err := locate(s.view)
	v1 := name
	if name == "io" {
		v1 = "blkio" // its name in version 1
	}
	if err == nil && slices.Contains(at.v1, v1) {
		return hint.Newf(op, unified, "the %s controller is held by cgroup version 1 (a hybrid host)", name)
	}
	if d, err := openDir(s.mount.dir); err == nil {
		defer d.close()
		if d.has(typeFile) { // not the hierarchy's own root: a container sees a part of it
			return hint.Newf(op, "delegate it where this container is started (systemd: Delegate=yes on its unit)",
				"the %s controller is not delegated to this container", name)
		}
	}
	fix := "use a kernel with CONFIG_CGROUPS and this controller"
	if name == "memory" {
		// Raspberry Pi OS and some cloud kernels switch it off by default.
		fix = "boot with cgroup_enable=memory on the kernel's command line"
	}
	return hint.Newf(op, fix, "this kernel has no %s controller, or it is switched off", name)
}
