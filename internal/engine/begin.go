package engine

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/userns"
)

// begin hands everything to the shim and follows the conversation.
func (l *launch) begin(s Streams) (int, error) {
	attached, err := s.open(l)
	if err != nil {
		return 0, err
	}
	lendTrace(l.files)
	conn, proc, err := l.startShim()
	attached.handOver()
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	defer proc.Close()
	if !l.opts.Detach {
		attached.readySignals()
	}
	if err := l.converse(conn, proc); err != nil {
		l.endHalfStarted(err)
		return 0, err
	}
	l.started = true
	l.undo.Release() // the shim owns everything from here
	l.sayReady(proc.PID)
	for _, f := range l.files {
		_ = f.Close()
	}
	if l.opts.Detach {
		l.sayLinger()
		return 0, nil
	}
	if l.e.unit().Main {
		attached.stop = func() { l.e.stopForUnit(l.id, l.notify) }
	}
	code, err := attached.follow(l, conn)
	if err == nil && !attached.left && l.e.unit().Main {
		// It deletes what is in the trash, and systemd kills what outlives the main process.
		_ = proc.PidFD.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = proc.Wait()
	}
	return code, err
}

// converse goes through the messages up to Started.
func (l *launch) converse(conn *stage.Conn, proc *userns.Process) error {
	defer trace.Begin("follow the shim to Started").End()
	// Start waits for us only where there may be something to write down before.
	ahead := len(l.cfg.Attach.Ports) == 0
	if ahead {
		_ = conn.Send(&start.Message{Kind: start.KindStart}) // to nobody: the next answer says so
	}
	m, err := l.expect(conn, start.KindCreated)
	if err != nil {
		return l.whyShimDied(proc, err)
	}
	if m.Note != "" {
		l.e.Warn("the root file system is by " + m.Note)
	}
	for _, line := range m.Said {
		l.e.Warn(line)
	}
	if m.Net != nil && len(m.Net.Ports) > 0 {
		// With the host ports that the keeper chose.
		edit := l.e.Store.EditContainer
		if l.fresh {
			edit = l.e.Store.EditStarting // no wait for the disk on the way to a first start
		}
		err := edit(l.id, func(c *record.Container) error { c.Ports = m.Net.Ports; return nil })
		if err != nil {
			return hint.New("save the container's record", err, diskFix(err))
		}
	}
	if !ahead {
		if err := conn.Send(&start.Message{Kind: start.KindStart}); err != nil {
			return hint.New("start the container", err, "")
		}
	}
	_, err = l.expect(conn, start.KindStarted)
	return err
}

// whyShimDied looks at a shim that broke off. Go's runtime ends with 2 where a
// thread or memory is refused to it, and has nobody to tell.
func (l *launch) whyShimDied(proc *userns.Process, err error) error {
	if !errors.Is(err, errBrokeOff) {
		return err
	}
	_ = proc.PidFD.SetReadDeadline(time.Now().Add(time.Second))
	if ws, werr := proc.Wait(); werr == nil && ws.Exited() && ws.ExitStatus() == 2 {
		return hint.Newf("start the container", "raise them: ulimit -u, ulimit -v", "its shim could not run within your limits of processes or memory")
	}
	return err
}

// endHalfStarted ends the payload of a shim that was killed after it had sent Exec and
// before it could say Started. Who undoes this start is about to forget its pid.
func (l *launch) endHalfStarted(err error) {
	if !errors.Is(err, errBrokeOff) {
		return
	}
	if st, err := l.e.Store.LoadState(l.id); err == nil && st != nil && st.PID > 0 && !shimLives(st) {
		l.e.endOrphan(st)
	}
}

// errBrokeOff is the end of a conversation without a reason given.
var errBrokeOff = errors.New("its shim was killed")

func (l *launch) expect(conn *stage.Conn, want start.Kind) (*start.Message, error) {
	defer trace.Wait(string(want)).End()
	var m start.Message
	files, err := conn.Recv(&m)
	stage.CloseFiles(files)
	switch {
	case err != nil:
		return nil, hint.New("start the container", fmt.Errorf("%w (%w)", errBrokeOff, err), "try again")
	case m.Kind == start.KindFailed && m.Fail != nil:
		l.dropFilter(m.Fail)
		return nil, m.Fail.Error()
	case m.Kind != want:
		return nil, fmt.Errorf("unexpected message %q from the shim", m.Kind)
	}
	return &m, nil
}

// sendConfig gives one of our programs its configuration: a value, or what
// stage.Encode made of it.
func sendConfig(conn *stage.Conn, config any, files map[string]*os.File) error {
	var sealed *os.File
	var err error
	if data, encoded := config.([]byte); encoded {
		sealed, err = stage.SealBytes("rc", data)
	} else {
		sealed, err = stage.Seal("rc", config)
	}
	if err != nil {
		return err
	}
	defer sealed.Close()
	m := &start.Message{Kind: start.KindConfig, Files: []string{"config"}}
	list := []*os.File{sealed}
	for name, f := range files {
		m.Files, list = append(m.Files, name), append(list, f)
	}
	return conn.Send(m, list...)
}
