package fuse

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
)

// Helper is a process that serves a mount (fuse-overlayfs). It ends by itself
// when the last clone of the mount is gone and every descriptor of it closed.
// It is a child of the caller, who must Wait for it.
type Helper struct {
	PID   int
	PidFD *os.File // readable by poll(2) once the process is dead; owned by the Helper
	proc  *os.Process
	log   *os.File
}

// logSize bounds what a helper's error output may take of memory, in bytes: a
// container that provokes messages for years must not fill it.
const logSize = 32 << 10

// startHelper runs program with the given descriptors as 3, 4, …, in a session
// of its own (the terminal's ^C is not for it), in `/`, with no stdio of ours
// and an environment of PATH alone: FUSE_OVERLAYFS_DISABLE_OVL_WHITEOUT in the
// user's would change the format of the upper folder.
func startHelper(program string, args []string, fds []int) (*Helper, error) {
	log, err := boundedLog()
	if err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		log.Close()
		return nil, err
	}
	defer null.Close()
	files := []*os.File{null, null, log}
	for _, fd := range fds {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			log.Close()
			return nil, fmt.Errorf("dup: %w", err)
		}
		file := os.NewFile(uintptr(dup), program)
		defer file.Close()
		files = append(files, file)
	}
	// A descriptor without close-on-exec would live on in the helper: a pipe of
	// the caller's would never see its end. None of ours is meant to be inherited.
	if err := linux.CloexecFrom(3); err != nil {
		log.Close()
		return nil, err
	}
	pidfd := -1
	proc, err := os.StartProcess(program, append([]string{program}, args...), &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/local/bin:/usr/bin:/bin"}, Files: files,
		Sys: &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd},
	})
	if err != nil {
		log.Close()
		return nil, err
	}
	h := &Helper{PID: proc.Pid, proc: proc, log: log}
	if pidfd >= 0 {
		h.PidFD = os.NewFile(uintptr(pidfd), "pidfd")
	}
	return h, nil
}

// boundedLog is a memory file that cannot grow: writes past its end fail, and
// no reader is needed as for a pipe, which would block or kill the writer.
func boundedLog() (*os.File, error) {
	fd, err := -1, error(unix.EINVAL)
	if !linux.Without(linux.MemfdNoexec) {
		fd, err = unix.MemfdCreate("stderr", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_NOEXEC_SEAL)
	}
	if err == unix.EINVAL { // MFD_NOEXEC_SEAL is Linux 6.3
		fd, err = unix.MemfdCreate("stderr", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	log := os.NewFile(uintptr(fd), "stderr")
	if err = unix.Ftruncate(fd, logSize); err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		log.Close()
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	return log, nil
}

// Log is what the helper wrote to its standard error so far, at most 32 KiB.
func (h *Helper) Log() string {
	buf := make([]byte, logSize)
	n, _ := h.log.ReadAt(buf, 0)
	return string(bytes.TrimSpace(bytes.TrimRight(buf[:n], "\x00")))
}

// Kill ends the helper at once. Files open on the mount then fail with
// ENOTCONN. os.ErrProcessDone if it is dead already.
func (h *Helper) Kill() error { return h.proc.Kill() }

// Wait waits for the end of the helper and reaps it: nil if it ended because
// its mount did, else an error with its status and last words. Call it once.
func (h *Helper) Wait() error {
	state, err := h.proc.Wait()
	if h.PidFD != nil {
		defer h.PidFD.Close()
	}
	defer h.log.Close()
	if err != nil {
		return err
	}
	if state.Success() {
		return nil
	}
	if said := lastLine(h.Log()); said != "" {
		return fmt.Errorf("fuse-overlayfs ended with %s: %s", state, said)
	}
	return fmt.Errorf("fuse-overlayfs ended with %s", state)
}

// lastLine keeps errors on one line: the last one says why a program gave up.
func lastLine(s string) string {
	if i := strings.LastIndexByte(s, '\n'); i >= 0 {
		return s[i+1:]
	}
	return s
}
