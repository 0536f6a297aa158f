// Package logs keeps what a payload wrote: the shim writes it, `rc logs` reads it.
package logs

import (
	"bytes"
	"encoding/json"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Writer is the container's output in Docker's json-file format: one object a
// line, {"log":…,"stream":…,"time":…}. A nil Writer drops everything.
type Writer struct {
	mu   sync.Mutex
	f    *os.File
	part map[string][]byte // unfinished lines by stream
}

// maxLine bounds one log entry, in bytes: Docker splits at 16 KiB too.
const maxLine = 16 << 10

// Options say how a container's output is kept.
type Options struct {
	Config     record.LogConfig
	ID, Name   string
	AutoRemove bool              // the folder goes when the container ends: Close waits for readers that lag
	Unfinished map[string][]byte // of Suspend: lines that the process before us had not seen the end of
}

// Open opens the log at path, for appending; o may be nil. With the driver "none"
// the result is nil: a Writer that drops everything.
func Open(path string, o *Options) (*Writer, error) {
	if o == nil {
		o = &Options{}
	}
	if o.Config.Driver == "none" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, hint.New("open the container's log", err, "free some disk space")
	}
	part := map[string][]byte{}
	for stream, rest := range o.Unfinished {
		part[stream] = rest
	}
	return &Writer{f: f, part: part}, nil
}

func (l *Writer) Write(stream string, data []byte) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	rest := append(l.part[stream], data...)
	for {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 && len(rest) < maxLine {
			break
		}
		if end == 0 || end > maxLine {
			end = whole(rest[:maxLine])
		}
		l.entry(stream, rest[:end])
		rest = rest[end:]
	}
	l.part[stream] = append([]byte(nil), rest...)
}

// whole is the length of b without a last character that is cut off: JSON has
// whole ones only.
func whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}

func (l *Writer) entry(stream string, line []byte) {
	data, err := json.Marshal(struct {
		Log    string    `json:"log"`
		Stream string    `json:"stream"`
		Time   time.Time `json:"time"`
	}{string(line), stream, time.Now().UTC()})
	if err == nil {
		_, _ = l.f.Write(append(data, '\n')) // a full disk loses log lines, never the container
	}
}

func (l *Writer) Close() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for stream, rest := range l.part {
		if len(rest) > 0 {
			l.entry(stream, rest)
		}
	}
	l.part = map[string][]byte{}
	_ = l.f.Close()
}

// Suspend closes the log and hands over the unfinished lines, for the process
// that goes on in our place.
func (l *Writer) Suspend() map[string][]byte {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	part := l.part
	l.part = map[string][]byte{}
	_ = l.f.Close()
	return part
}
