package logs

import (
	"time"

	"golang.org/x/sys/unix"
)

// follow reads until the writer has ended and all of its output was read.
func (r *reader) follow(w *Watcher) error {
	for soon := 0; ; {
		ended := r.q.Ended() // before the last look
		progress, err := false, error(nil)
		if r.fd < 0 {
			_ = r.begin() // a container that has written nothing has a log later
		}
		if r.fd >= 0 {
			progress, err = r.readAll()
		}
		switch {
		case err != nil:
			return err
		case progress && !r.done:
			soon = 0
			continue
		case r.done || ended:
			return r.q.Idle()
		}
		if err := r.q.Idle(); err != nil {
			return err
		}
		wait := time.Second // asks Ended, for a writer that was killed
		if soon > 0 {
			soon--
			wait = 20 * time.Millisecond
		}
		if wait = r.untilEnd(wait); wait <= 0 {
			return nil
		}
		if w.Wait(wait) && soon == 0 {
			soon = 50 // something happened: perhaps the end, whose lock goes a moment later
		}
	}
}

// untilEnd shortens a wait so that it does not outlast Until.
func (r *reader) untilEnd(wait time.Duration) time.Duration {
	if r.q.Until.IsZero() {
		return wait
	}
	return min(wait, time.Until(r.q.Until))
}

// Watcher wakes a follower when something happens in a folder. A user has 128
// instances of inotify(7) in all (fs.inotify.max_user_instances): whoever gets
// none looks by itself.
type Watcher struct{ fd int }

// pollEvery is how often a follower without inotify looks.
const pollEvery = 50 * time.Millisecond

// Watch begins to look at a folder.
func Watch(dir string) *Watcher {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &Watcher{-1}
	}
	const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, dir, events); err != nil {
		_ = unix.Close(fd)
		return &Watcher{-1}
	}
	return &Watcher{fd}
}

// Wait returns when something has happened (true), or after d.
func (w *Watcher) Wait(d time.Duration) bool {
	if w.fd < 0 {
		time.Sleep(min(d, pollEvery))
		return false
	}
	ready := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(ready, int(d.Milliseconds())+1)
	if n <= 0 || err != nil {
		return false
	}
	var events [4096]byte
	for {
		if n, _ := unix.Read(w.fd, events[:]); n < len(events)-unix.SizeofInotifyEvent-unix.NAME_MAX {
			return true
		}
	}
}

// Close gives the instance back.
func (w *Watcher) Close() {
	if w.fd >= 0 {
		_ = unix.Close(w.fd)
	}
}
