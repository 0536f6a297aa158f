package hint

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestText(t *testing.T) {
	for want, err := range map[string]error{
		"op: reason; fix":            New("op", errors.New("reason"), "fix"),
		"op: reason":                 New("op", errors.New("reason"), ""),
		"reason; fix":                New("", errors.New("reason"), "fix"),
		"reason":                     New("", errors.New("reason"), ""),
		"op: 3 of \"x\"; fix":        Newf("op", "fix", "%d of %q", 3, "x"),
		"a: b: reason; inner; outer": New("a", New("b", errors.New("reason"), "inner"), "outer"),
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

func TestErrnoShinesThrough(t *testing.T) {
	err := fmt.Errorf("outermost: %w", New("op", &fs.PathError{Op: "open", Path: "x", Err: unix.EACCES}, "fix"))
	if !errors.Is(err, unix.EACCES) || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v hides its errno", err)
	}
	if err := Newf("op", "", "more: %w", unix.EIO); !errors.Is(err, unix.EIO) {
		t.Errorf("%v hides its errno", err)
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{errors.New("plain"), 125},
		{New("op", unix.EPERM, ""), 125},
		{New("op", unix.EPERM, "").WithCode(1), 1},
		{New("run", unix.ENOENT, "").WithCode(ExitNotFound), 127},
		{fmt.Errorf("more: %w", New("run", unix.EACCES, "").WithCode(ExitNotRunnable)), 126},
		{errors.Join(errors.New("other"), New("run", unix.EACCES, "").WithCode(ExitNotRunnable)), 126},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
