package logs

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// fullAt makes files end at a size, in bytes, until the returned function is
// called: as on a full disk the kernel takes a part of a write, then refuses.
func fullAt(t *testing.T, size uint64) (release func()) {
	t.Helper()
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &before))
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: before.Max}))
	release = func() { must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &before)) }
	t.Cleanup(release)
	return release
}

// whatIsThere reads numbered lines and fails where one is torn or twice.
func whatIsThere(t *testing.T, path string) (numbers []int, notices []string) {
	t.Helper()
	c := new(content)
	q := c.query()
	q.Entry = func(e *Entry) error {
		var n int
		if _, err := fmt.Sscanf(string(e.Line), "line %d\n", &n); err != nil {
			notices = append(notices, e.Stream+":"+string(e.Line))
			return nil
		}
		if len(numbers) > 0 && n <= numbers[len(numbers)-1] {
			t.Errorf("line %d after %d", n, numbers[len(numbers)-1])
		}
		numbers = append(numbers, n)
		return nil
	}
	torn, err := Read(path, q)
	must(t, err)
	if torn > 0 {
		t.Errorf("%d torn entries", torn)
	}
	return numbers, notices
}

func TestFullDisk(t *testing.T) {
	for _, limit := range []uint64{1, 79, 80, 81, 5000, 5001, 5040, 5079} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			l, path := create(t, record.LogConfig{})
			release := fullAt(t, limit)
			write := func(from, to int) {
				for n := from; n < to; n += 10 { // ten entries at once
					var data []byte
					for k := range 10 {
						data = fmt.Appendf(data, "line %d\n", n+k)
					}
					l.Write("stdout", data)
				}
			}
			begin := time.Now()
			write(0, 1000)
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("the payload was held up for %v", d)
			}
			during, notices := whatIsThere(t, path)
			if len(notices) > 0 {
				t.Errorf("%q while the disk is full", notices)
			}
			release()
			write(1000, 1100)
			l.Close()
			after, notices := whatIsThere(t, path)
			lost := 1100 - len(after)
			if len(notices) != 1 || !strings.Contains(notices[0], fmt.Sprintf("stderr:rc: %d entries of this log were lost here: file too large\n", lost)) {
				t.Errorf("%d lost, and the log says %q", lost, notices)
			}
			if len(after) < len(during)+100 || after[len(after)-1] != 1099 {
				t.Errorf("%d lines, then %d", len(during), len(after))
			}
		})
	}
}

// A log that ends on a full disk ends with a whole entry.
func TestFullDiskAtTheEnd(t *testing.T) {
	l, path := create(t, record.LogConfig{})
	release := fullAt(t, 1000)
	for n := range 100 {
		l.Write("stdout", fmt.Appendf(nil, "line %d\n", n))
	}
	l.Close()
	release()
	numbers, _ := whatIsThere(t, path)
	data, err := os.ReadFile(path)
	must(t, err)
	if len(numbers) < 10 || len(numbers) > 13 || data[len(data)-1] != '\n' {
		t.Errorf("%d lines, %q", len(numbers), data[max(0, len(data)-20):])
	}
	l, err = Open(path, nil)
	must(t, err)
	l.Write("stdout", []byte("line 1000\n"))
	l.Close()
	if numbers, _ := whatIsThere(t, path); numbers[len(numbers)-1] != 1000 {
		t.Errorf("%v", numbers)
	}
}

// No new file can be made: the old one goes on. (The folder was removed, as by
// `rc rm -f`, or the limit of open files is reached.)
func TestNoNewFile(t *testing.T) {
	l, path := create(t, record.LogConfig{MaxSize: 1000, MaxFile: 3})
	for n := range 10 {
		l.Write("stdout", fmt.Appendf(nil, "line %d\n", n))
	}
	moved := filepath.Dir(path) + ".moved"
	must(t, os.Rename(filepath.Dir(path), moved)) // like the trash: the folder is the same
	t.Cleanup(func() { _ = os.RemoveAll(moved) })
	must(t, os.Mkdir(filepath.Join(moved, "log.1"), 0o700))
	for n := range 100 {
		l.Write("stdout", fmt.Appendf(nil, "line %d\n", 10+n))
	}
	l.Close()
	must(t, os.Remove(filepath.Join(moved, "log.1")))
	if numbers, _ := whatIsThere(t, filepath.Join(moved, "log")); len(numbers) != 110 {
		t.Errorf("%d lines", len(numbers))
	}
}
