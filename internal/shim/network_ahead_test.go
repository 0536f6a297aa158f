package shim

import (
	"os"
	"testing"

	"github.com/rc-containers/rc/slirp"
)

// TestAskedAhead: what was asked before anybody waited is answered once, and the
// connection that was made for it is the container's.
func TestAskedAhead(t *testing.T) {
	k := newFakeKeeper(t)
	early, err := slirp.Dial(k.dir)
	must(t, err)
	n := &network{runtime: k.dir, attach: bridged("one")}
	n.attach.PID = os.Getpid()
	n.askAhead(early)
	if r := <-k.asked; r.Attach == nil || <-k.files != 2 {
		t.Fatalf("asked %+v", r)
	}
	got, err := n.up()
	must(t, err)
	defer n.down()
	if got.IP != "10.91.0.2" || n.client != early || n.n0 == nil || len(k.asked) != 0 {
		t.Errorf("%+v by another connection: %v, asked again: %d", got, n.client != early, len(k.asked))
	}
}

// TestAskedOneThatEnded: a keeper that ends between the knock and the answer, or that
// was tired of waiting for the request, costs one more connection.
func TestAskedOneThatEnded(t *testing.T) {
	k := newFakeKeeper(t)
	for _, late := range []bool{false, true} {
		early, err := slirp.Dial(k.dir)
		must(t, err)
		theirs := <-k.conns
		n := &network{runtime: k.dir, attach: bridged("one")}
		n.attach.PID = os.Getpid()
		if late {
			n.askAhead(early)
			<-k.asked
			<-k.files
		} else {
			_ = theirs.Close()
			n.askAhead(early)
		}
		_ = theirs.Close()
		got, err := n.up()
		must(t, err)
		if got.IP != "10.91.0.2" {
			t.Errorf("late %v: %+v", late, got)
		}
		n.down()
		for len(k.asked) > 0 {
			<-k.asked
		}
		for len(k.files) > 0 {
			<-k.files
		}
		for len(k.conns) > 0 {
			<-k.conns
		}
	}
	n := &network{runtime: t.TempDir(), attach: bridged("one")}
	n.askAhead(nil)
	if n.asked != nil {
		t.Error("asked nobody, and waits for the answer")
	}
}
