package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	newRoot = "/root"
	home    = newRoot + "/home"
	userID  = 1000
)

// unit starts the agent when the user's systemd is up, so that the first command
// already finds the user's runtime folder and bus.
const unit = `[Unit]
Description=Commands of the host
After=systemd-user-sessions.service systemd-logind.service user@1000.service
Wants=user@1000.service
[Service]
ExecStart=/run/rc-agent/agent
Environment=PATH=/share/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
StandardError=journal+console
TasksMax=infinity
`

// firstStage is all that the initial RAM disk does. It never returns but in error;
// the kernel then panics and QEMU ends (-no-reboot).
func firstStage() error {
	for _, m := range []struct{ what, where string }{{"devtmpfs", "/dev"}, {"proc", "/proc"}, {"sysfs", "/sys"}} {
		if err := mount(m.what, m.where, m.what, 0, ""); err != nil {
			return err
		}
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := mountDisks(); err != nil {
		return err
	}
	if err := leaveAgent(); err != nil {
		return err
	}
	return switchRoot()
}

func mount(what, where, kind string, flags uintptr, options string) error {
	if err := os.MkdirAll(where, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(what, where, kind, flags, options); err != nil {
		return fmt.Errorf("mount %s on %s (%s %s): %w", what, where, kind, options, err)
	}
	return nil
}

// loadModules loads /modules in the order of the file "order".
func loadModules() error {
	order, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(order)) {
		f, err := os.Open(filepath.Join("/modules", name))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		if err := f.Close(); err != nil {
			return err
		}
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load %s: %w", name, err)
		}
	}
	return nil
}

// mountDisks finds each disk by the serial number that QEMU was given: the order
// in which they appear says nothing.
func mountDisks() error {
	root, err := disk("root", 10*time.Second)
	if err != nil {
		return err
	}
	if err := mount(root, newRoot, "ext4", unix.MS_NOATIME, ""); err != nil {
		return err
	}
	// For a snapshot the disks of the guests to come are mounted when they come.
	if !flag("rc.later") {
		if err := mountOthers(newRoot, flag("rc.scratch")); err != nil {
			return err
		}
	}
	persistent, err := disk("home", 0)
	if err != nil {
		return nil // /home is on the root's disk, and as short-lived
	}
	if err := mount(persistent, home, "ext4", unix.MS_NOATIME, argument("rc.home")); err != nil {
		return err
	}
	return userHome(filepath.Join(home, "user"))
}

// mountOthers mounts what each guest has of its own below root.
func mountOthers(root string, scratch bool) error {
	share, err := disk("share", 0)
	if err != nil {
		return err
	}
	if err := mount(share, root+"/share", "ext4", unix.MS_RDONLY|unix.MS_NOATIME, "noload"); err != nil || !scratch {
		return err
	}
	device, err := disk("scratch", 0)
	if err != nil {
		return err
	}
	where := root + "/scratch"
	if err := mount(device, where, "ext4", unix.MS_NOATIME, ""); err != nil {
		return err
	}
	return os.Chmod(where, 0o1777)
}

// userHome makes the user's home on a fresh disk.
func userHome(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		if os.IsExist(err) {
			return nil
		}
		return err
	}
	return os.Chown(dir, userID, userID)
}

// disk returns the device whose serial number is serial, waiting that long for it.
func disk(serial string, wait time.Duration) (string, error) {
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		found, err := filepath.Glob("/sys/block/vd*/serial")
		if err != nil {
			return "", err
		}
		for _, path := range found {
			if b, err := os.ReadFile(path); err == nil && string(bytes.TrimRight(b, "\x00\n")) == serial {
				return "/dev/" + filepath.Base(filepath.Dir(path)), nil
			}
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("no disk with the serial number %q", serial)
		}
	}
}

// flag says whether the kernel's command line has the word.
func flag(word string) bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(line)), word)
}

// argument returns the value of name=VALUE on the kernel's command line.
func argument(name string) string {
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return ""
	}
	for _, word := range strings.Fields(string(line)) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

// leaveAgent puts this program and its unit where systemd will find them: the
// root's disk knows nothing of the agent, so a new agent needs no new disk.
func leaveAgent() error {
	run := newRoot + "/run"
	if err := mount("tmpfs", run, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return err
	}
	wants := run + "/systemd/system/multi-user.target.wants"
	for _, dir := range []string{run + "/rc-agent", wants} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	self, err := os.ReadFile("/init")
	if err != nil {
		return err
	}
	if err := os.WriteFile(run+"/rc-agent/agent", self, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(run+"/systemd/system/rc-agent.service", []byte(unit), 0o644); err != nil {
		return err
	}
	return os.Symlink("/run/systemd/system/rc-agent.service", wants+"/rc-agent.service")
}

// switchRoot is switch_root(8), without the deletion: the RAM disk is 3 MB.
func switchRoot() error {
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := unix.Mount(dir, newRoot+dir, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	if err := os.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Exec("/sbin/init", []string{"/sbin/init"}, []string{"HOME=/", "TERM=linux"})
}
