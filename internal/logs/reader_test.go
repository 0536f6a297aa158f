package logs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

func TestNoLog(t *testing.T) {
	if _, err := Read(filepath.Join(t.TempDir(), "log"), Query{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "none", "log"), Query{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

// ask reads with a query of the test's own.
func ask(t *testing.T, path string, change func(*Query)) string {
	t.Helper()
	c := new(content)
	q := c.query()
	change(&q)
	_, err := Read(path, q)
	must(t, err)
	return c.text()
}

func TestTail(t *testing.T) {
	long := strings.Repeat("l", maxLine)
	l, path := create(t, record.LogConfig{MaxSize: 60_000, MaxFile: 100})
	var all []string
	for n := range 3000 {
		line := fmt.Sprintf("%d\n", n)
		l.Write("stdout", []byte(line))
		all = append(all, "stdout:"+line)
	}
	for _, n := range []int{0, 1, 2, 700, 2999, 3000, 4000} {
		got := ask(t, path, func(q *Query) { q.Tail = n })
		if want := strings.Join(all[max(0, len(all)-n):], "|"); got != want && n <= 1000 || strings.Count(got, "|") != strings.Count(want, "|") && n <= 1000 {
			t.Errorf("tail %d: %d bytes, want %d", n, len(got), len(want))
		}
	}
	// Pieces of a line are one line; an unfinished one is one, too.
	l.Write("stdout", []byte(long+long+"end\n"))
	l.Write("stderr", []byte(`a\n`+"\n"))
	l.Close()
	if got := ask(t, path, func(q *Query) { q.Tail = 2 }); got != "stdout:"+long+"|stdout:"+long+"|stdout:end\n|stderr:a\\n\n" {
		t.Errorf("%d bytes, %.50q", len(got), got)
	}
	l, err := Open(path, nil)
	must(t, err)
	l.Write("stderr", []byte(`open\n`))
	l.Close()
	if got := ask(t, path, func(q *Query) { q.Tail = 2 }); got != `stderr:a\n`+"\n|"+`stderr:open\n` {
		t.Errorf("%q", got)
	}
	if got := ask(t, path, func(q *Query) { q.Tail = 1 }); got != `stderr:open\n` {
		t.Errorf("%q", got)
	}
}

func TestSinceUntil(t *testing.T) {
	l, path := create(t, record.LogConfig{MaxSize: 400, MaxFile: 100})
	var times []time.Time
	for n := range 20 {
		times = append(times, time.Now())
		l.Write("stdout", fmt.Appendf(nil, "%d\n", n))
		time.Sleep(2 * time.Millisecond)
	}
	got := ask(t, path, func(q *Query) { q.Since, q.Until = times[5], times[8] })
	if got != "stdout:5\n|stdout:6\n|stdout:7\n" {
		t.Errorf("%q", got)
	}
	// A follower ends at Until, although nobody writes.
	begin := time.Now()
	got = ask(t, path, func(q *Query) {
		q.Since, q.Until, q.Follow, q.Ended = times[19], begin.Add(200*time.Millisecond), true, func() bool { return false }
	})
	if d := time.Since(begin); got != "stdout:19\n" || d < 150*time.Millisecond || d > 3*time.Second {
		t.Errorf("%q after %v", got, d)
	}
}

// Docker's own lines, in its order of fields, and what is no entry at all.
func TestForeignLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	must(t, os.WriteFile(path, []byte(`{"log":"a\u003c\ud83d\ude00\n","stream":"stdout","attrs":{"k":"v"},"time":"2020-01-01T00:00:00.5Z"}
not an entry

{"log":"b\n","stream":"stderr","time":"2020-01-01T00:00:01Z","new":[1]}
{"log":"raw does not fit","stream":"stdout","time":"2020-01-01T00:00:01Z","raw":"AAAA"}
{"log":"cut`), 0o600))
	c := new(content)
	q := c.query()
	var attrs []map[string]string
	var times []time.Time
	take := q.Entry
	q.Entry = func(e *Entry) error {
		attrs, times = append(attrs, e.Attrs()), append(times, e.Time())
		return take(e)
	}
	torn, err := Read(path, q)
	must(t, err)
	if c.text() != "stdout:a<\U0001f600\n|stderr:b\n" || torn != 2 {
		t.Errorf("%q, torn %d", c.text(), torn)
	}
	if attrs[0]["k"] != "v" || len(attrs[1]) != 0 || !times[0].Equal(time.Date(2020, 1, 1, 0, 0, 0, 5e8, time.UTC)) {
		t.Errorf("%v %v", attrs, times)
	}
	// The next writer begins on a line of its own.
	l, err := Open(path, nil)
	must(t, err)
	l.Write("stdout", []byte("next\n"))
	l.Close()
	if got := read(t, path); !strings.HasSuffix(got.text(), "|stdout:next\n") || got.torn != 3 {
		t.Errorf("%q, torn %d", got.text(), got.torn)
	}
}

// role runs a copy of the test binary.
func role(t *testing.T, what, path string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(append(os.Environ(), "RC_LOGS_ROLE="+what, "RC_LOGS_PATH="+path), env...)
	return cmd
}

// A writer that is killed tears at most its last entry, and the next one goes on.
func TestKilledWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for run := range 20 {
		cmd := role(t, "write", path, fmt.Sprintf("RC_LOGS_RUN=%d", run))
		must(t, cmd.Start())
		time.Sleep(time.Duration(5+rand.IntN(60)) * time.Millisecond)
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		last := map[int]int{}
		c := new(content)
		q := c.query()
		q.Entry = func(e *Entry) error {
			var r, n int
			var z string
			k, _ := fmt.Sscanf(string(e.Line), "%d line %d %s\n", &r, &n, &z)
			if before, ok := last[r]; k < 2 || ok && n != before+1 || z != strings.Repeat("z", n%3000) || e.Line[len(e.Line)-1] != '\n' {
				return fmt.Errorf("run %d: %.40q after line %d", run, e.Line, before)
			}
			last[r] = n
			return nil
		}
		torn, err := Read(path, q)
		must(t, err)
		if torn > run+1 || len(c.lost) > 0 {
			t.Errorf("run %d: %d torn, lost %v", run, torn, c.lost)
		}
	}
}

// big is how much the test of a following reader copies, in bytes: of the real
// thing, 1 GB, with RC_TEST_LOG_BYTES=1073741824.
func big() int64 { return size("RC_TEST_LOG_BYTES", 256<<20) }

// payload writes n bytes of lines of all kinds to w.
func payload(w io.Writer, n int64) error {
	random := rand.New(rand.NewPCG(1, 2))
	text := bytes.Repeat([]byte("The quick brown fox \"jumps\" over\tthe läzy dog. "), 3000)
	var block []byte
	for n > 0 {
		block = block[:0]
		switch random.IntN(100) {
		case 0: // binary, with NUL and no line ends to speak of
			for range 5000 {
				block = append(block, byte(random.Uint32()))
			}
		case 1:
			block = append(append(block, text[:random.IntN(len(text))]...), '\n')
		default:
			for range 50 {
				block = append(append(block, text[:random.IntN(200)]...), '\n')
			}
		}
		block = block[:min(int64(len(block)), n)]
		n -= int64(len(block))
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// A following reader gets all of it, byte by byte, through the rotation, also when
// it is slow and stopped for a while; the writer does not wait for it.
func TestFollowerGetsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	// Files so large that what the stopped reader holds stays within the bound.
	files := fmt.Sprintf("RC_LOGS_SIZE=%d", big()/10)
	writer := role(t, "copy", path, files)
	in, err := writer.StdinPipe()
	must(t, err)
	must(t, writer.Start())

	reader := role(t, "follow", path, files)
	reader.Stderr = os.Stderr
	end, err := reader.StdinPipe()
	must(t, err)
	out, err := reader.StdoutPipe()
	must(t, err)
	must(t, reader.Start())
	var read atomic.Int64
	got := sha256.New()
	done := make(chan error, 1)
	go func() {
		buf := make([]byte, 64<<10)
		for {
			n, err := out.Read(buf)
			got.Write(buf[:n])
			if before := read.Add(int64(n)) - int64(n); before < 4<<20 {
				time.Sleep(time.Millisecond) // slow at first
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	want := sha256.New()
	begin := time.Now()
	must(t, payload(io.MultiWriter(in, want), big()/4))
	must(t, reader.Process.Signal(unix.SIGSTOP))
	must(t, payload(io.MultiWriter(in, want), big()*3/4)) // all of it: a writer that waits would hang here
	must(t, in.Close())
	must(t, writer.Wait())
	took := time.Since(begin)
	if n := read.Load(); n > big()*3/4 {
		t.Logf("the reader had %d bytes when it was stopped", n)
	}
	must(t, reader.Process.Signal(unix.SIGCONT))
	must(t, end.Close())
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatalf("the reader hangs after %d bytes", read.Load())
	}
	must(t, reader.Wait())
	if read.Load() != big()/4+big()*3/4 || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d of %d bytes arrived", read.Load(), big())
	}
	t.Logf("%d MB written in %v", big()>>20, took)
}

// A reader that is stopped for ever does not fill the disk: it hears what it lost.
func TestStoppedReaderIsBounded(t *testing.T) {
	l, path := create(t, record.LogConfig{MaxSize: 10_000, MaxFile: 2})
	line := []byte(strings.Repeat("b", 99) + "\n")
	l.Write("stdout", line)
	first, wait := make(chan bool, 1), make(chan bool)
	c := new(content)
	q := c.query()
	take := q.Entry
	q.Follow, q.Ended = true, func() bool { return true }
	n := 0
	q.Entry = func(e *Entry) error {
		if n++; n == 1 {
			first <- true
			<-wait
		}
		return take(e)
	}
	done := make(chan error)
	go func() { _, err := Read(path, q); done <- err }()
	<-first
	written := 1
	for range 5000 {
		l.Write("stdout", line)
		written++
	}
	var disk int64
	entries, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	for _, e := range entries {
		st, err := e.Info()
		must(t, err)
		disk += st.Size()
	}
	if bound := int64(heldFactor * 2 * 10_000); disk > bound+20_000 || disk < bound/2 {
		t.Errorf("%d bytes on disk, the bound is %d", disk, bound)
	}
	l.Close()
	close(wait)
	must(t, <-done)
	if len(c.lost) != 1 || c.lost[0] <= 0 {
		t.Fatalf("lost %v", c.lost)
	}
	// The bytes of the files that it has, and those that it lost, are all.
	entry := int64(len(`{"log":"`+strings.Repeat("b", 99)+`\n","stream":"stdout","time":"2024-01-01T00:00:00.000000000Z"}`) + 1)
	missing := int64(written - n)
	if c.lost[0] < missing*entry || c.lost[0] > missing*entry+missing {
		t.Errorf("lost %d bytes, but %d entries of %d are missing", c.lost[0], missing, entry)
	}
}

// Without inotify a follower looks by itself; 300 of them work in any case.
func TestManyFollowers(t *testing.T) {
	l, path := create(t, record.LogConfig{})
	var ended atomic.Bool
	const followers = 300
	results := make(chan string, followers)
	for range followers {
		go func() {
			c := new(content)
			q := c.query()
			q.Follow, q.Ended = true, ended.Load
			if _, err := Read(path, q); err != nil {
				results <- err.Error()
				return
			}
			results <- c.text()
		}()
	}
	time.Sleep(100 * time.Millisecond)
	l.Write("stdout", []byte("one\n"))
	time.Sleep(100 * time.Millisecond)
	l.Write("stderr", []byte("two\n"))
	l.Close()
	ended.Store(true)
	for range followers {
		select {
		case got := <-results:
			if got != "stdout:one\n|stderr:two\n" {
				t.Fatalf("%q", got)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("a follower hangs")
		}
	}
}

// A line is there for a follower at once.
func TestFollowerIsPrompt(t *testing.T) {
	l, path := create(t, record.LogConfig{})
	seen := make(chan time.Time, 10)
	var ended atomic.Bool
	q := Query{Tail: 0, Follow: true, Ended: ended.Load, Entry: func(*Entry) error { seen <- time.Now(); return nil }}
	done := make(chan error)
	go func() { _, err := Read(path, q); done <- err }()
	time.Sleep(50 * time.Millisecond)
	worst := time.Duration(0)
	for range 5 {
		begin := time.Now()
		l.Write("stdout", []byte("now\n"))
		worst = max(worst, (<-seen).Sub(begin))
		time.Sleep(30 * time.Millisecond)
	}
	if worst > 200*time.Millisecond { // polling would be 50 ms
		t.Errorf("%v", worst)
	}
	ended.Store(true)
	l.Close()
	must(t, <-done)
}

// Close of a container that removes itself waits for a reader that lags, not for one
// that is stopped.
func TestCloseWaitsForReaders(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "log")
		l, err := Open(path, &Options{Config: record.LogConfig{MaxSize: 20_000, MaxFile: 5}, AutoRemove: true})
		must(t, err)
		l.Write("stdout", []byte("0\n"))
		c, n := new(content), 0
		q := c.query()
		first, wait := make(chan bool, 1), make(chan bool)
		take := q.Entry
		q.Entry = func(e *Entry) error {
			if n++; n == 1 {
				first <- true
				<-wait
			}
			return take(e)
		}
		q.Follow, q.Ended = true, func() bool { return true }
		done := make(chan error)
		go func() { _, err := Read(path, q); done <- err }()
		<-first
		for k := 1; k < 1000; k++ {
			l.Write("stdout", fmt.Appendf(nil, "%d\n", k))
		}
		if !stopped {
			time.AfterFunc(300*time.Millisecond, func() { close(wait) })
		}
		begin := time.Now()
		l.Close()
		took := time.Since(begin)
		must(t, os.RemoveAll(filepath.Dir(path)))
		if stopped {
			close(wait)
		}
		must(t, <-done)
		switch {
		case !stopped && (n != 1000 || len(c.lost) > 0 || took > 3*time.Second):
			t.Errorf("%d entries, lost %v, after %v", n, c.lost, took)
		case stopped && (took < 3*time.Second || took > 5*time.Second || len(c.lost) != 1 || c.lost[0] != -1):
			t.Errorf("a stopped reader: closed after %v, lost %v", took, c.lost)
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	zone := time.Local
	t.Cleanup(func() { time.Local = zone })
	time.Local = time.FixedZone("here", 3600)
	for s, want := range map[string]string{
		"10m":                                 "2024-05-06T06:58:09Z",
		"-10m":                                "2024-05-06T07:18:09Z",
		"1h30m":                               "2024-05-06T05:38:09Z",
		"0":                                   "1970-01-01T00:00:00Z",
		"0s":                                  "2024-05-06T07:08:09Z",
		"1136073600.000000001":                "2006-01-01T00:00:00.000000001Z",
		"1136073600.5":                        "2006-01-01T00:00:00.5Z",
		"2006-01-02T15:04:05.123456789Z":      "2006-01-02T15:04:05.123456789Z",
		"2006-01-02T15:04:05.999999999+02:00": "2006-01-02T13:04:05.999999999Z",
		"2006-01-02T15:04:05":                 "2006-01-02T14:04:05Z",
		"2006-01-02T15:04:05.5":               "2006-01-02T14:04:05.5Z",
		"2006-01-02T15:04":                    "2006-01-02T14:04:00Z",
		"2006-01-02T15":                       "2006-01-02T14:00:00Z",
		"2006-01-02":                          "2006-01-01T23:00:00Z",
		"2006-01-02Z":                         "2006-01-02T00:00:00Z",
		"2006-01-02T15:04Z":                   "2006-01-02T15:04:00Z",
	} {
		got, err := ParseTime("since", s, now)
		if err != nil || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: %v %v, want %s", s, got.UTC().Format(time.RFC3339Nano), err, want)
		}
	}
	for _, s := range []string{"", "x", "1.x", "10 minutes", "1e9", "99999999999999999999", "-5", "2006-13-01", "1.1234567890"} {
		if got, err := ParseTime("since", s, now); err == nil {
			t.Errorf("%q is %v", s, got)
		}
	}
}
