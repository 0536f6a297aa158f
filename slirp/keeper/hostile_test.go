package keeper

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
)

// raw is a conversation below the client.
func (h *host) raw() *stage.Conn {
	h.t.Helper()
	c, err := stage.Dial(filepath.Join(h.runtime, slirp.SocketName))
	if err != nil {
		h.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	h.t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestHostileAttach(t *testing.T) {
	h := newHost(t)
	s, other := h.sandbox(), h.sandbox()
	mine, err := linux.OpenNamespace(0, unix.CLONE_NEWNET)
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	u0, err := parentOf(s.userns)
	if err != nil {
		t.Fatal(err)
	}
	defer u0.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	many := make([]slirp.Port, slirp.MaxPorts+1)
	for i := range many {
		many[i] = slirp.Port{ContainerPort: 1, Proto: "tcp"}
	}
	good := slirp.Attach{ID: "x", PID: s.pid}
	with := func(change func(*slirp.Attach)) slirp.Attach { a := good; change(&a); return a }
	cases := map[string]struct {
		a             slirp.Attach
		netns, userns *os.File
	}{
		"a file":                {good, null, null},
		"swapped":               {good, s.userns, s.netns},
		"the host's network":    {good, mine, s.userns},
		"U0 as owner":           {good, s.netns, u0},
		"another's owner":       {good, s.netns, other.userns},
		"another's process":     {with(func(a *slirp.Attach) { a.PID = other.pid }), s.netns, s.userns},
		"the test's process":    {with(func(a *slirp.Attach) { a.PID = os.Getpid() }), s.netns, s.userns},
		"no process":            {with(func(a *slirp.Attach) { a.PID = -1 }), s.netns, s.userns},
		"process 0":             {with(func(a *slirp.Attach) { a.PID = 0 }), s.netns, s.userns},
		"an unused pid":         {with(func(a *slirp.Attach) { a.PID = 1 << 22 }), s.netns, s.userns},
		"no id":                 {with(func(a *slirp.Attach) { a.ID = "" }), s.netns, s.userns},
		"too many ports":        {with(func(a *slirp.Attach) { a.Ports = many }), s.netns, s.userns},
		"a protocol":            {with(func(a *slirp.Attach) { a.Ports = []slirp.Port{{ContainerPort: 1, Proto: "unix"}} }), s.netns, s.userns},
		"a name for an address": {with(func(a *slirp.Attach) { a.Ports = []slirp.Port{{HostIP: "localhost", ContainerPort: 1, Proto: "tcp"}} }), s.netns, s.userns},
		"a container port of 0": {with(func(a *slirp.Attach) { a.Ports = []slirp.Port{{Proto: "tcp"}} }), s.netns, s.userns},
		"a range that runs back": {with(func(a *slirp.Attach) {
			a.Ports = []slirp.Port{{HostPort: 9, HostPortEnd: 8, ContainerPort: 1, Proto: "tcp"}}
		}), s.netns, s.userns},
	}
	for name, c := range cases {
		client, err := slirp.Dial(h.runtime)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := client.Attach(c.a, c.netns, c.userns, nil); err == nil || errors.Is(err, slirp.ErrNoKeeper) {
			t.Errorf("%s: %v", name, err)
		}
		client.Close()
	}
	if n := h.children("slirp4netns"); len(n) != 0 {
		t.Errorf("slirp4netns processes: %v", n)
	}
	s.mustAttach(slirp.Attach{})
}

func TestHostileMessages(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	pid := h.keeperPID()
	before := openFiles(t, pid)

	var reply slirp.Reply
	for name, m := range map[string]any{
		"nothing": &slirp.Request{}, "both": &slirp.Request{Hello: &slirp.Hello{}, Attach: &slirp.Attach{}},
		"no descriptors": &slirp.Request{Attach: &slirp.Attach{ID: "x", PID: 1}}, "unknown": map[string]int{"Explode": 1},
	} {
		c := h.raw()
		if err := c.Send(m); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Recv(&reply); err != nil || reply.Failed == nil {
			t.Errorf("%s: %v, %+v", name, err, reply)
		}
		_ = c.Close()
	}
	// Descriptors that nobody asked for are closed again.
	flood := h.raw()
	files := make([]*os.File, 100)
	for i := range files {
		files[i] = s.netns
	}
	for range 3 {
		if err := flood.Send(&slirp.Request{Hello: &slirp.Hello{}}, files...); err != nil {
			t.Fatal(err)
		}
		if _, err := flood.Recv(&reply); err != nil {
			t.Fatal(err)
		}
	}
	_ = flood.Close()
	// What is no message ends the conversation.
	for _, text := range []string{"{", "[]", "\x00\xff", strings.Repeat("[", 60000)} {
		c := h.raw()
		if _, err := c.File().Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Recv(&reply); err == nil {
			t.Errorf("%.10q was answered: %+v", text, reply)
		}
		_ = c.Close()
	}
	// A second attach over one connection.
	c, _ := s.mustAttach(slirp.Attach{})
	if _, _, err := c.Attach(slirp.Attach{ID: "x", PID: s.pid}, s.netns, s.userns, nil); !errors.Is(err, unix.EPROTO) {
		t.Error("second attach: ", err)
	}
	c.Close()
	h.eventually("its descriptors are closed", func() bool { return openFiles(t, pid) <= before+4 })
	if h.keeperPID() != pid {
		t.Error("the keeper did not survive")
	}
}

// The sandbox of these tests is in the host's PID namespace, its root has the
// user's uid and every capability in the sandbox, CAP_SYS_PTRACE included.
func TestSandboxCannotReachTheKeeper(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	s.mustAttach(slirp.Attach{})
	for _, pid := range append(h.children("slirp4netns"), h.keeperPID()) {
		for _, name := range []string{"mem", "ns/user", "ns/mnt", "root", "fd/0", "environ"} {
			if _, err := s.do("open", "", fmt.Sprintf("/proc/%d/%s", pid, name)); err == nil {
				t.Errorf("/proc/%d/%s opens from inside", pid, name)
			}
		}
	}
}

// openFiles counts the descriptors of a process; 0 where that may not be seen.
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return 0
	}
	return len(entries)
}

func TestKeeperHoldsNothingOfItsStarter(t *testing.T) {
	h := newHost(t)
	c := h.mustStart()
	defer c.Close()
	pid := h.keeperPID()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Umask:\t0077", "Name:\trc-net\n"} {
		if !bytes.Contains(status, []byte(want)) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	if sid, err := unix.Getsid(pid); err != nil || sid != pid {
		t.Errorf("session %d of %d, %v", sid, pid, err)
	}
	if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && string(data) != "rc-net\x00keep\x00" {
		t.Errorf("arguments %q", data)
	}
}

func TestManyStartersOneKeeper(t *testing.T) {
	h := newHost(t)
	var wg sync.WaitGroup
	pids := make(chan int, 10)
	for range cap(pids) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c, err := h.start()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			w, u0, err := c.Hello()
			if err != nil {
				t.Error(err)
				return
			}
			_ = u0.Close()
			pids <- w.PID
		}()
	}
	wg.Wait()
	close(pids)
	first := 0
	for pid := range pids {
		if first == 0 {
			first = pid
		}
		if pid != first {
			t.Errorf("keepers %d and %d", first, pid)
		}
	}
}

func TestKeeperLeavesWhenNobodyIsConnected(t *testing.T) {
	h := newHost(t)
	c := h.mustStart()
	pid := h.keeperPID()
	c.Close()
	h.eventually("the keeper left", func() bool { return !alive(pid) })
	entries, err := os.ReadDir(h.runtime)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != slirp.LockName {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if _, err := slirp.Dial(h.runtime); !errors.Is(err, slirp.ErrNoKeeper) {
		t.Error(err)
	}
	again := h.mustStart()
	again.Close()
}
