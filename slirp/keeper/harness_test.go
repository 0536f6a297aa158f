package keeper

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/tests/accept"
	"github.com/rc-containers/rc/userns"
	_ "github.com/rc-containers/rc/userns/nsjoin" // this test program is also the programs that it starts
)

// TestMain plays each program of the picture: rc-net itself, the shim (in U0),
// and a payload in a sandbox below U0.
func TestMain(m *testing.M) {
	var err error
	switch {
	case Noop():
	case os.Args[0] == "rc-net":
		openWorld, openOut = withoutFilter, withoutRelay
		err = Main(nil)
	case os.Args[0] == "shim":
		err = shimRole()
	case os.Args[0] == "payload":
		err = payloadRole()
	case os.Args[0] == "forked":
		err = forkedRole()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[0], err)
		os.Exit(1)
	}
	os.Exit(0)
}

// shimRole starts the payload the way the shim starts init: executed in U0, not
// dumpable, in a nested user namespace and a fresh network namespace.
func shimRole() error {
	m, err := userns.ReadMapping(0)
	if err != nil {
		return err
	}
	uid, gid := m.Nested()
	p, err := userns.Start(&userns.Program{
		Path: "/proc/self/exe", Args: []string{"payload"}, Conn: os.NewFile(connFD, "conn"), Stderr: os.Stderr,
		Plan: userns.Plan{Clone: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, UIDMap: uid, GIDMap: gid,
			DenySetgroups: m.SingleID, BecomeRoot: true, NonDumpable: true},
	})
	if err != nil {
		return err
	}
	_ = unix.Close(connFD)
	_, err = p.Wait()
	return err
}

// order is what a test asks of the payload; result is what came of it.
type order struct{ Do, Net, Addr string }
type result struct {
	Text, Err string
	PID       int
}

// payloadRole does what it is told inside the sandbox.
func payloadRole() error {
	if err := linux.LoopbackUp(); err != nil {
		return err
	}
	c := stage.NewConn(connFD)
	netns, err := linux.OpenNamespace(0, unix.CLONE_NEWNET)
	if err != nil {
		return err
	}
	user, err := linux.OpenNamespace(0, unix.CLONE_NEWUSER)
	if err != nil {
		return err
	}
	if err := c.Send(&result{PID: os.Getpid()}, netns, user); err != nil {
		return err
	}
	for {
		var o order
		if _, err := c.Recv(&o); err != nil {
			return nil
		}
		text, err := o.carryOut()
		r := &result{Text: text}
		if err != nil {
			r.Err = err.Error()
		}
		if err := c.Send(r); err != nil {
			return err
		}
	}
}

func (o order) carryOut() (string, error) {
	switch o.Do {
	case "serve":
		return "", serve(o.Net, o.Addr)
	case "dial":
		return dial(o.Net, o.Addr)
	case "echo":
		return "", echo(o.Addr)
	case "call":
		c, err := net.DialTimeout(o.Net, o.Addr, 3*time.Second)
		held = c
		return "", err
	case "talk":
		return talk(o.Addr)
	case "lookup":
		server := o.Net
		if server == "" {
			server = slirp.Resolver
		}
		r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, server+":53")
		}}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		addrs, err := r.LookupHost(ctx, o.Addr)
		return strings.Join(addrs, " "), err
	case "interfaces":
		return interfaces()
	case "open":
		f, err := os.Open(o.Addr)
		if err == nil {
			_ = f.Close()
		}
		return "", err
	}
	return "", fmt.Errorf("unknown order %q", o.Do)
}

// held is the connection that "call" made.
var held net.Conn

// talk sends a word over it and returns what comes back.
func talk(word string) (string, error) {
	_ = held.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := io.WriteString(held, word); err != nil {
		return "", err
	}
	buf := make([]byte, len(word))
	_, err := io.ReadFull(held, buf)
	return string(buf), err
}

// echo gives back what it gets.
func echo(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	accept.Each(l, accept.Echo)
	return nil
}

func interfaces() (string, error) {
	list, err := net.Interfaces()
	var b strings.Builder
	for _, i := range list {
		addrs, _ := i.Addrs()
		fmt.Fprintln(&b, i.Name, i.MTU, i.Flags, addrs)
	}
	return b.String(), err
}

// serve answers everybody with "hello ADDRESS", the address that it sees.
func serve(network, addr string) error {
	if strings.HasPrefix(network, "udp") {
		c, err := net.ListenPacket(network, addr)
		if err != nil {
			return err
		}
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := c.ReadFrom(buf)
				if err != nil {
					return
				}
				_, _ = c.WriteTo([]byte("hello "+from.String()), from)
			}
		}()
		return nil
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	accept.Each(l, func(c net.Conn) { _, _ = io.WriteString(c, "hello "+c.RemoteAddr().String()) })
	return nil
}

func dial(network, addr string) (string, error) {
	c, err := net.DialTimeout(network, addr, 3*time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	if strings.HasPrefix(network, "udp") {
		_, _ = c.Write([]byte("?"))
		buf := make([]byte, 1500)
		n, err := c.Read(buf)
		return string(buf[:n]), err
	}
	text, err := io.ReadAll(c)
	if err == nil && len(text) == 0 {
		err = io.ErrUnexpectedEOF // accepted outside, refused inside
	}
	return string(text), err
}

// host is one runtime folder with its keeper.
type host struct {
	t       testing.TB
	runtime string
	mapping *userns.Mapping
}

func newHost(t *testing.T) *host {
	t.Helper()
	if err := slirp.CheckHost(); err != nil {
		t.Skip(err)
	}
	m, err := userns.Resolve()
	if err != nil {
		t.Skip("no user namespaces here: ", err)
	}
	dir, err := os.MkdirTemp("", "rc-net-test-") // 0700; t.TempDir is longer than sun_path and 0755
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t, dir, m}
	t.Cleanup(func() {
		h.stop()
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return h
}

// start starts a keeper, or connects to the one that lives.
func (h *host) start() (*slirp.Client, error) {
	return slirp.StartKeeper(h.runtime, h.birth(nil, nil))
}

// birth goes on with what an earlier keeper left, if anything.
func (h *host) birth(u0, n0 *os.File) *slirp.Birth {
	return &slirp.Birth{Program: program(), Mapping: h.mapping, U0: u0, N0: n0, Path: os.Getenv("PATH")}
}

// program is the rc-net to test: this one.
func program() string {
	if real := os.Getenv("RC_NET"); real != "" {
		return real
	}
	return "/proc/self/exe"
}

func (h *host) mustStart() *slirp.Client {
	h.t.Helper()
	c, err := h.start()
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// keeperPID is 0 when none answers.
func (h *host) keeperPID() int {
	c, err := slirp.Dial(h.runtime)
	if err != nil {
		return 0
	}
	defer c.Close()
	w, u0, err := c.Hello()
	if err != nil {
		return 0
	}
	_ = u0.Close()
	return w.PID
}

func (h *host) stop() {
	if pid := h.keeperPID(); pid != 0 {
		_ = unix.Kill(pid, unix.SIGTERM)
		h.eventually("the keeper ends", func() bool { return !alive(pid) })
	}
}

func (h *host) eventually(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(8 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// alive reaps pid if it was a child of ours.
func alive(pid int) bool {
	_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return unix.Kill(pid, 0) == nil
}

// sandbox is a payload in namespaces of its own.
type sandbox struct {
	h             *host
	conn          *stage.Conn
	pid           int
	netns, userns *os.File
	n0            *os.File // once it was on a bridge
}

func (h *host) sandbox() *sandbox {
	h.t.Helper()
	c := h.mustStart()
	defer c.Close()
	_, u0, err := c.Hello()
	if err != nil {
		h.t.Fatal(err)
	}
	defer u0.Close()
	ours, theirs, err := stage.Pair()
	if err != nil {
		h.t.Fatal(err)
	}
	shim, err := userns.Start(&userns.Program{
		Path: "/proc/self/exe", Args: []string{"shim"}, Conn: theirs.File(), Files: []*os.File{u0}, Stderr: os.Stderr,
		Plan: userns.Plan{Join: []userns.Join{{FD: 5, Type: unix.CLONE_NEWUSER}}, BecomeRoot: true},
	})
	_ = theirs.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	_ = ours.SetDeadline(time.Now().Add(20 * time.Second))
	var r result
	files, err := ours.Recv(&r)
	if err != nil || len(files) != 2 {
		h.t.Fatal("the payload did not come up: ", err)
	}
	h.t.Cleanup(func() {
		_ = ours.Close() // ends the payload, and with it the shim
		_, _ = shim.Wait()
		stage.CloseFiles(files)
	})
	return &sandbox{h: h, conn: ours, pid: r.PID, netns: files[0], userns: files[1]}
}

func (s *sandbox) do(what, network, addr string) (string, error) {
	s.h.t.Helper()
	_ = s.conn.SetDeadline(time.Now().Add(20 * time.Second))
	err := s.conn.Send(&order{what, network, addr})
	var r result
	if err == nil {
		_, err = s.conn.Recv(&r)
	}
	if err != nil {
		s.h.t.Fatalf("%s %s %s: payload: %v", what, network, addr, err)
	}
	if r.Err != "" {
		return r.Text, fmt.Errorf("%s", r.Err)
	}
	return r.Text, nil
}

func (s *sandbox) must(what, network, addr string) string {
	s.h.t.Helper()
	text, err := s.do(what, network, addr)
	if err != nil {
		s.h.t.Fatalf("%s %s %s inside: %v", what, network, addr, err)
	}
	return text
}

// attach is what a shim does.
func (s *sandbox) attach(a slirp.Attach) (*slirp.Client, *slirp.Attached, error) {
	s.h.t.Helper()
	c, err := slirp.Dial(s.h.runtime)
	if err != nil {
		return nil, nil, err
	}
	a.ID, a.PID = "c"+strconv.Itoa(s.pid), s.pid
	got, n0, err := c.Attach(a, s.netns, s.userns, s.n0)
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	s.h.t.Cleanup(c.Close)
	if n0 != nil {
		_ = s.n0.Close()
		s.n0 = n0 // as a shim does
	}
	return c, got, nil
}

func (s *sandbox) mustAttach(a slirp.Attach) (*slirp.Client, *slirp.Attached) {
	s.h.t.Helper()
	c, got, err := s.attach(a)
	if err != nil {
		s.h.t.Fatal(err)
	}
	return c, got
}

// children are the live children of the keeper by name.
func (h *host) children(name string) []int {
	pid := h.keeperPID()
	if pid == 0 {
		return nil
	}
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
		f := bytes.Fields(data[end+1:])
		if string(data[open+1:end]) == name && string(f[1]) == strconv.Itoa(pid) && string(f[0]) != "Z" {
			n, _ := strconv.Atoi(strings.TrimSpace(string(data[:open])))
			found = append(found, n)
		}
	}
	return found
}

// parentOf opens the user namespace above f: U0, of a sandbox.
func parentOf(f *os.File) (*os.File, error) {
	fd, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_PARENT)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "parent"), nil
}
