package stage

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A conversation whose Recv waits in the kernel says the same as the other kind: a
// message that comes late, one with a descriptor, the end.
func TestWaitingConn(t *testing.T) {
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	fd, err := unix.FcntlInt(theirs.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	c := NewWaitingConn(fd)
	defer c.Close()
	go func() {
		time.Sleep(30 * time.Millisecond)
		_ = ours.Send("late")
		_ = ours.Send("with a file", os.Stdin)
		var back string
		_, _ = ours.Recv(&back)
		_ = ours.Send(back)
		_ = ours.Close()
	}()
	var got string
	if _, err := c.Recv(&got); err != nil || got != "late" {
		t.Fatalf("%q %v", got, err)
	}
	files, err := c.Recv(&got)
	if err != nil || got != "with a file" || len(files) != 1 {
		t.Fatalf("%q, %d files, %v", got, len(files), err)
	}
	CloseFiles(files)
	if err := c.Send("and back"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Recv(&got); err != nil || got != "and back" {
		t.Fatalf("%q %v", got, err)
	}
	if _, err := c.Recv(&got); !errors.Is(err, io.EOF) {
		t.Fatalf("after the end: %v", err)
	}
}
