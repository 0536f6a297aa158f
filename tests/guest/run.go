package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// Result is what a command left.
type Result struct {
	Stdout, Stderr string
	Code           int   // its exit code; 128+n after signal n
	Err            error // why it has no exit code: ErrPower, a context's end
}

// Streams are a command's. Nil ones are empty or dropped. Bytes are written as
// they arrive, from one goroutine.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// running is a command on its way.
type running struct {
	on      *machine
	streams Streams

	once   sync.Once
	ended  chan struct{}
	result wire.Result
	err    error
}

// Run runs a line for bash as User, Root, Plain or a Login and returns what came of it.
func (g *Guest) Run(ctx context.Context, user, line string) Result {
	var out, errs bytes.Buffer
	begin := time.Now()
	code, err := g.stream(ctx, user, line, Streams{Stdout: &out, Stderr: &errs})
	r := Result{Stdout: out.String(), Stderr: errs.String(), Code: code, Err: err}
	g.remember(done{user, line, begin, time.Since(begin), r})
	return r
}

// Stream is Run with the caller's streams. It returns when the command ended and
// its output is written, when the guest lost power, or, having killed the
// command's process group, when ctx is over.
func (g *Guest) Stream(ctx context.Context, user, line string, s Streams) (code int, err error) {
	begin := time.Now()
	code, err = g.stream(ctx, user, line, s)
	g.remember(done{user, line, begin, time.Since(begin), Result{Code: code, Err: err}})
	return code, err
}

func (g *Guest) stream(ctx context.Context, user, line string, s Streams) (code int, err error) {
	r, id, err := g.begin(user, line, s)
	if err != nil {
		return -1, err
	}
	if s.Stdin != nil {
		go feed(s.Stdin, r.on.in, id)
	} else if err := r.on.in.Write(wire.Frame{Kind: wire.EOF, ID: id}); err != nil {
		return -1, fmt.Errorf("%w: %w", ErrPower, err)
	}
	select {
	case <-r.ended:
	case <-ctx.Done():
		// A guest that lost power in this moment has no command to kill.
		_ = r.on.in.Write(wire.Frame{Kind: wire.Kill, ID: id})
		g.mu.Lock()
		delete(g.running, id)
		g.mu.Unlock()
		return -1, fmt.Errorf("%q in the guest: %w", line, ctx.Err())
	}
	if r.err == nil && r.result.Why != "" {
		return -1, fmt.Errorf("%q in the guest: %s", line, r.result.Why)
	}
	return r.result.Code, r.err
}

func (g *Guest) begin(user, line string, s Streams) (*running, uint32, error) {
	body, err := json.Marshal(wire.Command{User: user, Line: line})
	if err != nil {
		return nil, 0, err
	}
	g.mu.Lock()
	m := g.machine
	if m == nil {
		g.mu.Unlock()
		return nil, 0, ErrPower
	}
	g.next++
	id := g.next
	r := &running{on: m, streams: s, ended: make(chan struct{})}
	g.running[id] = r
	g.mu.Unlock()
	if err := m.in.Write(wire.Frame{Kind: wire.Run, ID: id, Body: body}); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrPower, err)
	}
	return r, id, nil
}

// feed sends a command its input. An error is the guest's end, which the command's
// own end reports.
func feed(from io.Reader, to *wire.Writer, id uint32) {
	_, _ = io.Copy(wire.Stream{To: to, Kind: wire.Input, ID: id}, from)
	_ = to.Write(wire.Frame{Kind: wire.EOF, ID: id})
}

// take handles a frame of this command's.
func (r *running) take(f wire.Frame) {
	var to io.Writer
	switch f.Kind {
	case wire.Output:
		to = r.streams.Stdout
	case wire.Errors:
		to = r.streams.Stderr
	case wire.Exit:
		var result wire.Result
		err := json.Unmarshal(f.Body, &result)
		r.end(result, err)
	}
	if to != nil {
		// A caller's writer that fails loses output, as a closed pipe would.
		_, _ = to.Write(f.Body)
	}
}

func (r *running) end(result wire.Result, err error) {
	r.once.Do(func() {
		r.result, r.err = result, err
		close(r.ended)
	})
}
