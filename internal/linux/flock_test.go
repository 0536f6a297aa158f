package linux

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A lock is found by its path for as long as that is the same file.
func TestFlockAndLeads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	var fds [2]int
	for i := range fds {
		fd, err := Open(path, unix.O_RDWR|unix.O_CREAT, 0o600)
		must(t, err)
		defer unix.Close(fd)
		fds[i] = fd
	}
	must(t, Flock(fds[0], unix.LOCK_EX))
	if err := Flock(fds[1], unix.LOCK_SH|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("locked twice: %v", err)
	}
	if !Leads(path, fds[0]) || Leads(path, -1) {
		t.Error("not the same file, or no file is one")
	}
	must(t, os.Rename(path, path+".old"))
	if Leads(path, fds[0]) {
		t.Error("a name that is gone")
	}
	must(t, os.Symlink("lock.old", path))
	if Leads(path, fds[0]) {
		t.Error("by a link")
	}
	must(t, os.Remove(path))
	must(t, os.WriteFile(path, nil, 0o600))
	if Leads(path, fds[0]) || !Leads(path+".old", fds[0]) {
		t.Error("another file of the same name")
	}
}
