package keeper

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

func TestAttachGivesAnAddressAndGoesWithTheConnection(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	began := time.Now()
	c, got := s.mustAttach(slirp.Attach{})
	t.Log("first attach", time.Since(began))
	if got.IP != slirp.Address || got.Gateway != slirp.Gateway || got.MTU != slirp.MTU || len(got.DNS) != 1 {
		t.Errorf("attached: %+v", got)
	}
	inside := s.must("interfaces", "", "")
	if !strings.Contains(inside, "tap0 65520 up|broadcast|multicast") || !strings.Contains(inside, "10.0.2.100/24") {
		t.Error(inside)
	}
	if n := h.children("slirp4netns"); len(n) != 1 {
		t.Errorf("slirp4netns processes: %v", n)
	}
	c.Close()
	h.eventually("slirp4netns is gone", func() bool { return len(h.children("slirp4netns")) == 0 })
	h.eventually("the tap is gone", func() bool { return !strings.Contains(s.must("interfaces", "", ""), "tap0") })
	h.eventually("no folder is left", func() bool { return !leftFolders(t, h) })
}

func leftFolders(t *testing.T, h *host) bool {
	entries, err := os.ReadDir(h.runtime)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), folderPrefix) {
			return true
		}
	}
	return false
}

func TestHostLoopbackOnlyWhenAsked(t *testing.T) {
	h := newHost(t)
	const addr = "127.0.0.1:18931"
	if err := serve("tcp4", addr); err != nil {
		t.Fatal(err)
	}
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{})
	if text, err := s.do("dial", "tcp", slirp.Gateway+":18931"); err == nil {
		t.Errorf("the host's loopback answered: %s", text)
	}
	c.Close()
	// The same namespace again, as a shim does after its keeper died.
	s.mustAttach(slirp.Attach{HostLoopback: true})
	if text := s.must("dial", "tcp", slirp.Gateway+":18931"); !strings.HasPrefix(text, "hello 127.0.0.1:") {
		t.Errorf("got %q", text)
	}
}

func TestOutToTheHostsOwnAddress(t *testing.T) {
	h := newHost(t)
	addr, err := slirp.HostAddress()
	if err != nil {
		t.Skip(err)
	}
	target := addr.String() + ":18932"
	if err := serve("tcp4", target); err != nil {
		t.Fatal(err)
	}
	s := h.sandbox()
	s.mustAttach(slirp.Attach{})
	if text := s.must("dial", "tcp", target); !strings.HasPrefix(text, "hello "+addr.String()) {
		t.Errorf("got %q", text)
	}
}

func TestSlirpIsReplacedWhenItDies(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	s.mustAttach(slirp.Attach{Ports: []slirp.Port{{HostIP: "127.0.0.1", HostPort: 18933, ContainerPort: 80, Proto: "tcp"}}})
	s.must("serve", "tcp", ":80")
	for range 3 {
		old := h.children("slirp4netns")
		if len(old) != 1 {
			t.Fatalf("slirp4netns: %v", old)
		}
		if err := unix.Kill(old[0], unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.eventually("there is a new slirp4netns", func() bool {
			now := h.children("slirp4netns")
			return len(now) == 1 && now[0] != old[0] && strings.Contains(s.must("interfaces", "", ""), slirp.Address)
		})
	}
	if text, err := dial("tcp", "127.0.0.1:18933"); err != nil {
		t.Errorf("the port afterwards: %q, %v", text, err)
	}
}

func TestGivenUpWhenSlirpDiesAgainAndAgain(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{})
	lost := make(chan struct{})
	go func() { c.Wait(); close(lost) }()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case <-lost:
			s.mustAttach(slirp.Attach{}) // and a shim can still have it back
			return
		default:
		}
		for _, pid := range h.children("slirp4netns") {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	}
	t.Error("the keeper did not give up")
}

func TestKeeperKilledStartedAttachedAgain(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{Ports: []slirp.Port{{HostIP: "127.0.0.1", HostPort: 18934, ContainerPort: 80, Proto: "tcp"}}})
	s.must("serve", "tcp", ":80")
	slirps, pid := h.children("slirp4netns"), h.keeperPID()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.Wait() // how the shim learns of it
	if h.keeperPID() != 0 {
		t.Error("a dead keeper answers")
	}
	// The new one must be in the same U0: that of the sandbox's parent.
	u0, err := parentOf(s.userns)
	if err != nil {
		t.Fatal(err)
	}
	defer u0.Close()
	began := time.Now()
	n, err := slirp.StartKeeper(h.runtime, h.birth(u0, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s.mustAttach(slirp.Attach{Ports: []slirp.Port{{HostIP: "127.0.0.1", HostPort: 18934, ContainerPort: 80, Proto: "tcp"}}})
	t.Log("keeper and network back after", time.Since(began))
	if text, err := dial("tcp", "127.0.0.1:18934"); err != nil {
		t.Errorf("%q, %v", text, err)
	}
	for _, p := range slirps {
		h.eventually("slirp4netns follows its keeper", func() bool { return !alive(p) })
	}
}

func TestTwentyAtOnce(t *testing.T) {
	h := newHost(t)
	const n = 20
	sandboxes := make([]*sandbox, n)
	for i := range sandboxes {
		sandboxes[i] = h.sandbox()
	}
	errs := make(chan error, n)
	began := time.Now()
	for i, s := range sandboxes {
		go func() {
			_, got, err := s.attach(slirp.Attach{Ports: []slirp.Port{{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}}})
			if err == nil && got.Ports[0].HostPort == 0 {
				err = fmt.Errorf("%d: no port chosen", i)
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	t.Log(n, "attaches took", time.Since(began))
	for i, s := range sandboxes {
		if !strings.Contains(s.must("interfaces", "", ""), slirp.Address) {
			t.Errorf("sandbox %d has no address", i)
		}
	}
	h.stop()
	for _, s := range sandboxes {
		h.eventually("the taps are gone", func() bool { return !strings.Contains(s.must("interfaces", "", ""), "tap0") })
	}
}
