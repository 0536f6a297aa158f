package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

var maskedFiles = []string{"/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/interrupts"}
var readonlyFolders = []string{"/proc/sys", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/sysrq-trigger", "/sys"}

// masks: takes covers off, mounts over them, makes read-only writable, mounts a
// fresh proc and sysfs; then does the same as root of a new user namespace with a
// new mount namespace. "inner" is that second round.
func masks(args []string) {
	inner := len(args) > 0
	round := map[bool]string{false: "", true: "in a new user namespace: "}[inner]
	for _, path := range maskedFiles {
		var before, after unix.Stat_t
		_ = unix.Stat(path, &before)
		for _, flags := range []int{0, unix.MNT_DETACH, unix.MNT_FORCE} {
			refused(round+"umount "+path, unix.Unmount(path, flags), "taken off")
		}
		_ = unix.Stat(path, &after)
		if before.Ino != after.Ino || before.Dev != after.Dev {
			breach(round+"mask of "+path, "another file shows")
		}
		// Moving the cover elsewhere would uncover as well.
		refused(round+"move the mask of "+path, unix.Mount(path, "/tmp", "", unix.MS_MOVE, ""), "moved")
	}
	for _, path := range readonlyFolders {
		refused(round+"remount "+path, unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND, ""), "writable")
		attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
		refused(round+"mount_setattr "+path, unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, &attr), "writable")
	}
	_ = os.MkdirAll("/fresh", 0o755)
	for _, kind := range []string{"proc", "sysfs"} {
		err := unix.Mount(kind, "/fresh", kind, 0, "")
		if err == nil {
			_, err = os.Stat("/fresh/kcore")
			if kind == "sysfs" {
				_, err = os.Stat("/fresh/firmware")
			}
		}
		refused(round+"mount a fresh "+kind, err, "without masks")
		// A bind without its submounts shows what they cover.
		err = unix.Mount(map[string]string{"proc": "/proc", "sysfs": "/sys"}[kind], "/fresh", "", unix.MS_BIND, "")
		refused(round+"bind "+kind+" without its covers", err, "uncovered")
		_ = unix.Unmount("/fresh", unix.MNT_DETACH)
	}
	if !inner {
		inNewUserNamespace("masks", "inner")
	}
}

func inNewUserNamespace(args ...string) {
	exe, _ := os.Executable()
	cmd := exec.Command(exe, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if len(out) == 0 {
		held("a new user namespace", err)
		return
	}
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		say(line)
	}
	breached = breached || bytes.Contains(out, []byte("BREACH"))
}

// host-facts: what no flag of the command line gives a user's container: the
// kernel's memory, the host's settings, the host's devices.
func hostFacts([]string) {
	for _, path := range []string{"/proc/kcore", "/dev/mem", "/dev/kmem", "/dev/port", "/proc/kpagecount", "/proc/kallsyms.x"} {
		f, err := os.Open(path)
		if err == nil {
			_, err = f.Read(make([]byte, 16))
			_ = f.Close()
			if err != nil && err.Error() == "EOF" {
				err = fmt.Errorf("empty")
			}
		}
		refused("read "+path, err, "read")
	}
	// Opened only: should one of them be let through, the host must survive it.
	for _, path := range []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory", "/proc/sys/kernel/panic",
		"/proc/sys/fs/binfmt_misc/register", "/proc/sysrq-trigger", "/proc/sys/kernel/keys/maxkeys", "/sys/kernel/uevent_helper",
		"/sys/power/state", "/proc/irq/0/smp_affinity", "/proc/sys/kernel/yama/ptrace_scope", "/sys/kernel/mm/transparent_hugepage/enabled",
	} {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err == nil {
			_ = f.Close()
		}
		refused("write "+path, err, "opened for writing")
	}
	refused("reboot", unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF), "reboot(2) took it")
	refused("init_module", unix.InitModule([]byte("x"), ""), "loaded")
	tv := unix.Timeval{Sec: 1}
	refused("settimeofday", unix.Settimeofday(&tv), "the host's clock is set")
	refused("swapoff", errnoErr(second(unix.Syscall(unix.SYS_SWAPOFF, uintptr(0), 0, 0))), "done")
}

func second(_, _ uintptr, e unix.Errno) unix.Errno { return e }

// devices: makes device nodes in every folder that might allow them, and opens
// what it made.
func devices(dirs []string) {
	for _, dir := range append(dirs, "/", "/tmp", "/dev", "/dev/shm") {
		for name, d := range map[string]struct {
			mode     uint32
			maj, min uint32
		}{
			"mem": {unix.S_IFCHR, 1, 1}, "kmsg": {unix.S_IFCHR, 1, 11}, "sda": {unix.S_IFBLK, 8, 0}, "vda": {unix.S_IFBLK, 254, 0},
			"loop": {unix.S_IFBLK, 7, 0}, "null": {unix.S_IFCHR, 1, 3}, "tty0": {unix.S_IFCHR, 4, 0}, "fuse": {unix.S_IFCHR, 10, 229},
		} {
			path := filepath.Join(dir, "node-"+name)
			err := unix.Mknod(path, d.mode|0o666, int(unix.Mkdev(d.maj, d.min)))
			refused("mknod "+path, err, "made")
			_ = os.Remove(path)
		}
	}
}
