package record

import (
	"encoding/json"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
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

// maxEvents is the size of the stream, in bytes, from which on it is begun anew;
// the one before stays as events.1.
const maxEvents = 8 << 20

// EventsPath is the file that holds the stream: one JSON object a line.
func (s *Store) EventsPath() string { return s.Path("events") }

// AppendEvent adds one event. A single write to a file opened with O_APPEND is
// atomic among local processes (write(2)); no lock is taken and nothing is synced.
// The result is the reason for which the event is not in the stream.
func (s *Store) AppendEvent(kind, action, id string, attributes map[string]string) error {
	now := time.Now()
	line, err := json.Marshal(&Event{kind, action, Actor{id, attributes}, now.Unix(), now.UnixNano()})
	if err != nil {
		return err
	}
	path := s.EventsPath()
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if unix.Fstat(fd, &st) == nil && st.Size > maxEvents {
		_ = os.Rename(path, path+".1") // two at once: the second moves a short file, no event is torn
	}
	n, err := unix.Write(fd, append(line, '\n'))
	if err == nil && n <= len(line) {
		err = errors.New("the disk took a part of the line")
	}
	return err
}
