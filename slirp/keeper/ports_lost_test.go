package keeper

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

func hellos(network, addr string) bool {
	text, err := dial(network, addr)
	return err == nil && strings.HasPrefix(text, "hello ")
}

// TestLostPortKeepsNothingElseAway: a container that outlived its keeper gets its other
// ports and its network although somebody took one port meanwhile; a new one is refused.
func TestLostPortKeepsNothingElseAway(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	thief, err := net.Listen("tcp", "127.0.0.1:18991")
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	ports := parse(t, "127.0.0.1:18991:80", "127.0.0.1:18992:80", "127.0.0.1:18993:53/udp")
	if _, _, err := s.attach(slirp.Attach{Ports: ports}); !errors.Is(err, unix.EADDRINUSE) {
		t.Fatalf("a new container: %v", err)
	}
	c, got := s.mustAttach(slirp.Attach{Ports: ports, Again: true})
	if len(got.Ports) != 2 || len(got.Lost) != 1 || got.Lost[0].Port != ports[0] || !strings.Contains(got.Lost[0].Why, "ss -lntp 'sport = :18991'") {
		t.Fatalf("%+v", got)
	}
	if len(got.Wanted()) != 3 {
		t.Errorf("it wants %v", got.Wanted())
	}
	s.must("serve", "tcp", ":80")
	s.must("serve", "udp", ":53")
	if !hellos("tcp", "127.0.0.1:18992") || !hellos("udp", "127.0.0.1:18993") {
		t.Error("the other ports do not answer")
	}
	if _, err := c.Change(slirp.Change{Publish: ports[:1]}); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("asked for too early: %v", err)
	}
	_ = thief.Close()
	got, err = c.Change(slirp.Change{Publish: ports[:1]})
	if err != nil || len(got.Ports) != 3 || len(got.Lost) != 0 || !hellos("tcp", "127.0.0.1:18991") {
		t.Errorf("%+v %v", got, err)
	}
}

// TestLostPortIsTakenAway: nobody waits for a port that is not wanted any more.
func TestLostPortIsTakenAway(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	thief, err := net.ListenPacket("udp", "127.0.0.1:18994")
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	c, got := s.mustAttach(slirp.Attach{Ports: parse(t, "127.0.0.1:18994:53/udp"), Again: true})
	if len(got.Lost) != 1 {
		t.Fatalf("%+v", got)
	}
	if got, err = c.Change(slirp.Change{Unpublish: parse(t, "53/udp")}); err != nil || len(got.Lost)+len(got.Ports) != 0 {
		t.Errorf("%+v %v", got, err)
	}
}

// TestPortGoesToAnotherService in one step: the port of the host is never free, and with
// a refusal everything is as it was.
func TestPortGoesToAnotherService(t *testing.T) {
	h := newHost(t)
	s := h.sandbox()
	c, _ := s.mustAttach(slirp.Attach{Ports: parse(t, "127.0.0.1:18995:80", "127.0.0.1:18995:53/udp", "127.0.0.1:18996:80")})
	s.must("serve", "tcp", ":80")
	s.must("serve", "udp", ":54")
	s.must("echo", "", ":81")
	free, end := make(chan string, 1), make(chan struct{})
	go func() { // a thief who comes at the first moment at which the port is free
		defer close(free)
		for {
			select {
			case <-end:
				return
			default:
			}
			if l, err := net.Listen("tcp", "127.0.0.1:18995"); err == nil {
				_ = l.Close()
				free <- "the port was free"
				return
			}
		}
	}()
	got, err := c.Change(slirp.Change{Publish: parse(t, "127.0.0.1:18995:81", "127.0.0.1:18995:54/udp"), Unpublish: parse(t, "18995:80", "18995:53/udp")})
	close(end)
	if text := <-free; text != "" {
		t.Error(text)
	}
	if err != nil || len(got.Ports) != 3 {
		t.Fatalf("%+v %v", got, err)
	}
	e, err := net.Dial("tcp", "127.0.0.1:18995")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_ = e.SetDeadline(time.Now().Add(3 * time.Second))
	word := make([]byte, 4)
	if _, err := e.Write([]byte("word")); err != nil {
		t.Error(err)
	}
	if n, err := e.Read(word); string(word[:n]) != "word" {
		t.Errorf("the new service: %q %v", word[:n], err)
	}
	if !hellos("udp", "127.0.0.1:18995") || !hellos("tcp", "127.0.0.1:18996") {
		t.Error("not everything answers")
	}
	// 198.51.100.77 is not ours (RFC 5737): nothing of it is done.
	_, err = c.Change(slirp.Change{Publish: parse(t, "0.0.0.0:18996:81", "198.51.100.77:18997:80"), Unpublish: parse(t, "18996:80", "18995:81")})
	if !errors.Is(err, unix.EADDRNOTAVAIL) || !hellos("tcp", "127.0.0.1:18996") {
		t.Errorf("after a refusal: %v", err)
	}
	// An address in the way goes first.
	got, err = c.Change(slirp.Change{Publish: parse(t, "0.0.0.0:18996:80"), Unpublish: parse(t, "18996:80")})
	if err != nil || len(got.Ports) != 3 || !hellos("tcp", "127.0.0.1:18996") {
		t.Errorf("%+v %v", got, err)
	}
}

// TestTakenPortNamesItsRenamedContainer by the name that it has now.
func TestTakenPortNamesItsRenamedContainer(t *testing.T) {
	h := newHost(t)
	web, other := h.sandbox(), h.sandbox()
	c, _ := web.mustAttach(slirp.Attach{Name: "web", Ports: parse(t, "127.0.0.1:18998:80")})
	if _, err := c.Change(slirp.Change{Rename: "shop"}); err != nil {
		t.Fatal(err)
	}
	var e *hint.Error
	if _, _, err := other.attach(slirp.Attach{Ports: parse(t, "127.0.0.1:18998:80")}); !errors.As(err, &e) || !strings.Contains(e.Fix, "container shop publishes it") {
		t.Errorf("%v", err)
	}
	if _, err := c.Change(slirp.Change{Publish: parse(t, "127.0.0.1:18998:81")}); !errors.As(err, &e) || !strings.Contains(e.Fix, "give each of its ports") {
		t.Errorf("its own: %v", err)
	}
}
