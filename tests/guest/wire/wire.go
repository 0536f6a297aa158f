// Package wire is what the host and the agent in a test guest say to each other
// over a byte stream: frames of a length, a kind, the number of a command, a body.
package wire

import (
	"encoding/binary"
	"fmt"
	"io"
	"sync"
	"time"
)

// Kind says what a frame is.
type Kind byte

// From the host: a command, its input, the end of it, and SIGKILL to its process
// group. From the guest: ready, output, errors, and the end (body: a Result).
const (
	Run   Kind = 'R'
	Input Kind = 'I'
	EOF   Kind = 'E'
	Kill  Kind = 'K'
	// Restored tells a guest just restored from a snapshot its News; it answers Hello.
	Restored Kind = 'S'
	Hello    Kind = 'H'
	Output   Kind = 'O'
	Errors   Kind = 'e'
	Exit     Kind = 'X'
)

// Max is the longest body in bytes. virtio-serial moves small pieces best.
const Max = 32 << 10

// Frame is one message. ID is the command's number, chosen by the host; 0 is the
// agent itself.
type Frame struct {
	Kind Kind
	ID   uint32
	Body []byte
}

// Login before a user's name asks for a login session of the command's own.
const Login = "login:"

// Command is the body of Run: a line for bash, run by User in a login's
// environment. User is "root", which has no session; "user", whose commands share
// one; or another, or one after Login: its session is the command's.
type Command struct{ User, Line string }

// Result is the body of Exit. Code is 128+n after signal n, -1 where the command
// could not be started, and Why then says why.
type Result struct {
	Code int
	Why  string `json:",omitempty"`
}

// News is the body of Restored: what is not as it was when the snapshot was made.
type News struct {
	Now     time.Time
	Seed    []byte // for the random pool: two guests of one snapshot must differ
	Scratch bool   // there is a file system on the scratch disk
}

const header = 9

// Read returns the next frame, or io.EOF between frames.
func Read(r io.Reader) (Frame, error) {
	var h [header]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	n := binary.BigEndian.Uint32(h[:4])
	if n > Max {
		return Frame{}, fmt.Errorf("a frame of %d bytes, more than %d", n, Max)
	}
	f := Frame{Kind: Kind(h[4]), ID: binary.BigEndian.Uint32(h[5:]), Body: make([]byte, n)}
	if _, err := io.ReadFull(r, f.Body); err != nil {
		return Frame{}, fmt.Errorf("a frame cut off: %w", err)
	}
	return f, nil
}

// Writer writes frames from several goroutines, each in one write.
type Writer struct {
	mu sync.Mutex
	to io.Writer
}

// NewWriter returns a Writer to w.
func NewWriter(w io.Writer) *Writer { return &Writer{to: w} }

// Write sends one frame.
func (w *Writer) Write(f Frame) error {
	if len(f.Body) > Max {
		return fmt.Errorf("a body of %d bytes, more than %d", len(f.Body), Max)
	}
	b := make([]byte, header, header+len(f.Body))
	binary.BigEndian.PutUint32(b, uint32(len(f.Body)))
	b[4] = byte(f.Kind)
	binary.BigEndian.PutUint32(b[5:], f.ID)
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := w.to.Write(append(b, f.Body...))
	return err
}

// Stream is an io.Writer whose bytes become frames of one kind and command.
type Stream struct {
	To   *Writer
	Kind Kind
	ID   uint32
}

// Write sends p in frames of at most Max bytes.
func (s Stream) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		end := min(len(p), sent+Max)
		if err := s.To.Write(Frame{s.Kind, s.ID, p[sent:end]}); err != nil {
			return sent, err
		}
		sent = end
	}
	return len(p), nil
}
