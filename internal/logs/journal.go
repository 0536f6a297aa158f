package logs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// journal sends a copy of each line to the journal with the fields of Docker's
// driver. A journal that does not answer costs the payload at most patience a
// second; what it does not take is counted.
type journal struct {
	path    string
	fd      int
	fields  []byte
	streams [2]chain
	packet  []byte
	retry   time.Time // not connected: not tried before
	wait    time.Time // it was full for too long: not waited for before
	sent    int64
	dropped int64
	why     error
}

// chain are the pieces of a line longer than an entry.
type chain struct {
	id      string
	ordinal int
}

// patience bounds how long a full queue is waited for, once in retryAfter.
const (
	patience   = 20 * time.Millisecond
	retryAfter = time.Second
)

func newJournal(o *Options) *journal {
	j := &journal{path: record.JournalSocket, fd: -1}
	tag := o.Config.Tag
	if tag == "" {
		tag = short(o.ID)
	}
	for _, f := range append([][2]string{
		{"CONTAINER_ID", short(o.ID)}, {"CONTAINER_ID_FULL", o.ID}, {"CONTAINER_NAME", o.Name}, {"CONTAINER_TAG", tag},
		{"IMAGE_NAME", o.Config.Image}, {"SYSLOG_IDENTIFIER", tag},
	}, o.Config.Attrs...) {
		j.fields = appendField(j.fields, fieldName(f[0]), []byte(f[1]))
	}
	return j
}

func short(id string) string { return id[:min(len(id), 12)] }

// fieldName makes a label's key one of the journal's: A-Z, 0-9 and _, the latter
// not first (Docker's sanitizeKeyMod).
func fieldName(key string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	return strings.TrimLeft(name, "_")
}

// appendField writes KEY=value, or the form with a length for a value of several lines.
func appendField(b []byte, key string, value []byte) []byte {
	if key == "" {
		return b
	}
	b = append(b, key...)
	if bytes.IndexByte(value, '\n') < 0 {
		b = append(b, '=')
	} else {
		b = binary.LittleEndian.AppendUint64(append(b, '\n'), uint64(len(value)))
	}
	return append(append(b, value...), '\n')
}

// send passes a line on.
func (j *journal) send(stream string, line, stamp []byte) {
	priority, at := "6", 0 // LOG_INFO
	if stream == "stderr" {
		priority, at = "3", 1 // LOG_ERR, as Docker's driver
	}
	b := append(j.packet[:0], j.fields...)
	b = appendField(b, "PRIORITY", []byte(priority))
	b = appendField(b, "SYSLOG_TIMESTAMP", stamp)
	b = j.streams[at].append(b, line)
	b = appendField(b, "MESSAGE", bytes.TrimSuffix(line, []byte{'\n'}))
	j.packet = b[:0]
	if err := j.try(b); err != nil {
		j.dropped++
		j.why = err
		return
	}
	j.sent++
}

// append adds the fields that tell a reader which pieces are one line.
func (c *chain) append(b, line []byte) []byte {
	more := !bytes.HasSuffix(line, []byte{'\n'}) && len(line) > maxLine-utf8.UTFMax
	if !more && c.id == "" {
		return b
	}
	if c.id == "" {
		var id [32]byte
		_, _ = unix.Getrandom(id[:], 0)
		c.id = hex.EncodeToString(id[:])
	}
	c.ordinal++
	if more {
		b = append(b, "CONTAINER_PARTIAL_MESSAGE=true\n"...)
	}
	b = appendField(b, "CONTAINER_PARTIAL_ID", []byte(c.id))
	b = appendField(b, "CONTAINER_PARTIAL_ORDINAL", strconv.AppendInt(nil, int64(c.ordinal), 10))
	b = appendField(b, "CONTAINER_PARTIAL_LAST", strconv.AppendBool(nil, !more))
	if !more {
		*c = chain{}
	}
	return b
}

var errNoJournal = errors.New("nobody answers on " + record.JournalSocket)

// try sends one datagram, never waiting longer than patience.
func (j *journal) try(packet []byte) error {
	if j.fd < 0 && !j.connect() {
		return errNoJournal
	}
	err := unix.Send(j.fd, packet, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) && time.Now().After(j.wait) {
		ready := []unix.PollFd{{Fd: int32(j.fd), Events: unix.POLLOUT}}
		_, _ = unix.Poll(ready, int(patience.Milliseconds()))
		if err = unix.Send(j.fd, packet, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); errors.Is(err, unix.EAGAIN) {
			j.wait = time.Now().Add(retryAfter)
		}
	}
	switch {
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EMSGSIZE):
		return err
	}
	j.hangUp() // it was restarted: its socket is another one now
	return err
}

func (j *journal) connect() bool {
	if time.Now().Before(j.retry) {
		return false
	}
	j.retry = time.Now().Add(retryAfter)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<20) // as sd_journal_send: for long lines
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: j.path}); err != nil {
		_ = unix.Close(fd)
		return false
	}
	j.fd = fd
	return true
}

func (j *journal) hangUp() {
	if j.fd >= 0 {
		_ = unix.Close(j.fd)
		j.fd = -1
	}
}

// notice is what the log says of the lines that the journal did not take: once,
// when the first was dropped, and the count at the end.
func (j *journal) notice(end bool) string {
	switch {
	case j.dropped == 0 || !end && j.dropped > 1:
		return ""
	case end:
		return fmt.Sprintf("rc: the journal did not take %d of %d lines (%v); this log has them\n", j.dropped, j.sent+j.dropped, j.why)
	}
	return fmt.Sprintf("rc: the journal does not take every line (%v); this log does\n", j.why)
}
