package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// trace NAME...: does to every process that was started under one of these names
// what ptrace(2)'s access check guards. It says how many there were.
func trace(args []string) {
	found := map[string]int{}
	for _, pid := range pids() {
		name := argv0(pid)
		for _, want := range args {
			if name == want {
				found[name]++
				pry(pid, name)
			}
		}
	}
	for name, n := range found {
		fmt.Printf("met %s %d\n", name, n)
	}
}

// pry tries each door once. What can be read of a process that nobody may trace:
// cmdline, stat, status, comm, cgroup (proc(5)).
func pry(pid int, name string) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	for _, file := range []string{"environ", "maps", "smaps", "auxv", "stack", "syscall", "personality", "mem", "pagemap", "io"} {
		readFile(name, dir+file, file)
	}
	for _, link := range []string{"exe", "root", "cwd", "ns/user", "ns/mnt", "ns/net", "fd/0", "fd/4", "fd/5"} {
		to, err := os.Readlink(dir + link)
		refused(name+" readlink "+link, err, to)
		fd, err := unix.Open(dir+link, unix.O_PATH|unix.O_CLOEXEC, 0)
		refused(name+" open "+link, err, "a descriptor")
		if err == nil {
			_ = unix.Close(fd)
		}
	}
	for _, list := range []string{"fd", "map_files", "fdinfo", "task/" + strconv.Itoa(pid) + "/fd", "root/", "cwd/"} {
		names, err := os.ReadDir(dir + list)
		if err == nil {
			err = io.EOF
		}
		// Numbers alone say nothing: /proc gives the folder to the uid that root of
		// the mm's user namespace maps to. What they lead to counts.
		for _, n := range names {
			var to string
			if to, err = os.Readlink(dir + list + "/" + n.Name()); err == nil {
				refused(name+" readlink below "+list, nil, to)
				break
			}
		}
		refused(name+" look through "+list, err, fmt.Sprint(names))
	}
	attach(pid, name)
	borrow(pid, name)
}

func readFile(name, path, file string) {
	f, err := os.Open(path)
	var n int
	if err == nil {
		buf := make([]byte, 4096)
		if n, err = f.Read(buf); err == nil && n == 0 {
			err = io.EOF
		}
		_ = f.Close()
	}
	refused(name+" read "+file, err, fmt.Sprintf("%d bytes", n))
}

func attach(pid int, name string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0)
	refused(name+" ptrace seize", errnoErr(errno), "seized")
	if errno == 0 {
		letGo(pid)
	}
	err := unix.PtraceAttach(pid)
	refused(name+" ptrace attach", err, "attached")
	if err == nil {
		_ = unix.PtraceDetach(pid)
	}
	for verb, call := range map[string]func(int, []unix.Iovec, []unix.RemoteIovec, uint) (int, error){
		"process_vm_readv": unix.ProcessVMReadv, "process_vm_writev": unix.ProcessVMWritev,
	} {
		buf := make([]byte, 16)
		local := []unix.Iovec{{Base: &buf[0], Len: 16}}
		_, err := call(pid, local, []unix.RemoteIovec{{Base: 0x400000, Len: 16}}, 0)
		if err == unix.EFAULT { // the access was granted, only the address was wrong
			err = nil
		}
		refused(name+" "+verb, err, "access to its memory")
	}
}

// letGo ends a trace. The payload, which it is by now, could not be reaped else.
func letGo(pid int) {
	_, _, _ = unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_INTERRUPT, uintptr(pid), 0, 0, 0, 0)
	_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
	_ = unix.PtraceDetach(pid)
}

func errnoErr(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

// borrow takes descriptors and namespaces by pidfd.
func borrow(pid int, name string) {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		held(name+" pidfd_open", err)
		return
	}
	defer unix.Close(pidfd)
	for _, target := range []int{0, 1, 4, 5, 7} {
		fd, err := unix.PidfdGetfd(pidfd, target, 0)
		if err == unix.EBADF { // allowed, only not open
			err = nil
		}
		refused(name+" pidfd_getfd", err, "a descriptor of it")
		if err == nil && fd > 0 {
			_ = unix.Close(fd)
		}
	}
	for _, kind := range []struct {
		name string
		flag int
	}{{"user", unix.CLONE_NEWUSER}, {"net", unix.CLONE_NEWNET}, {"ipc", unix.CLONE_NEWIPC}, {"uts", unix.CLONE_NEWUTS}, {"mnt", unix.CLONE_NEWNS}} {
		// On a thread that is thrown away, should it work. A user or a mount
		// namespace wants a single thread, which says EINVAL for itself.
		done := make(chan error)
		go func() {
			runtime.LockOSThread()
			done <- unix.Setns(pidfd, kind.flag)
		}()
		refused(name+" setns "+kind.name, <-done, "joined")
	}
}

// race SECONDS MARKER SECRET: watches for processes that come into this pid
// namespace and looks into each while it is still the runtime's. Its evidence is
// content: the runtime's program, the host's files, the caller's environment.
func race(args []string) {
	seconds, _ := strconv.ParseFloat(args[0], 64)
	end := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	marker, secret := args[1], args[2]
	var looks, met sync.Map
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for time.Now().Before(end) {
				for _, pid := range pids() {
					if pid == 1 {
						continue
					}
					looks.Store(pid, true)
					if name := argv0(pid); strings.HasPrefix(name, "rc-") {
						met.Store(pid, true)
					}
					glance(pid, marker, secret)
				}
			}
		})
	}
	wg.Wait()
	n, m := 0, 0
	looks.Range(func(any, any) bool { n++; return true })
	met.Range(func(any, any) bool { m++; return true })
	fmt.Printf("met %d processes, %d of them still the runtime's\n", n, m)
}

func glance(pid int, marker, secret string) {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if exe, err := os.Readlink(dir + "exe"); err == nil {
		if strings.Contains(exe, "rc-") {
			breach("exe of a starting neighbour", "%s", exe)
		}
	} else {
		held("exe of a starting neighbour", unwrap(err))
	}
	for _, link := range []string{"root", "cwd"} {
		if marked(dir+link, marker) || marked(dir+link+"/../../../../../../../..", marker) {
			breach(link+" of a starting neighbour", "shows the host's files")
		}
	}
	for _, file := range []string{"environ", "maps", "mounts"} {
		data, err := os.ReadFile(dir + file)
		if err != nil {
			held(file+" of a starting neighbour", unwrap(err))
			continue
		}
		if text := string(data); strings.Contains(text, secret) || strings.Contains(text, "rc-init") || file == "mounts" && strings.Contains(text, marker) {
			breach(file+" of a starting neighbour", "%.200s", text)
		}
	}
	glanceTrace(pid)
}

// glanceTrace seizes, and only then looks at who it is: a tracee that is still
// the runtime's program cannot become another behind our back unseen.
func glanceTrace(pid int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if !strings.HasPrefix(argv0(pid), "rc-") {
		return
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0)
	if errno != 0 {
		held("ptrace a starting neighbour", errno)
		return
	}
	// ENOENT: it is past its end and has no memory left to read (proc_pid_exe(5)).
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil && !errors.Is(err, unix.ENOENT) || strings.Contains(exe, "rc-") {
		breach("ptrace a starting neighbour", "%s %v", exe, err)
	}
	letGo(pid)
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}
