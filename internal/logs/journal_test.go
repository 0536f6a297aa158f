package logs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// listen plays systemd-journald; take returns the fields of the next datagram.
func listen(t *testing.T) (path string, take func() map[string]string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "j")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	must(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}))
	return path, func() map[string]string {
		buf := make([]byte, 1<<20)
		n, err := unix.Read(fd, buf)
		if err != nil {
			return nil
		}
		return fields(t, buf[:n])
	}
}

// fields reads the native protocol.
func fields(t *testing.T, b []byte) map[string]string {
	t.Helper()
	all := map[string]string{}
	for len(b) > 0 {
		line, rest, ok := bytes.Cut(b, []byte{'\n'})
		if !ok {
			t.Fatalf("%q", b)
		}
		key, value, plain := strings.Cut(string(line), "=")
		if !plain {
			n := binary.LittleEndian.Uint64(rest)
			value, rest = string(rest[8:8+n]), rest[8+n:]
			if rest[0] != '\n' {
				t.Fatalf("%q", rest)
			}
			rest = rest[1:]
		}
		all[key], b = value, rest
	}
	return all
}

func journalled(t *testing.T, socket string) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(path, &Options{ID: strings.Repeat("ab", 32), Name: "web", Config: record.LogConfig{Driver: "journald",
		Tag: "web/ab", Image: "alpine", Attrs: [][2]string{{"_com.example-Key", "two\nlines"}, {"__", "no name"}}}})
	must(t, err)
	t.Cleanup(l.Close)
	l.journal.path = socket
	return l, path
}

func TestJournal(t *testing.T) {
	socket, take := listen(t)
	l, path := journalled(t, socket)
	l.Write("stdout", []byte("hello \xff=\x00\n"))
	want := map[string]string{"MESSAGE": "hello \xff=\x00", "PRIORITY": "6", "CONTAINER_ID": "abababababab", "CONTAINER_ID_FULL": strings.Repeat("ab", 32),
		"CONTAINER_NAME": "web", "CONTAINER_TAG": "web/ab", "SYSLOG_IDENTIFIER": "web/ab", "IMAGE_NAME": "alpine", "COM_EXAMPLE_KEY": "two\nlines"}
	got := take()
	if _, err := time.Parse(time.RFC3339Nano, got["SYSLOG_TIMESTAMP"]); err != nil {
		t.Error(err)
	}
	delete(got, "SYSLOG_TIMESTAMP")
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	l.Write("stderr", bytes.Repeat([]byte("x"), 2*maxLine))
	l.Write("stderr", []byte("end\n"))
	var ids []string
	for i := range 3 {
		got := take()
		ids = append(ids, got["CONTAINER_PARTIAL_ID"])
		if got["PRIORITY"] != "3" || got["CONTAINER_PARTIAL_ORDINAL"] != fmt.Sprint(i+1) || got["CONTAINER_PARTIAL_LAST"] != fmt.Sprint(i == 2) ||
			got["CONTAINER_PARTIAL_MESSAGE"] != map[bool]string{true: "true"}[i < 2] {
			t.Errorf("piece %d: %.300v", i, got)
		}
	}
	if len(ids[0]) != 64 || ids[0] != ids[1] || ids[1] != ids[2] {
		t.Errorf("%q", ids)
	}
	l.Write("stderr", []byte("after\n"))
	if got := take(); got["MESSAGE"] != "after" || got["CONTAINER_PARTIAL_ID"] != "" {
		t.Errorf("%v", got)
	}
	l.Close()
	if c := read(t, path); c.out.String() != "hello \xff=\x00\n" || c.err.Len() != 2*maxLine+4+6 {
		t.Errorf("%q, %d", c.out.String(), c.err.Len())
	}
}

// A journal that does not read costs the payload little, and the log says so once,
// and how many at the end.
func TestJournalIsFull(t *testing.T) {
	socket, take := listen(t)
	l, path := journalled(t, socket)
	begin := time.Now()
	const lines = 20_000
	for n := range lines {
		l.Write("stdout", fmt.Appendf(nil, "line %d\n", n))
	}
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("the payload was held up for %v", d)
	}
	l.Close()
	numbers, notices := whatIsThere(t, path)
	if len(numbers) != lines || len(notices) != 2 || !strings.Contains(notices[0], "stderr:rc: the journal does not take every line") ||
		!strings.Contains(notices[1], fmt.Sprintf("of %d lines", lines)) {
		t.Errorf("%d lines, %q", len(numbers), notices)
	}
	if got := take(); got["MESSAGE"] != "line 0" {
		t.Errorf("%v", got)
	}
}

// One that is not there, and comes later.
func TestJournalIsAway(t *testing.T) {
	l, path := journalled(t, filepath.Join(t.TempDir(), "none"))
	l.Write("stdout", []byte("line 0\n"))
	socket, take := listen(t)
	l.mu.Lock()
	l.journal.path, l.journal.retry = socket, time.Time{}
	l.mu.Unlock()
	l.Write("stdout", []byte("line 1\n"))
	if got := take(); got["MESSAGE"] != "line 1" {
		t.Errorf("%v", got)
	}
	l.Close()
	if numbers, notices := whatIsThere(t, path); len(numbers) != 2 || len(notices) != 2 || !strings.Contains(notices[1], "1 of 2 lines") {
		t.Errorf("%v %q", numbers, notices)
	}
}
