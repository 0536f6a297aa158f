package guest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// monitor is a connection to QEMU's QMP (qemu-qmp-ref(7)): lines of JSON, one
// command at a time, each answered by one "return" or "error" with events between.
type monitor struct {
	conn net.Conn
	from *json.Decoder
}

// qmpFD is where QEMU finds its end: the first of exec.Cmd's ExtraFiles.
const qmpFD = "3"

// newMonitor returns our end, and QEMU's for its ExtraFiles. No name in any file
// system: nobody else can connect, and nothing is left over.
func newMonitor() (*monitor, *os.File, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("a socket for QEMU's monitor: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "qmp"), os.NewFile(uintptr(pair[1]), "qmp")
	defer ours.Close() // FileConn has a copy
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, nil, errors.Join(err, theirs.Close())
	}
	return &monitor{conn: conn, from: json.NewDecoder(conn)}, theirs, nil
}

// message is anything that QEMU sends: a greeting and events leave both empty.
type message struct {
	Return json.RawMessage
	Error  *struct{ Desc string }
}

// do gives a command and stores its answer in result unless that is nil.
func (q *monitor) do(ctx context.Context, command string, arguments, result any) error {
	end, _ := ctx.Deadline() // none is the zero time: no deadline
	if err := q.conn.SetDeadline(end); err != nil {
		return err
	}
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, arguments})
	if err != nil {
		return err
	}
	if _, err := q.conn.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("QEMU: %s: %w", command, err)
	}
	for {
		var m message
		if err := q.from.Decode(&m); err != nil {
			return fmt.Errorf("QEMU: %s: %w", command, err)
		}
		if m.Error != nil {
			return fmt.Errorf("QEMU: %s: %s", command, m.Error.Desc)
		}
		if m.Return != nil {
			if result == nil {
				return nil
			}
			return json.Unmarshal(m.Return, result)
		}
	}
}

// prepareMigration is what both sides of a snapshot do first. x-ignore-shared
// leaves the guest's memory out of the stream: it is in a file already.
func (q *monitor) prepareMigration(ctx context.Context) error {
	type capability struct {
		Capability string `json:"capability"`
		State      bool   `json:"state"`
	}
	if err := q.do(ctx, "qmp_capabilities", nil, nil); err != nil {
		return err
	}
	return q.do(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []capability{{"x-ignore-shared", true}},
	}, nil)
}

// migrated waits for the end of a migration, out or in.
func (q *monitor) migrated(ctx context.Context) error {
	for {
		var now struct {
			Status string
			Desc   string `json:"error-desc"`
		}
		if err := q.do(ctx, "query-migrate", nil, &now); err != nil {
			return err
		}
		switch now.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("QEMU: migration %s: %s", now.Status, now.Desc)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
