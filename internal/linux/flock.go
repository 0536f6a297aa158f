package linux

import "golang.org/x/sys/unix"

// Flock is flock(2), again where a signal interrupted the wait. The error is the bare
// errno.
func Flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// Leads tells whether path, itself and not by a symbolic link, still leads to the open
// file fd. Where it does not, who has locked fd holds a lock that nobody else finds.
func Leads(path string, fd int) bool {
	var held, there unix.Stat_t
	return unix.Fstat(fd, &held) == nil && unix.Lstat(path, &there) == nil && held.Ino == there.Ino && held.Dev == there.Dev
}
