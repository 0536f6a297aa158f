package start

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
)

// step is one message of a path through the conversation.
type step struct {
	from Side
	kind Kind
}

// drawn are the legal whole conversations, as the package comment draws them.
var drawn = map[string][]step{
	"rc and shim":   {{RC, KindConfig}, {Shim, KindCreated}, {RC, KindStart}, {Shim, KindStarted}, {Shim, KindExited}},
	"shim and init": {{Shim, KindInit}, {Init, KindReady}, {Shim, KindExec}},
	"a resize while it is built": {{RC, KindConfig}, {RC, KindResize}, {Shim, KindCreated}, {RC, KindResize}, {RC, KindStart},
		{RC, KindResize}, {Shim, KindStarted}, {RC, KindResize}, {Shim, KindExited}},
	"signals and streams": {{RC, KindConfig}, {Shim, KindCreated}, {RC, KindSignal}, {RC, KindStart}, {RC, KindSignal}, {RC, KindCloseStream},
		{RC, KindDetach}, {Shim, KindStarted}, {RC, KindSignal}, {RC, KindCloseStream}, {RC, KindCloseStream}, {RC, KindDetach}, {Shim, KindExited}},
}

func walk(t *testing.T, path []step) Order {
	t.Helper()
	var o Order
	for i, s := range path {
		if err := o.Next(s.from, s.kind); err != nil {
			t.Fatalf("step %d of %v: %v", i, path, err)
		}
	}
	return o
}

func TestLegalPaths(t *testing.T) {
	for name, path := range drawn {
		t.Run(name, func(t *testing.T) { walk(t, path) })
	}
}

var allKinds = []Kind{KindConfig, KindInit, KindReady, KindCreated, KindStart, KindExec, KindStarted, KindExited,
	KindSignal, KindResize, KindCloseStream, KindDetach, "", "unknown", "Config"}

// legal lists, for each prefix of the two drawn conversations, every message
// that may come next; it is written out by hand, not computed from the rules.
var legal = []struct {
	after []step
	next  []step
}{
	{nil, []step{{RC, KindConfig}, {Shim, KindInit}}},
	{drawn["rc and shim"][:1], []step{{Shim, KindCreated}, {RC, KindResize}}},
	{drawn["rc and shim"][:2], []step{{RC, KindStart}, {RC, KindSignal}, {RC, KindResize}}},
	{drawn["rc and shim"][:3], []step{{Shim, KindStarted}, {RC, KindSignal}, {RC, KindResize}, {RC, KindCloseStream}, {RC, KindDetach}}},
	{drawn["rc and shim"][:4], []step{{Shim, KindExited}, {RC, KindSignal}, {RC, KindResize}, {RC, KindCloseStream}, {RC, KindDetach}}},
	{drawn["rc and shim"], nil},
	{drawn["shim and init"][:1], []step{{Init, KindReady}}},
	{drawn["shim and init"][:2], []step{{Shim, KindExec}}},
	{drawn["shim and init"], nil},
}

// TestEveryIllegalMessage tries every message of every side at every point.
func TestEveryIllegalMessage(t *testing.T) {
	tried := 0
	for _, point := range legal {
		may := map[step]bool{}
		for _, s := range point.next {
			may[s] = true
		}
		for _, side := range []Side{RC, Shim, Init, Init + 1} {
			for _, kind := range allKinds {
				o := walk(t, point.after)
				before := o
				err := o.Next(side, kind)
				if (err == nil) != may[step{side, kind}] {
					t.Errorf("after %v, side %d sends %q: %v", point.after, side, kind, err)
				}
				if err != nil && o != before {
					t.Errorf("a refused %q changed the order", kind)
				}
				tried++
			}
		}
	}
	if tried < 9*4*15 {
		t.Errorf("only %d tried", tried)
	}
}

// A failure may come from any side at any time, and nothing comes after it.
func TestFailedEndsEverything(t *testing.T) {
	for _, point := range legal {
		for _, side := range []Side{RC, Shim, Init} {
			o := walk(t, point.after)
			if err := o.Next(side, KindFailed); err != nil {
				t.Fatalf("after %v: %v", point.after, err)
			}
			for _, kind := range allKinds {
				for _, next := range []Side{RC, Shim, Init} {
					if err := o.Next(next, kind); err == nil {
						t.Errorf("%q from %d was taken after a failure", kind, next)
					}
				}
			}
		}
	}
}

func TestRefusalNamesTheMessages(t *testing.T) {
	o := walk(t, drawn["rc and shim"][:2])
	err := o.Next(Shim, KindExited)
	if err == nil || !strings.Contains(err.Error(), `"exited"`) || !strings.Contains(err.Error(), `"created"`) {
		t.Errorf("%v", err)
	}
}

// cross sends a failure through a real socket.
func cross(t *testing.T, err error) error {
	t.Helper()
	a, b, perr := stage.Pair()
	if perr != nil {
		t.Fatal(perr)
	}
	defer a.Close()
	defer b.Close()
	if err := a.Send(&Message{Kind: KindFailed, Fail: Fail(err)}); err != nil {
		t.Fatalf("a refusal that cannot be told: %v", err)
	}
	var m Message
	if _, err := b.Recv(&m); err != nil || m.Fail == nil {
		t.Fatalf("%v %+v", err, m)
	}
	return m.Fail.Error()
}

func TestFailureCrossesASocket(t *testing.T) {
	inner := hint.New("open x", &fs.PathError{Op: "open", Path: "x", Err: unix.EACCES}, "do y").WithCode(hint.ExitNotRunnable)
	for name, c := range map[string]struct {
		err   error
		text  string
		errno syscall.Errno
		code  int
	}{
		"a refusal":        {inner, "open x: open x: permission denied; do y", unix.EACCES, 126},
		"an errno":         {unix.EPERM, "operation not permitted", unix.EPERM, 125},
		"a plain error":    {errors.New("plain"), "plain", 0, 125},
		"a wrapped errno":  {fmt.Errorf("outer: %w", unix.ENOSPC), "outer: no space left on device", unix.ENOSPC, 125},
		"not found":        {hint.New("run", unix.ENOENT, "").WithCode(hint.ExitNotFound), "run: no such file or directory", unix.ENOENT, 127},
		"no operation":     {&hint.Error{Err: unix.EIO}, "input/output error", unix.EIO, 125},
		"two lines, bytes": {errors.New("a\nb\xff"), "a\nb\ufffd", 0, 125},
	} {
		t.Run(name, func(t *testing.T) {
			got := cross(t, c.err)
			if got.Error() != c.text {
				t.Errorf("text %q, want %q", got, c.text)
			}
			if code := hint.ExitCode(got); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if c.errno != 0 && !errors.Is(got, c.errno) {
				t.Errorf("errors.Is(%v) does not hold on the other side", c.errno)
			}
			if c.errno == 0 && errors.Is(got, syscall.Errno(0)) {
				t.Error("an errno out of nowhere")
			}
			if errors.Is(got, unix.EXDEV) {
				t.Error("every errno holds")
			}
			// A second crossing, from init over the shim to rc, changes nothing.
			if again := cross(t, got); again.Error() != c.text || hint.ExitCode(again) != c.code || c.errno != 0 && !errors.Is(again, c.errno) {
				t.Errorf("second crossing: %v (%d)", again, hint.ExitCode(again))
			}
		})
	}
}

// fs's own values hold too, because an errno knows which of them it is.
func TestFailureKeepsMeaning(t *testing.T) {
	if err := cross(t, hint.New("x", unix.ENOENT, "")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}

// A command line of 100 KB in the refusal must not keep it from being told.
func TestLongFailure(t *testing.T) {
	long := strings.Repeat("é", 100<<10)
	err := cross(t, hint.New("run "+long, fmt.Errorf("%s: %w", long, unix.E2BIG), long))
	if !errors.Is(err, unix.E2BIG) || !strings.HasPrefix(err.Error(), "run éé") {
		t.Errorf("%.100q", err)
	}
	if strings.ContainsRune(err.Error(), '\ufffd') {
		t.Error("cut inside a character")
	}
}
