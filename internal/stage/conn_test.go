package stage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

type packet struct {
	Kind string
	Text string
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	a, b, err := Pair()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// raw sends bytes as a hostile peer would, without our encoder.
func raw(t testing.TB, c *Conn, data []byte, fds ...int) {
	t.Helper()
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	must(t, unix.Sendmsg(int(c.File().Fd()), data, rights, nil, unix.MSG_NOSIGNAL))
}

// openDescriptors counts this process's, so that a leak shows.
func openDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestMessagesKeepTheirBorders(t *testing.T) {
	a, b := pair(t)
	for i := range 50 {
		must(t, a.Send(packet{"n", fmt.Sprint(i)}))
	}
	for i := range 50 {
		var p packet
		files, err := b.Recv(&p)
		must(t, err)
		if p.Text != fmt.Sprint(i) || len(files) != 0 {
			t.Fatalf("message %d is %+v with %d files", i, p, len(files))
		}
	}
}

func TestEndOfConversation(t *testing.T) {
	a, b := pair(t)
	must(t, a.Send(packet{Kind: "last"}))
	must(t, a.Close())
	var p packet
	if _, err := b.Recv(&p); err != nil || p.Kind != "last" {
		t.Fatalf("what was sent before the end is lost: %v %+v", err, p)
	}
	if _, err := b.Recv(&p); err != io.EOF {
		t.Fatalf("end of conversation is %v, not io.EOF", err)
	}
	if err := b.Send(p); !errors.Is(err, unix.EPIPE) {
		t.Fatalf("sending to nobody: %v", err)
	}
}

// Descriptors really pass: what is written through the received one arrives in
// the file, and the receiver's is close-on-exec while the sender keeps its own.
func TestDescriptorsPass(t *testing.T) {
	a, b := pair(t)
	var sent []*os.File
	for i := range 3 {
		f, err := os.Create(fmt.Sprintf("%s/%d", t.TempDir(), i))
		must(t, err)
		defer f.Close()
		sent = append(sent, f)
	}
	must(t, a.Send(packet{Kind: "files"}, sent...))
	var p packet
	got, err := b.Recv(&p)
	must(t, err)
	defer CloseFiles(got)
	if len(got) != 3 {
		t.Fatalf("%d descriptors arrived", len(got))
	}
	for i, f := range got {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		must(t, err)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would leak into the payload", i)
		}
		if f.Fd() == sent[i].Fd() {
			t.Errorf("descriptor %d is the sender's own", i)
		}
		_, err = fmt.Fprintf(f, "through %d", i)
		must(t, err)
		text, err := os.ReadFile(sent[i].Name())
		must(t, err)
		if string(text) != fmt.Sprintf("through %d", i) {
			t.Errorf("file %d holds %q: order or identity lost", i, text)
		}
		if _, err := sent[i].Stat(); err != nil {
			t.Errorf("Send closed what it only borrows: %v", err)
		}
	}
}

func TestBothEndsAreCloseOnExec(t *testing.T) {
	a, b := pair(t)
	l, err := Listen(t.TempDir() + "/s")
	must(t, err)
	defer l.Close()
	d, err := Dial(l.path)
	must(t, err)
	defer d.Close()
	accepted, err := l.Accept()
	must(t, err)
	defer accepted.Close()
	for name, f := range map[string]*os.File{"a": a.File(), "b": b.File(), "listener": l.f, "dialled": d.File(), "accepted": accepted.File()} {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		must(t, err)
		if flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s is inherited by children", name)
		}
		status, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
		must(t, err)
		if status&unix.O_NONBLOCK == 0 {
			t.Errorf("%s blocks a thread (is File().Fd() to blame?)", name)
		}
	}
}

func TestTooLargeToSend(t *testing.T) {
	a, b := pair(t)
	if err := a.Send(packet{Text: strings.Repeat("x", MaxPacket)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an oversize message: %v", err)
	}
	many := make([]*os.File, MaxFiles+1)
	for i := range many {
		many[i] = os.Stdin
	}
	if err := a.Send(packet{}, many...); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many files: %v", err)
	}
	must(t, a.Send(packet{Text: strings.Repeat("x", MaxPacket-100)}, many[:MaxFiles]...))
	var p packet
	files, err := b.Recv(&p)
	must(t, err)
	CloseFiles(files)
	if len(files) != MaxFiles || len(p.Text) != MaxPacket-100 {
		t.Errorf("the largest message arrived with %d files and %d bytes", len(files), len(p.Text))
	}
}

// TestHostilePackets: whatever a peer sends is an error of one kind or another,
// never a panic, never a leaked descriptor, and the next packet is read well.
func TestHostilePackets(t *testing.T) {
	null, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(null)
	fds := func(n int) []int {
		list := make([]int, n)
		for i := range list {
			list[i] = null
		}
		return list
	}
	for name, c := range map[string]struct {
		data []byte
		fds  []int
		want error
	}{
		"garbage":            {[]byte("\x00\xff{"), nil, nil},
		"half a value":       {[]byte(`{"Kind":"x`), nil, nil},
		"two values":         {[]byte(`{"Kind":"x"}{"Kind":"y"}`), nil, nil},
		"wrong type":         {[]byte(`{"Kind":{"a":1}}`), nil, nil},
		"a list":             {[]byte(`[1,2,3]`), nil, nil},
		"deep nesting":       {bytes.Repeat([]byte("["), MaxPacket), nil, nil},
		"oversize":           {bytes.Repeat([]byte(" "), MaxPacket+1), nil, ErrTooLarge},
		"oversize and files": {bytes.Repeat([]byte(" "), MaxPacket+1), fds(3), ErrTooLarge},
		"too many files":     {[]byte(`{}`), fds(MaxFiles + 50), ErrTooLarge},
		"garbage and files":  {[]byte("{"), fds(200), nil},
		"files alone":        {nil, fds(5), nil},
		"nothing":            {nil, nil, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			before := openDescriptors(t)
			raw(t, a, c.data, c.fds...)
			var p packet
			files, err := b.Recv(&p)
			if err == nil {
				t.Fatalf("accepted as %+v", p)
			}
			if c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if files != nil {
				t.Errorf("an error came with %d files", len(files))
			}
			if after := openDescriptors(t); after != before {
				t.Errorf("%d descriptors leaked", after-before)
			}
			must(t, a.Send(packet{Kind: "next"}))
			if _, err := b.Recv(&p); err != nil || p.Kind != "next" {
				t.Errorf("the next packet: %v %+v", err, p)
			}
		})
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	a, b := pair(t)
	raw(t, a, []byte(`{"Kind":"x","FromTheFuture":{"a":[1]}}`))
	var p packet
	if _, err := b.Recv(&p); err != nil || p.Kind != "x" {
		t.Fatalf("%v %+v", err, p)
	}
}

func TestDeadline(t *testing.T) {
	a, b := pair(t)
	_ = a.File().Fd() // must not put the socket into blocking mode
	must(t, a.SetDeadline(time.Now().Add(20*time.Millisecond)))
	var p packet
	if _, err := a.Recv(&p); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a silent peer: %v", err)
	}
	must(t, a.SetDeadline(time.Time{}))
	must(t, b.Send(packet{Kind: "late"}))
	if _, err := a.Recv(&p); err != nil || p.Kind != "late" {
		t.Fatalf("after the deadline was lifted: %v", err)
	}
}

func TestCloseEndsAWaitingRecv(t *testing.T) {
	a, _ := pair(t)
	got := make(chan error, 1)
	go func() {
		var p packet
		_, err := a.Recv(&p)
		got <- err
	}()
	time.Sleep(20 * time.Millisecond)
	must(t, a.Close())
	select {
	case err := <-got:
		if !errors.Is(err, os.ErrClosed) {
			t.Fatalf("closed under its reader: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the reader hangs")
	}
}

// A full socket makes the sender wait, not fail, and nothing is lost.
func TestSlowReceiver(t *testing.T) {
	a, b := pair(t)
	const n = 200
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			if err := a.Send(packet{fmt.Sprint(i), strings.Repeat("x", 30000)}); err != nil {
				t.Errorf("message %d: %v", i, err)
				return
			}
		}
	})
	time.Sleep(50 * time.Millisecond)
	for i := range n {
		var p packet
		if _, err := b.Recv(&p); err != nil || p.Kind != fmt.Sprint(i) {
			t.Fatalf("message %d: %v %q", i, err, p.Kind)
		}
	}
	wg.Wait()
}

func FuzzRecv(f *testing.F) {
	f.Add([]byte(`{"Kind":"x"}`))
	f.Add([]byte("\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > MaxPacket {
			return
		}
		a, b := pair(t)
		raw(t, a, data)
		var p packet
		_, _ = b.Recv(&p) // no panic
	})
}

// A packet of ours that the other side never read must not cost us its last word.
func TestLastWordBeforeReset(t *testing.T) {
	a, b, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Send("unread"); err != nil {
		t.Fatal(err)
	}
	if err := b.Send("last word"); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	var got string
	if _, err := a.Recv(&got); err != nil || got != "last word" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := a.Recv(&got); !errors.Is(err, io.EOF) {
		t.Errorf("then %v, want the end", err)
	}
}
