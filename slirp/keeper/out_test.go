package keeper

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/bridge"
)

// withoutRelay makes the keeper of a runtime folder with a file "norelay" one on a kernel
// that cannot relay.
func withoutRelay(w *bridge.World, ipv6 bool) (*bridge.Out, error) {
	if _, err := os.Lstat(filepath.Join(filepath.Dir(os.Getenv("PATH")), "norelay")); err == nil {
		return nil, unix.EOPNOTSUPP
	}
	return w.OpenOut(ipv6)
}

// outward serves on the host's own address.
func outward(t *testing.T, f func(addr string) error, port string) string {
	t.Helper()
	addr, err := slirp.HostAddress()
	if err != nil {
		t.Skip("this host has no address: ", err)
	}
	at := addr.String() + ":" + port
	must(t, f(at))
	return at
}

// The relay carries TCP, not slirp4netns: that one's death is not noticed by it.
func TestOutgoingIsRelayed(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	_, got := s.mustAttach(on("web", 0))
	if got.Outgoing != slirp.OutRelay {
		t.Skip("this kernel has no relay: ", got.Outgoing)
	}
	at := outward(t, echo, "19471")
	s.must("call", "tcp", at)
	before := h.children("slirp4netns")
	if len(before) != 1 {
		t.Fatal(before)
	}
	mustDo(t, unix.Kill(before[0], unix.SIGKILL))
	h.eventually("there is another slirp4netns", func() bool {
		now := h.children("slirp4netns")
		return len(now) == 1 && now[0] != before[0]
	})
	if text := s.must("talk", "", "still here"); text != "still here" {
		t.Errorf("%q", text)
	}
	s.must("call", "tcp", at)
	s.must("talk", "", "and again")
}

// With the keeper its connections end by a reset, not as if all had been said, and there
// are new ones as soon as there is a new keeper. What listened and routed for the first
// is there again.
func TestOutgoingAfterTheKeeperDied(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, got := s.mustAttach(on("web", 0))
	if got.Outgoing != slirp.OutRelay {
		t.Skip("this kernel has no relay: ", got.Outgoing)
	}
	at := outward(t, echo, "19472")
	for range 3 {
		s.must("call", "tcp", at)
		s.must("talk", "", "hello")
		birth := h.killed(s)
		c.Wait()
		if text, err := s.do("talk", "", "anybody"); err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("with the keeper gone: %q, %v", text, err)
		}
		n, err := slirp.StartKeeper(h.runtime, birth)
		must(t, err)
		defer n.Close()
		c, got = s.mustAttach(on("web", 0))
		if got.Outgoing != slirp.OutRelay {
			t.Errorf("the next keeper: %q", got.Outgoing)
		}
	}
}

// Where the kernel cannot, slirp4netns does it, and it is said why.
func TestOutgoingWithoutARelay(t *testing.T) {
	h := newHost(t)
	must(t, os.WriteFile(filepath.Join(h.runtime, "norelay"), nil, 0o600))
	s := h.sandbox()
	_, got := s.mustAttach(on("web", 0))
	if !strings.HasPrefix(got.Outgoing, slirp.OutSlirp+" (") || !strings.Contains(got.Outgoing, unix.EOPNOTSUPP.Error()) {
		t.Errorf("it says %q", got.Outgoing)
	}
	at := outward(t, echo, "19473")
	s.must("call", "tcp", at)
	s.must("talk", "", "by slirp4netns")
	closed := on("closed", 1)
	closed.Endpoints[0].Network.Internal = true
	if _, got := h.sandbox().mustAttach(closed); got.Outgoing != "" {
		t.Errorf("an internal network goes out by %q", got.Outgoing)
	}
}
