package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What stands before an errno goes, and what is none stays.
func TestCause(t *testing.T) {
	plain := errors.New("plain")
	path := &fs.PathError{Op: "open", Path: "x", Err: unix.EIO}
	link := &os.LinkError{Op: "rename", Old: "x", New: "y", Err: unix.EIO}
	odd := &fs.PathError{Op: "read", Path: "x", Err: plain}
	refusal := New("op", path, "fix")
	for _, c := range []struct{ err, cause, errno, reason error }{
		{nil, nil, nil, nil},
		{plain, plain, plain, plain},
		{unix.EIO, unix.EIO, unix.EIO, unix.EIO},
		{path, unix.EIO, unix.EIO, path},
		{link, link, unix.EIO, link},
		{odd, plain, odd, odd},
		{refusal, unix.EIO, unix.EIO, path},
		{fmt.Errorf("more: %w", path), unix.EIO, unix.EIO, nil},
		{fmt.Errorf("more: %w", refusal), unix.EIO, unix.EIO, path},
	} {
		if got := Cause(c.err); got != c.cause {
			t.Errorf("cause of %v: %v", c.err, got)
		}
		if got := Errno(c.err); got != c.errno {
			t.Errorf("errno of %v: %v", c.err, got)
		}
		if c.reason == nil {
			c.reason = c.err
		}
		if got := Reason(c.err); got != c.reason {
			t.Errorf("reason of %v: %v", c.err, got)
		}
	}
}
