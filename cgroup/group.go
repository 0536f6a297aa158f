package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

const (
	removeWait = 2 * time.Second
	freezeWait = 5 * time.Second
)

// PayloadFD opens the payload's own group for clone3's CLONE_INTO_CGROUP, which
// takes an O_PATH descriptor too (clone(2)): should it ever leak, it opens nothing.
// The caller closes it.
func (g *Group) PayloadFD() (*os.File, error) {
	path := filepath.Join(g.Path, payloadLeaf)
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, hint.New("open the container's cgroup", &os.PathError{Op: "open", Path: path, Err: err}, "")
	}
	return os.NewFile(uintptr(fd), path), nil
}

// AddPayload moves the process pid into the payload's own group: the fallback for
// CLONE_INTO_CGROUP, slower by 0.3 to 9 ms. EBUSY when the payload (a systemd)
// handed controllers further down: then only its own leaves take processes.
func (g *Group) AddPayload(pid int) error {
	d, err := openDir(filepath.Join(g.Path, payloadLeaf))
	if err == nil {
		defer d.close()
		err = d.write(procsFile, strconv.Itoa(pid))
	}
	if err != nil {
		return hint.New("move process "+strconv.Itoa(pid)+" into the container's cgroup", err, "")
	}
	return nil
}

// Populated tells whether a live process is in the group or below it; zombies
// do not count. A group that is gone is not populated.
func (g *Group) Populated() (bool, error) {
	d, err := openDir(g.Path)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, hint.New("look into a cgroup", err, "")
	}
	defer d.close()
	live, err := d.event("populated")
	return live != 0, err
}

// parent opens the folder that holds the group. A path that is not a container's
// group is refused, so that a damaged record can never remove a whole subtree.
func (g *Group) parent() (*dir, string, error) {
	name := filepath.Base(g.Path)
	if id, ok := strings.CutPrefix(name, prefix); !ok || !validID(id) || !filepath.IsAbs(g.Path) {
		return nil, "", hint.Newf("remove the cgroup "+strconv.Quote(g.Path), "", "not a container's group")
	}
	d, err := openDir(filepath.Dir(g.Path))
	return d, name, err
}

// event reads one number of cgroup.events; 0 when it is not there.
func (d *dir) event(key string) (uint64, error) {
	text, err := d.read(eventsFile)
	return keyed(text, key), err
}

// keyed finds the number of key in the kernel's flat keyed format.
func keyed(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key+" "); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
			return n
		}
	}
	return 0
}

func (d *dir) waitEmpty(limit time.Duration) (bool, error) { return d.await("populated", 0, limit) }

// await sleeps until key of cgroup.events has the value want, or limit is over.
// The kernel reports each change of the file as POLLPRI.
func (d *dir) await(key string, want uint64, limit time.Duration) (bool, error) {
	f, err := d.open(eventsFile, unix.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close()
	deadline := time.Now().Add(limit)
	buf := make([]byte, 256)
	for {
		// Reading arms the poll: a change after it is not missed.
		n, err := f.ReadAt(buf, 0)
		if err != nil && !isEOF(err) {
			return false, err
		}
		if keyed(string(buf[:n]), key) == want {
			return true, nil
		}
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		ready := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}}
		if _, err := unix.Poll(ready, int(left.Milliseconds())+1); err != nil && err != unix.EINTR {
			return false, os.NewSyscallError("poll", err)
		}
	}
}

// rmdir removes the empty group name in d. The kernel can answer EBUSY for a
// moment after the last process of it went.
func (d *dir) rmdir(name string) error {
	wait := time.Millisecond
	for deadline := time.Now().Add(removeWait); ; wait *= 2 {
		err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
		switch {
		case err == nil || err == unix.ENOENT:
			return nil
		case err != unix.EBUSY || time.Now().After(deadline):
			return &os.PathError{Op: "rmdir", Path: filepath.Join(d.path, name), Err: err}
		}
		time.Sleep(min(wait, 50*time.Millisecond))
	}
}
