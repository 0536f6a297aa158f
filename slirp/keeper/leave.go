package keeper

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

var errBusy = errors.New("somebody starts a keeper or is connected")

// leave takes the socket away and returns nil when the process shall end.
// Under the lock no rc can be between "a keeper answers" and "it is gone for
// good"; who connects all the same, after the last look, reads the end of file
// and starts the next keeper. The lock is released by the end of the process.
func (k *keeper) leave(force bool) error {
	lock, err := os.OpenFile(filepath.Join(k.runtime, slirp.LockName), os.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	// Without the folder (a logout took it) there is no lock, and no socket either.
	if err != nil && !errors.Is(err, os.ErrNotExist) && !force {
		_ = lock.Close()
		return errBusy
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.conns) > 0 && !force {
		_ = lock.Close()
		return errBusy
	}
	k.leaving = true
	// Only our own socket: after a logout and a login the same path may be another's.
	if now, err := os.Lstat(filepath.Join(k.runtime, slirp.SocketName)); err == nil && os.SameFile(now, k.self) {
		_ = k.listener.Close()
		k.networks.remove()
		dropWords(k.runtime)
	}
	return nil
}
