package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// create opens a log in a folder of its own.
func create(t testing.TB, c record.LogConfig) (*Writer, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log")
	l, err := Open(path, &Options{Config: c, ID: strings.Repeat("ab", 32), Name: "web"})
	must(t, err)
	t.Cleanup(l.Close)
	return l, path
}

// content is what a reader gets: both streams, and the entries as stream:text|….
type content struct {
	out, err bytes.Buffer
	entries  []string
	torn     int
	lost     []int64
}

func (c *content) query() Query {
	return Query{Tail: -1,
		Entry: func(e *Entry) error {
			to := &c.out
			if e.Stream == "stderr" {
				to = &c.err
			}
			_, _ = to.Write(e.Line)
			if len(c.entries) < 1000 {
				c.entries = append(c.entries, e.Stream+":"+string(e.Line))
			}
			return nil
		},
		Lost: func(n int64) { c.lost = append(c.lost, n) },
	}
}

func (c *content) text() string { return strings.Join(c.entries, "|") }

func read(t testing.TB, path string) *content {
	t.Helper()
	c := new(content)
	var err error
	c.torn, err = Read(path, c.query())
	must(t, err)
	return c
}

func TestEntries(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, c := range map[string]struct {
		writes []string // "stream:text"
		want   string
	}{
		"lines":                {[]string{"stdout:a\nb\n"}, "stdout:a\n|stdout:b\n"},
		"an unfinished line":   {[]string{"stdout:a"}, "stdout:a"},
		"a line in parts":      {[]string{"stdout:a", "stdout:b", "stdout:c\nd"}, "stdout:abc\n|stdout:d"},
		"interleaved":          {[]string{"stdout:o", "stderr:e", "stdout:O\n", "stderr:E\n"}, "stdout:oO\n|stderr:eE\n"},
		"empty lines":          {[]string{"stderr:\n\n"}, "stderr:\n|stderr:\n"},
		"nothing":              {[]string{"stdout:"}, ""},
		"16 KiB":               {[]string{"stdout:" + long}, "stdout:" + long},
		"16 KiB and a line":    {[]string{"stdout:" + long + "\n"}, "stdout:" + long + "|stdout:\n"},
		"16 KiB less a line":   {[]string{"stdout:" + long[1:] + "\n"}, "stdout:" + long[1:] + "\n"},
		"40 KiB":               {[]string{"stdout:" + long + long + "y\n"}, "stdout:" + long + "|stdout:" + long + "|stdout:y\n"},
		"40 KiB in parts":      {[]string{"stdout:" + long[:9000], "stdout:" + long[:9000], "stdout:z\n"}, "stdout:" + long + "|stdout:" + long[:18000-maxLine] + "z\n"},
		"control characters":   {[]string{"stdout:a\x00\x1b\x7f\"\\\t\r\b\n"}, "stdout:a\x00\x1b\x7f\"\\\t\r\b\n"},
		"not UTF-8":            {[]string{"stdout:a\xffb\xc3\n"}, "stdout:a\xffb\xc3\n"},
		"not UTF-8, a U+FFFD":  {[]string{"stdout:\ufffd\xff\ufffd é\n"}, "stdout:\ufffd\xff\ufffd é\n"},
		"a U+FFFD alone":       {[]string{"stdout:\ufffd\n"}, "stdout:\ufffd\n"},
		"surrogates of CESU-8": {[]string{"stderr:\xed\xa0\x80\n"}, "stderr:\xed\xa0\x80\n"},
		"a character at 16 K":  {[]string{"stdout:" + long[1:] + "é\n"}, "stdout:" + long[1:] + "|stdout:é\n"},
		"a character in two":   {[]string{"stdout:\xc3", "stdout:\xa9\n"}, "stdout:é\n"},
		"a cut one in two":     {[]string{"stdout:" + long[1:] + "\xc3", "stdout:\xa9\n"}, "stdout:" + long[1:] + "|stdout:é\n"},
		"line separators":      {[]string{"stdout:\u2028<&>\U0001f600\n"}, "stdout:\u2028<&>\U0001f600\n"},
	} {
		l, path := create(t, record.LogConfig{})
		for _, w := range c.writes {
			stream, text, _ := strings.Cut(w, ":")
			l.Write(stream, []byte(text))
		}
		l.Close()
		if got := read(t, path).text(); got != c.want {
			t.Errorf("%s: %d bytes %.60q…, want %d %.60q…", name, len(got), got, len(c.want), c.want)
		}
		l.Write("stdout", []byte("late\n")) // no panic, no loss of what is there
		l.Close()
	}
}

// What Docker's readers see: encoding/json reads each line, with the text as it
// is, and U+FFFD where it is not UTF-8.
func TestDockerReadsIt(t *testing.T) {
	l, path := create(t, record.LogConfig{Attrs: [][2]string{{"env", "a\"b"}}, Tag: "x", Opts: map[string]string{"tag": "{{.Name}}"}})
	random := rand.NewChaCha8([32]byte{1})
	var want []string
	for n := range 2000 {
		line := make([]byte, n%97+1)
		_, _ = random.Read(line)
		for i := range line {
			if line[i] == '\n' || n%2 == 0 {
				line[i] = line[i]&0x5f + 0x20 // ASCII, quotes and backslashes among it
			}
		}
		line[len(line)-1] = '\n'
		want = append(want, string(line))
		l.Write("stderr", line)
	}
	l.Close()
	data, err := os.ReadFile(path)
	must(t, err)
	i := 0
	for line := range strings.Lines(string(data)) {
		var e struct {
			Log, Stream string
			Attrs       map[string]string
			Time        time.Time
		}
		must(t, json.Unmarshal([]byte(line), &e))
		if e.Log != strings.ToValidUTF8(want[i], "\ufffd") && (utf8.ValidString(want[i]) || e.Log != string([]rune(want[i]))) {
			t.Fatalf("line %d: %q, want %q", i, e.Log, want[i])
		}
		if e.Stream != "stderr" || time.Since(e.Time) > time.Hour || e.Attrs["env"] != "a\"b" || e.Attrs["tag"] != "x" || !utf8.ValidString(line) {
			t.Fatalf("%s", line)
		}
		i++
	}
	if got := read(t, path); got.err.String() != strings.Join(want, "") || i != len(want) {
		t.Errorf("%d bytes in %d entries came back, want %d", got.err.Len(), i, len(strings.Join(want, "")))
	}
}

func TestFilesAreBounded(t *testing.T) {
	l, path := create(t, record.LogConfig{MaxSize: 10_000, MaxFile: 3})
	for n := range 2000 {
		l.Write("stdout", fmt.Appendf(nil, "line %d %s\n", n, strings.Repeat("y", n%200)))
	}
	l.Close()
	d, err := openFolder(path)
	must(t, err)
	defer d.close()
	seqs, err := d.list()
	must(t, err)
	if len(seqs) != 3 || seqs[0] < 10 {
		t.Errorf("files %v", seqs)
	}
	for i, seq := range seqs {
		st, err := os.Stat(filepath.Join(filepath.Dir(path), d.name(seq)))
		must(t, err)
		if st.Size() > 10_000 || st.Size() < 9_000 && i < 2 || st.Mode()&os.ModeSticky != 0 != (i < 2) || st.Mode().Perm() != 0o600 {
			t.Errorf("%v: %v, %d bytes", seq, st.Mode(), st.Size())
		}
	}
	if current := Current(path); current != fmt.Sprintf("%s.%d", path, seqs[2]) || Current(path+"x") != "" || Current(path+"/x/y") != "" {
		t.Errorf("the current file is %q", current)
	}
	got := read(t, path)
	if !strings.HasSuffix(got.out.String(), "line 1999 "+strings.Repeat("y", 199)+"\n") || got.torn != 0 || got.lost != nil {
		t.Errorf("%d bytes, torn %d, lost %v", got.out.Len(), got.torn, got.lost)
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		c     record.LogConfig
		size  int64
		files int
	}{
		{record.LogConfig{}, DefaultMaxSize, DefaultMaxFile},
		{record.LogConfig{MaxFile: 2}, DefaultMaxSize, 2},
		{record.LogConfig{MaxSize: 10}, 10, 1},
		{record.LogConfig{MaxSize: 10, MaxFile: 3}, 10, 3},
		{record.LogConfig{MaxSize: -1, MaxFile: 3}, 0, 1},
	} {
		if size, files := bounds(&c.c); size != c.size || files != c.files {
			t.Errorf("%+v: %d %d", c.c, size, files)
		}
	}
}

// An entry larger than a whole file has a file of its own.
func TestTinyFiles(t *testing.T) {
	l, path := create(t, record.LogConfig{MaxSize: 1, MaxFile: 1})
	for n := range 10 {
		l.Write("stdout", fmt.Appendf(nil, "%d\n", n))
	}
	l.Close()
	if got := read(t, path).text(); got != "stdout:9\n" {
		t.Errorf("%q", got)
	}
}

func TestEarlierRunsStay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for i := range 2 {
		l, err := Open(path, nil)
		must(t, err)
		l.Write("stdout", fmt.Appendf(nil, "run %d\n", i))
		l.Close()
	}
	if got := read(t, path).text(); got != "stdout:run 0\n|stdout:run 1\n" {
		t.Errorf("%q", got)
	}
	if _, err := Open(path+"/x", nil); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("%v", err)
	}
	none, err := Open(path+"/x", &Options{Config: record.LogConfig{Driver: "none"}})
	must(t, err)
	none.Write("stdout", []byte("x"))
	if none.Suspend() != nil {
		t.Error("it kept something")
	}
	none.Close()
}

// The rotation goes on where an earlier writer stopped.
func TestRotationOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var want string
	for i := range 40 {
		l, err := Open(path, &Options{Config: record.LogConfig{MaxSize: 1000, MaxFile: 100}})
		must(t, err)
		for k := range 5 {
			line := fmt.Sprintf("run %d, line %d\n", i, k)
			l.Write("stdout", []byte(line))
			want += line
		}
		l.Close()
	}
	got := read(t, path)
	if got.out.String() != want {
		t.Errorf("%d bytes, want %d", got.out.Len(), len(want))
	}
	d, _ := openFolder(path)
	defer d.close()
	seqs, _ := d.list()
	var sum int64
	for i, seq := range seqs {
		fd, err := d.open(seq, unix.O_RDONLY)
		must(t, err)
		if at := firstAt(fd); at != sum {
			t.Errorf("file %d of %d begins at %d, want %d", i, len(seqs), at, sum)
		}
		var st unix.Stat_t
		_ = unix.Fstat(fd, &st)
		sum += st.Size
		_ = unix.Close(fd)
	}
}

// The process that goes on takes the unfinished lines over.
func TestSuspend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	a, err := Open(path, nil)
	must(t, err)
	a.Write("stdout", []byte("whole\nhal"))
	a.Write("stderr", []byte("er"))
	rest := a.Suspend()
	b, err := Open(path, &Options{Unfinished: rest})
	must(t, err)
	b.Write("stdout", []byte("f\n"))
	b.Close()
	if got := read(t, path).text(); got != "stdout:whole\n|stdout:half\n|stderr:er" {
		t.Errorf("%q", got)
	}
	a.Close()
}

// An idle writer gives its pages back.
func TestIdleMemory(t *testing.T) {
	l, _ := create(t, record.LogConfig{})
	l.Write("stdout", bytes.Repeat([]byte("0123456789abcde\n"), 8<<10))
	l.Write("stderr", bytes.Repeat([]byte("x"), 10_000))
	resident := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		vec := make([]byte, arenaSize/unix.Getpagesize())
		must(t, mincore(l.arena.mem, vec))
		n := 0
		for _, page := range vec {
			n += int(page & 1)
		}
		return n * unix.Getpagesize()
	}
	if busy := resident(); busy < 64<<10 {
		t.Errorf("%d bytes while it writes: does the test look?", busy)
	}
	for end := time.Now().Add(5 * time.Second); resident() > 16<<10 && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	if idle := resident(); idle > 16<<10 { // the unfinished line stays
		t.Errorf("%d bytes while idle", idle)
	}
	l.Write("stderr", []byte("y\n"))
	if got := read(t, filepath.Join(filepath.Dir(must2(os.Readlink(fmt.Sprintf("/proc/self/fd/%d", l.fd)))), "log")).err.String(); got != strings.Repeat("x", 10_000)+"y\n" {
		t.Errorf("%d bytes", len(got))
	}
}

func must2(s string, _ error) string { return s }
