package record

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/lazyjson"
)

// Event is one thing that happened to an object of the user's, with the field
// names of `docker events --format json`. Whoever did the thing appends it.
type Event struct {
	Type     string // container, image, volume, network
	Action   string // create, start, die, health_status: healthy, …
	Actor    Actor
	Time     int64 `json:"time"`     // seconds of the Unix epoch
	TimeNano int64 `json:"timeNano"` // nanoseconds of it
}

// Actor is the object: attributes are name, image, exitCode, signal and labels.
type Actor struct {
	ID         string
	Attributes map[string]string `json:",omitempty"`
}

// The stream is in the file events, and what was before that in events.1,
// events.2, … in the order of their age: a file of maxEvents bytes is renamed,
// and the oldest but keepEvents are removed. Whoever appends holds a shared
// flock(2) while it writes, whoever renames an exclusive one: once a file has its
// number, nothing is added to it, so a reader that has read it to its end can go
// on. Nobody waits for a lock: one who cannot rename leaves it to the next.
var (
	maxEvents  int64 = 8 << 20
	keepEvents       = 2
)

// EventsPath is the file that holds the stream: one JSON object a line.
func (s *Store) EventsPath() string { return s.Path("events") }

// AppendEvent adds one event.
func (s *Store) AppendEvent(kind, action, id string, attributes map[string]string) error {
	return s.AppendEvents(&Event{Type: kind, Action: action, Actor: Actor{id, attributes}})
}

// AppendEvents adds events that happened now, in their order; none is fine. A single
// write to a file opened with O_APPEND is atomic among local processes (write(2));
// nothing is synced. The result is the reason for which they are not in the stream.
func (s *Store) AppendEvents(list ...*Event) error {
	now := time.Now()
	var line []byte
	for i, ev := range list {
		ev.Time, ev.TimeNano = now.Unix(), now.UnixNano()+int64(i) // who sorts them finds the order
		one, err := lazyjson.Marshal(ev)
		if err != nil {
			return err
		}
		if i > 0 {
			line = append(line, '\n')
		}
		line = append(line, one...)
	}
	if len(line) == 0 {
		return nil
	}
	fd, size, err := openEvents(s.EventsPath())
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	line = append(line, '\n')
	if last := []byte{'\n'}; size > 0 {
		if n, _ := unix.Pread(fd, last, size-1); n == 1 && last[0] != '\n' {
			line = append([]byte{'\n'}, line...) // a full disk took a part of the line before
		}
	}
	n, err := unix.Write(fd, line)
	if err == nil && n < len(line) {
		err = errors.New("the disk took a part of the line")
	}
	return err
}

// openEvents opens the stream for appending, under a shared lock. A file that has
// become too large is put aside first.
func openEvents(path string) (fd int, size int64, err error) {
	for range 100 {
		fd, err = unix.Open(path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return -1, 0, &os.PathError{Op: "open", Path: path, Err: err}
		}
		locked := unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB)
		var ours unix.Stat_t
		if err := unix.Fstat(fd, &ours); err != nil {
			_ = unix.Close(fd)
			return -1, 0, err
		}
		switch {
		case errors.Is(locked, unix.EWOULDBLOCK): // it is being renamed: microseconds
			_ = unix.Close(fd)
			time.Sleep(100 * time.Microsecond)
			continue
		case !isAt(path, &ours):
			_ = unix.Close(fd)
			continue
		case ours.Size > maxEvents && putAside(fd, path, &ours):
			_ = unix.Close(fd)
			continue
		}
		return fd, ours.Size, nil
	}
	// Somebody was stopped in the middle of a rename: the event is worth more than
	// the order of a reader that is just there.
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	return fd, 0, err
}

// isAt tells whether a path is that very file.
func isAt(path string, st *unix.Stat_t) bool {
	var there unix.Stat_t
	return unix.Lstat(path, &there) == nil && there.Ino == st.Ino && there.Dev == st.Dev
}

// putAside gives the file its number and removes the oldest.
func putAside(fd int, path string, st *unix.Stat_t) bool {
	var locked error
	for range 20 { // those who append just now are done in microseconds
		if locked = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); locked == nil {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	if locked != nil { // one was stopped
		return unix.Flock(fd, unix.LOCK_SH|unix.LOCK_NB) != nil // a conversion that fails has dropped ours (flock(2))
	}
	if !isAt(path, st) {
		return true // somebody was quicker
	}
	numbers := EventNumbers(path)
	next := 1
	if len(numbers) > 0 {
		next = numbers[len(numbers)-1] + 1
	}
	if os.Rename(path, path+"."+strconv.Itoa(next)) != nil {
		return false
	}
	for i := 0; i < len(numbers)+1-keepEvents; i++ {
		_ = os.Remove(path + "." + strconv.Itoa(numbers[i]))
	}
	return true
}

// EventNumbers are the numbers of the files that were put aside, in their order.
func EventNumbers(path string) []int {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	var numbers []int
	for _, name := range names {
		text, ok := strings.CutPrefix(name, filepath.Base(path)+".")
		if n, err := strconv.Atoi(text); ok && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers
}
