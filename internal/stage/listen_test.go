package stage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// echo answers every conversation with what it heard.
func echo(t testing.TB, l *Listener) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var p packet
				if files, err := c.Recv(&p); err == nil {
					_ = c.Send(p, files...)
					CloseFiles(files)
				}
			}()
		}
	}()
}

func ask(t testing.TB, path, text string) {
	t.Helper()
	c, err := Dial(path)
	must(t, err)
	defer c.Close()
	must(t, c.Send(packet{Text: text}))
	var p packet
	if _, err := c.Recv(&p); err != nil || p.Text != text {
		t.Fatalf("answer %+v, %v", p, err)
	}
}

// The 108 bytes of sun_path are no limit of ours: XDG_RUNTIME_DIR and temporary
// folders are often longer.
func TestPathLengths(t *testing.T) {
	base := t.TempDir()
	for _, length := range []int{len(base) + 3, 106, 107, 108, 109, 200, 1000} {
		dir := base
		for len(dir)+60 < length {
			dir = filepath.Join(dir, strings.Repeat("d", 50))
		}
		name := strings.Repeat("s", max(1, length-len(dir)-1))
		must(t, os.MkdirAll(dir, 0o700))
		path := filepath.Join(dir, name)
		l, err := Listen(path)
		if err != nil {
			t.Fatalf("a path of %d bytes: %v", len(path), err)
		}
		echo(t, l)
		ask(t, path, "hello")
		must(t, l.Close())
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Close left %d bytes of path behind: %v", len(path), err)
		}
	}
}

// A socket that a killed process left must not keep the next one from listening.
func TestStaleSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale, err := Listen(path)
	must(t, err)
	must(t, stale.f.Close()) // as by kill -9: the path stays
	if _, err := Dial(path); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("dialling a dead socket: %v", err)
	}
	l, err := Listen(path)
	must(t, err)
	defer l.Close()
	echo(t, l)
	ask(t, path, "alive")
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	if _, err := Dial(dir + "/missing"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a missing socket: %v", err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 120), "s")
	if _, err := Dial(long); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a missing folder: %v", err)
	}
	must(t, os.WriteFile(dir+"/file", nil, 0o600))
	if _, err := Dial(dir + "/file"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a regular file: %v", err)
	}
}

func TestListenRefusals(t *testing.T) {
	if _, err := Listen(t.TempDir() + "/missing/s"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("no folder: %v", err)
	}
	before := openDescriptors(t)
	for range 5 {
		_, _ = Listen("/proc/s")
		_, _ = Dial("/proc/s")
	}
	if after := openDescriptors(t); after != before {
		t.Errorf("failures leak %d descriptors", after-before)
	}
}

func TestAcceptEndsWithClose(t *testing.T) {
	l, err := Listen(t.TempDir() + "/s")
	must(t, err)
	got := make(chan error, 1)
	go func() { _, err := l.Accept(); got <- err }()
	time.Sleep(20 * time.Millisecond)
	must(t, l.Close())
	select {
	case err := <-got:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Accept hangs after Close")
	}
}

func TestManyClients(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	must(t, err)
	defer l.Close()
	echo(t, l)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			c, err := Dial(path)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.Send(packet{Text: "x"})
			var p packet
			if _, err := c.Recv(&p); err != nil && err != io.EOF {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A process that is stopped accepts nobody; once its queue is full, connect(2)
// would wait for ever and every rc command with it.
func TestDialIsBounded(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	must(t, err)
	defer l.Close()
	old := dialPatience
	dialPatience = 50 * time.Millisecond
	defer func() { dialPatience = old }()
	end := time.Now().Add(10 * time.Second)
	for i := 0; time.Now().Before(end); i++ {
		c, err := Dial(path)
		if err == nil {
			defer c.Close()
			continue
		}
		if !errors.Is(err, unix.EAGAIN) || i < 100 {
			t.Fatalf("connection %d: %v", i, err)
		}
		return
	}
	t.Fatal("the queue never fills")
}
