package engine

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// Renderer is a running `rc-image format`: it executes a Go template for each
// value and prints to our stdout. text/template is not linked into rc itself,
// where it would cost every start (tests/layers).
type Renderer struct {
	pipe *os.File
	w    *bufio.Writer
	proc *userns.Process
}

// Render starts it. args are the flags and the template (cmd/rc-image/format.go).
// It stays outside of the user's namespace and gets nothing but the values.
func (e *Engine) Render(args []string) (*Renderer, error) {
	path, err := e.program("rc-image")
	if err != nil {
		return nil, err
	}
	in, pipe, err := os.Pipe()
	if err != nil {
		return nil, hint.New("start the template program", err, "")
	}
	defer in.Close()
	proc, err := userns.Start(&userns.Program{
		Path: path, Args: append([]string{"rc-image", "format"}, args...),
		Env: os.Environ(), Dir: "/", Stdin: in, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	if err != nil {
		_ = pipe.Close()
		return nil, err
	}
	return &Renderer{pipe, bufio.NewWriterSize(pipe, 64<<10), proc}, nil
}

// Print hands one JSON value over. It is printed at the latest at Flush.
func (r *Renderer) Print(value []byte) error {
	_, _ = r.w.Write(value) // bufio keeps the first error, and Flush tells it
	_, err := r.w.Write([]byte{'\n'})
	return ended(err)
}

// Raw has a text printed as it is, in order with the values.
func (r *Renderer) Raw(text string) error {
	b, err := json.Marshal(text)
	if err != nil {
		return err
	}
	return r.Print(b)
}

// Flush has everything printed so far; a table ends, and the next begins.
func (r *Renderer) Flush() error {
	_, _ = r.w.Write([]byte{'\n'})
	return ended(r.w.Flush())
}

// errStopped says that the program has left: Close knows why.
var errStopped = errors.New("the template program ended early")

func ended(err error) error {
	if errors.Is(err, unix.EPIPE) {
		return errStopped
	}
	return err
}

// Close waits until everything is printed. What the program refused has been
// printed (Reported), and its exit code is the error's.
func (r *Renderer) Close() error {
	_ = r.w.Flush()
	_ = r.pipe.Close()
	ws, err := r.proc.Wait()
	_ = r.proc.Close()
	switch {
	case err != nil:
		return err
	case ws.Signaled():
		return &hint.Error{Err: errReported, Code: 128 + int(ws.Signal())}
	case ws.ExitStatus() != 0:
		return &hint.Error{Err: errReported, Code: ws.ExitStatus()}
	}
	return nil
}
