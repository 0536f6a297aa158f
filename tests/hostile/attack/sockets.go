package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sockets [@ABSTRACT|FOLDER]...: connects to each abstract name, and to every
// socket of the runtime's below each folder, before and after uncovering it.
func sockets(args []string) {
	listed, _ := os.ReadFile("/proc/net/unix")
	for _, line := range strings.Split(string(listed), "\n") {
		f := strings.Fields(line)
		if len(f) > 7 && strings.HasPrefix(f[7], "/") && runtimes(f[7]) {
			dial("socket of /proc/net/unix", f[7])
		}
	}
	for _, arg := range args {
		if strings.HasPrefix(arg, "@") {
			dial("abstract "+arg, arg)
			continue
		}
		knock(arg)
		uncover(arg)
		knock(arg)
	}
}

// runtimes tells whether a path is one of the runtime's own sockets.
func runtimes(path string) bool {
	return strings.HasSuffix(path, "keeper.sock") || strings.Contains(path, "/rc-") && strings.HasSuffix(path, ".sock")
}

func dial(name, path string) {
	for how, kind := range map[string]int{"stream": unix.SOCK_STREAM, "seqpacket": unix.SOCK_SEQPACKET, "datagram": unix.SOCK_DGRAM} {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			held(name, err)
			continue
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == nil && !strings.HasPrefix(path, "@") {
			err = greet(fd)
		}
		_ = unix.Close(fd)
		refused(name+" "+how, err, "connected to "+path)
	}
}

// greet speaks the keeper's and the shim's protocol: a server that hangs up
// without a word has let nobody in.
func greet(fd int) error {
	tv := unix.Timeval{Sec: 2}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	_, _ = unix.Write(fd, []byte(`{"Hello":{},"Op":"namespaces"}`))
	buf, oob := make([]byte, 4096), make([]byte, 256)
	n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, 0)
	switch {
	case err != nil:
		return err
	case n <= 0:
		return fmt.Errorf("it hung up")
	}
	fmt.Printf("answer: %q, %d bytes of control\n", buf[:n], oobn)
	return nil
}

func knock(dir string) {
	seen := 0
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case path != dir && strings.Count(path, "/") > 8 || path == dir+"/proc" || path == dir+"/sys":
			return fs.SkipDir
		case d.Type()&fs.ModeSocket != 0 && (runtimes(path) || strings.HasSuffix(path, ".sock") && len(d.Name()) > 64):
			seen++
			dial("socket below "+dir, path)
		}
		return nil
	})
	held("sockets below "+dir, fmt.Sprintf("%d", seen))
}

// uncover takes away every mount below dir, as CAP_SYS_ADMIN may.
func uncover(dir string) {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	lines := strings.Split(string(data), "\n")
	for n := len(lines) - 1; n >= 0; n-- {
		f := strings.Fields(lines[n])
		if len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			held("umount below "+dir, fmt.Sprintf("%v", unix.Unmount(f[4], unix.MNT_DETACH)))
		}
	}
}
