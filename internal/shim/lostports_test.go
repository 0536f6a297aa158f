package shim

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// Only one who was attached before is content with less than everything.
func TestAttachAgainSaysSo(t *testing.T) {
	k := newFakeKeeper(t)
	n := &network{runtime: k.dir, attach: bridged("one")}
	_, err := n.up()
	must(t, err)
	defer n.down()
	if first := <-k.asked; first.Attach.Again {
		t.Error("a start says that it runs already")
	}
	_ = k.listener.Close()
	_ = (<-k.conns).Close()
	k.listen()
	if second := <-k.asked; !second.Attach.Again {
		t.Error("who runs does not say so")
	}
}

// A lost port is asked for until it is there, is told in the events, and is part of
// what the next keeper is asked for.
func TestLostPortIsAskedForAgain(t *testing.T) {
	before := regainPauses
	defer func() { regainPauses = before }()
	regainPauses = []time.Duration{time.Millisecond}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "hosts"), nil, 0o644))
	port := slirp.Port{HostPort: 18081, ContainerPort: 81, Proto: "tcp"}
	lost := attached("10.91.0.2")
	lost.Lost = []slirp.LostPort{{Port: port, Why: "somebody has it"}}
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer theirs.Close()
	asked := make(chan int, 1)
	go func() {
		for n := 1; ; n++ {
			var r slirp.Request
			if _, err := theirs.Recv(&r); err != nil {
				return
			}
			if n < 3 {
				_ = theirs.Send(&slirp.Reply{Failed: stage.Fail(hint.New("publish", unix.EADDRINUSE, ""))})
				continue
			}
			got := attached("10.91.0.2")
			got.Ports = append(got.Ports, r.Change.Publish...)
			_ = theirs.Send(&slirp.Reply{Attached: got})
			asked <- n
		}
	}()
	store := &record.Store{Root: t.TempDir()}
	s := &shim{store: store, known: known{Name: "web"}, cfg: &start.Config{ID: "x", Dir: dir, Spec: &specs.Spec{Hostname: "web"}}}
	s.net = &network{attach: bridged("one"), client: inherit(t, ours)}
	s.net.remember(lost)
	if len(s.net.attach.Ports) != 2 {
		t.Errorf("the next keeper is asked for %v", s.net.attach.Ports)
	}
	s.networkIs(lost)
	if _, park := s.parkLimit(); park {
		t.Error("it sleeps and asks nobody")
	}
	select {
	case <-asked:
	case <-time.After(5 * time.Second):
		t.Fatal("nobody asked")
	}
	for end := time.Now().Add(5 * time.Second); len(s.lost()) > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the port still counts as lost")
		}
	}
	first, second := "", ""
	for end := time.Now().Add(5 * time.Second); second == "" && time.Now().Before(end); time.Sleep(time.Millisecond) {
		text, err := os.ReadFile(store.EventsPath())
		must(t, err)
		first, second, _ = strings.Cut(string(text), "\n")
	}
	if !strings.Contains(first, `"unpublish: 18081:81/tcp"`) || !strings.Contains(first, "somebody has it") || !strings.Contains(second, `"publish: 18081:81/tcp"`) {
		t.Errorf("events: %s, then %s", first, second)
	}
	if st := s.snapshot(); len(st.Net.Ports) != 2 || errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%+v", st.Net)
	}
}

// inherit makes a client of one end of a conversation.
func inherit(t *testing.T, c *stage.Conn) *slirp.Client {
	t.Helper()
	fd, err := duplicate(c.File())
	must(t, err)
	_ = c.Close()
	client := slirp.Inherit(fd)
	t.Cleanup(client.Close)
	return client
}

// A keeper of a build that knew no bridges attaches the container, as it thinks, to a
// slirp4netns: where the user named a network that is a refusal.
func TestKeeperWithoutBridges(t *testing.T) {
	dir := t.TempDir()
	l, err := stage.Listen(filepath.Join(dir, slirp.SocketName))
	must(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			var r slirp.Request
			if files, err := c.Recv(&r); err == nil {
				stage.CloseFiles(files)
				_ = c.Send(&slirp.Reply{Attached: &slirp.Attached{IP: slirp.Address, DNS: []string{slirp.Resolver}}})
			}
		}
	}()
	n := &network{runtime: dir, attach: bridged("one")}
	var h *hint.Error
	if _, err := n.up(); !errors.As(err, &h) || !strings.Contains(err.Error(), "before bridge networks") || !strings.Contains(h.Fix, "pkill -u $USER -x rc-net") {
		t.Errorf("%v", err)
	}
	n = &network{runtime: dir, attach: bridged("bridge")}
	n.attach.Fallback = true // nobody named it
	got, err := n.up()
	if err != nil || got.IP != slirp.Address {
		t.Errorf("%+v %v", got, err)
	}
	n.down()
}
