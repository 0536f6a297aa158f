package shim

import (
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Nobody joins a container that is being made: before init has changed its root,
// its mount namespace is a copy of the host's.
func TestNothingIsLentBeforeTheStart(t *testing.T) {
	c := newContainer(t, "cat")
	c.cfg.Inside.Stdin = true
	if m := c.create(); m.Kind != start.KindCreated {
		t.Fatalf("%+v %v", m, m.Fail)
	}
	path, err := c.store.ControlPath(testID)
	must(t, err)
	ask := func() error {
		_, files, err := control.Ask(path, control.Request{Op: control.OpNamespaces}, 5*time.Second)
		stage.CloseFiles(files)
		return err
	}
	if ask() == nil {
		t.Error("its namespaces are lent before it runs")
	}
	must(t, c.conn.Send(&start.Message{Kind: start.KindStart}))
	c.want(start.KindStarted)
	if err := ask(); err != nil {
		t.Error(err)
	}
	_ = c.in.Close()
	c.want(start.KindExited)
	c.ended()
}
