package main

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// stdio: the standard streams must be pipes, a terminal of the container's or its
// /dev/null; opened anew the other way round they lead nowhere.
func stdio([]string) {
	for fd := range 3 {
		name := "stream " + strconv.Itoa(fd)
		link := "/proc/self/fd/" + strconv.Itoa(fd)
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			held(name, err)
			continue
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFBLK:
			breach(name, "is a file of the caller's (mode %o)", st.Mode)
		default:
			held(name, fmt.Sprintf("mode %o", st.Mode))
		}
		for _, flags := range []int{unix.O_WRONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_TRUNC, unix.O_RDONLY} {
			again, err := unix.Open(link, flags|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
			if err != nil {
				held(name+" again", err)
				continue
			}
			if fd == 0 && flags&unix.O_ACCMODE != unix.O_RDONLY {
				_, _ = unix.Write(again, []byte("EVIL"))
			}
			if fd > 0 && flags == unix.O_RDONLY {
				buf := make([]byte, 256)
				if n, _ := unix.Read(again, buf); n > 0 && strings.Contains(string(buf[:n]), "earlier") {
					breach(name, "reads what the caller's file held: %q", buf[:n])
				}
			}
			_ = unix.Ftruncate(again, 0)
			_ = unix.Close(again)
		}
		refused(name+" truncate", unix.Truncate(link, 0), "truncated")
	}
}

// leaks SECRET MARKER: what came with the payload that nobody gave it.
func leaks(args []string) {
	secret, marker := args[0], args[1]
	for _, dir := range []string{"/proc/self/fd", "/proc/1/fd"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			held(dir, err)
			continue
		}
		for _, e := range entries {
			n, _ := strconv.Atoi(e.Name())
			to, err := os.Readlink(dir + "/" + e.Name())
			if err != nil { // the descriptor by which the folder was read
				continue
			}
			// Go's own poller, made after the execve; the folder itself.
			if n > 2 && !strings.HasPrefix(to, "anon_inode:") && to != dir && !strings.HasPrefix(to, "/proc/") {
				breach(dir, "descriptor %d is %s", n, to)
			} else {
				held(dir, fmt.Sprintf("%d %.10s", n, to))
			}
		}
	}
	for _, file := range []string{"/proc/self/environ", "/proc/1/environ", "/proc/self/mountinfo", "/proc/self/cgroup", "/proc/1/maps"} {
		data, err := os.ReadFile(file)
		if file == "/proc/self/mountinfo" {
			data = withoutEtc(data)
		}
		if strings.Contains(string(data), secret) || strings.Contains(string(data), marker) {
			breach(file, "%s", around(string(data), secret, marker))
		} else {
			held(file, fmt.Sprintf("%v", err))
		}
	}
	// A stray descriptor need not be in the list of a process that cannot be read.
	for fd := 3; fd < 64; fd++ {
		if unix.Faccessat(fd, "."+marker, 0, 0) == nil || unix.Faccessat(fd, strings.Repeat("../", 20)+marker[1:], 0, 0) == nil {
			breach("descriptor "+strconv.Itoa(fd), "leads to the host's files")
		}
	}
}

// tty: pushes input into every terminal that it can name, and takes it over.
func tty([]string) {
	signal.Ignore(unix.SIGHUP) // of a terminal that it takes and closes
	names := []string{"/dev/tty", "/dev/console", "/dev/tty0", "/dev/tty1", "/dev/stdin", "/proc/1/fd/0", "/proc/self/fd/1"}
	if entries, err := os.ReadDir("/dev/pts"); err == nil {
		for _, e := range entries {
			names = append(names, "/dev/pts/"+e.Name())
		}
	}
	for fd := range 3 {
		push("descriptor "+strconv.Itoa(fd), fd)
	}
	for _, name := range names {
		fd, err := unix.Open(name, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			held(name, err)
			continue
		}
		push(name, fd)
		_ = unix.Close(fd)
	}
}

// push types a command, as su and bubblewrap once let their children do
// (CVE-2017-5226). That it works on the container's own terminal is no harm: the
// test looks at the caller's.
func push(name string, fd int) {
	_ = unix.IoctlSetInt(fd, unix.TIOCSCTTY, 1)
	var err error
	for _, c := range []byte("touch /tmp/rc-pwned\n") {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSTI, int(c)); err != nil {
			break
		}
	}
	held("TIOCSTI "+name, fmt.Sprintf("%v", err))
	// TIOCLINUX 2 pastes on a virtual console (CVE-2023-1523).
	held("TIOCLINUX "+name, fmt.Sprintf("%v", unix.IoctlSetPointerInt(fd, unix.TIOCLINUX, 2)))
}

// around is the line that holds one of the texts.
func around(data string, texts ...string) string {
	for line := range strings.Lines(data) {
		for _, text := range texts {
			if strings.Contains(line, text) {
				return line
			}
		}
	}
	return data
}

var files = map[string]bool{"hosts": true, "hostname": true, "resolv.conf": true}

// withoutEtc drops the three files of /etc that every runtime binds: the kernel
// shows where on their file system they lie.
func withoutEtc(mountinfo []byte) (out []byte) {
	for line := range strings.Lines(string(mountinfo)) {
		f := strings.Fields(line)
		if len(f) < 5 || !strings.Contains(f[3], "/containers/") || !files[filepath.Base(f[3])] {
			out = append(out, line...)
		}
	}
	return out
}
