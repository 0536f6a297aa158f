package forward

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBytesArrive: much and little, both ways at once, and each end by itself.
func TestBytesArrive(t *testing.T) {
	s := newScene(t)
	// It reads to the end before it answers with the sum and what it read.
	s.serveTCP("tcp", ":80", func(c net.Conn) {
		data, _ := io.ReadAll(c)
		sum := sha256.Sum256(data)
		_, _ = c.Write(append(sum[:], data...))
	})
	_, port := s.publish("tcp", "", 80)
	var wg sync.WaitGroup
	for i, size := range []int{0, 1, smallRead - 1, smallRead, smallRead + 1, bufferSize, 5 << 20, 20 << 20} {
		wg.Go(func() {
			data := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			for rest := data; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(1<<18))
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = c.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(c)
			sum := sha256.Sum256(data)
			if err != nil || !bytes.Equal(got, append(sum[:], data...)) {
				t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
			}
		})
	}
	wg.Wait()
	eventually(t, "nothing is open", func() bool {
		return s.Open() == 0 && sockets.Load() <= 2*sparePipes*int64(maxWorkers) && left.Load() == 0
	})
}

// TestWithoutPipes: where descriptors are short bulk goes by the buffer.
func TestWithoutPipes(t *testing.T) {
	defer func(n int64) { maxSockets = n }(maxSockets)
	maxSockets = sockets.Load() + 40
	TestBytesArrive(t)
}

// TestResetIsPassedOn, from either side: half an answer must not look like a whole one.
func TestResetIsPassedOn(t *testing.T) {
	s := newScene(t)
	heard := make(chan error, 1)
	s.serveTCP("tcp", ":80", func(c net.Conn) {
		_, _ = c.Write([]byte("half"))
		var b [1]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 'r' {
			heard <- err
			return
		}
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	_, port := s.publish("tcp", "", 80)
	connect := func() net.Conn {
		c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := connect()
	_, _ = c.Write([]byte("r"))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the server's reset is seen as %v", err)
	}
	c = connect()
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	if err := <-heard; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the client's reset is seen as %v", err)
	}
	eventually(t, "nothing is open", func() bool { return s.Open() == 0 })
}

// TestSlowClients: what clients do not take stays with the kernel and the server.
func TestSlowClients(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", func(c net.Conn) {
		data := make([]byte, 1<<16)
		for {
			if _, err := c.Write(data); err != nil {
				return
			}
		}
	})
	_, port := s.publish("tcp", "", 80)
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 {
		c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	time.Sleep(300 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	// 100 buffers of the servers above are 6.4 MiB.
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 24<<20 || left.Load() > maxLeft+smallRead {
		t.Errorf("100 clients that read nothing hold %d bytes, %d of them unsent", grown, left.Load())
	}
}

// TestStopCuts one port and its connections, not the others.
func TestStopCuts(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", func(c net.Conn) { _, _ = io.Copy(c, c) })
	a, portA := s.publish("tcp", "", 80)
	_, portB := s.publish("tcp", "", 80)
	echo := func(c net.Conn) error {
		_, err := c.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		return err
	}
	var conns []net.Conn
	for _, port := range []string{portA, portB} {
		c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
		if err == nil {
			err = echo(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if err := s.Stop(a); err != nil {
		t.Fatal(err)
	}
	if err := echo(conns[0]); err == nil {
		t.Error("a connection of a port that was given up goes on")
	}
	if err := echo(conns[1]); err != nil {
		t.Errorf("the other port's connection: %v", err)
	}
	if _, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, portA)); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a port that was given up: %v", err)
	}
	if err := s.Stop(a); !errors.Is(err, unix.ENOENT) {
		t.Errorf("given up twice: %v", err)
	}
	// Somebody else may have it at once.
	if _, err := s.Listen(a); err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.Close()); err != nil {
		t.Error(err)
	}
	if err := echo(conns[1]); err == nil {
		t.Error("a connection outlives its container's ports")
	}
	if err := s.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
}

// TestManyConnections: what an open connection costs.
func TestManyConnections(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	// Client, server and we are one process here: four descriptors each.
	n := min(10000, int(limit.Cur-400)/4)
	if testing.Short() {
		n = min(n, 1000)
	}
	s := newScene(t)
	var mu sync.Mutex
	var held []net.Conn
	s.serveTCP("tcp", ":80", func(c net.Conn) { // holds without a goroutine of its own
		mu.Lock()
		held = append(held, c)
		mu.Unlock()
		select {}
	})
	_, port := s.publish("tcp", "", 80)
	clients := make([]net.Conn, 0, n)
	defer func() {
		for _, c := range append(clients, held...) {
			_ = c.Close()
		}
		eventually(t, "nothing is open", func() bool { return s.Open() == 0 })
	}()
	for range n {
		c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, c)
	}
	eventually(t, "all are served", func() bool { mu.Lock(); defer mu.Unlock(); return len(held) == n })
	if got := sockets.Load(); got > int64(2*n+2*sparePipes*maxWorkers) {
		t.Errorf("%d connections hold %d descriptors", n, got)
	}
	for _, i := range []int{0, n / 2, n - 1} {
		mu.Lock()
		_, _ = held[i].Write([]byte("x"))
		mu.Unlock()
	}
	t.Logf("%d connections", n)
}

// TestRefusedBeyondTheLimit: a reset, and the others go on.
func TestRefusedBeyondTheLimit(t *testing.T) {
	s := newScene(t)
	s.serveTCP("tcp", ":80", func(c net.Conn) { _, _ = io.Copy(c, c) })
	_, port := s.publish("tcp", "", 80)
	defer func(n int64) { maxSockets = n }(maxSockets)
	maxSockets = sockets.Load() + 20
	var open []net.Conn
	refused := 0
	for range 15 {
		c, err := dialFrom(s.client.in, "tcp", net.JoinHostPort(host4, port))
		if err == nil {
			defer c.Close()
			if _, err = c.Write([]byte("x")); err == nil {
				_, err = io.ReadFull(c, make([]byte, 1))
			}
		}
		switch {
		case err == nil:
			open = append(open, c)
		case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
			refused++
		default:
			t.Error(err)
		}
	}
	if len(open) < 5 || refused < 5 {
		t.Errorf("%d open, %d refused", len(open), refused)
	}
	for _, c := range open {
		if _, err := fmt.Fprint(c, "y"); err != nil {
			t.Error(err)
		}
	}
}
