package stage

import (
	"errors"
	"strings"
	"syscall"

	"github.com/rc-containers/rc/internal/hint"
)

// Failure is a refusal that crosses a socket as a value: errors.Is on the errno
// below it, and the exit code, hold on the other side.
type Failure struct {
	Op    string
	Text  string
	Errno int    `json:",omitempty"`
	Fix   string `json:",omitempty"`
	Code  int    `json:",omitempty"`
}

// remoteError keeps the text of a refusal and the errno below it.
type remoteError struct {
	text  string
	errno syscall.Errno
}

func (e *remoteError) Error() string { return e.text }

func (e *remoteError) Unwrap() error {
	if e.errno == 0 {
		return nil
	}
	return e.errno
}

// Fail packs an error.
func Fail(err error) *Failure {
	f := &Failure{Text: err.Error(), Code: hint.ExitCode(err)}
	var h *hint.Error
	// Only what the refusal itself says is split; text wrapped around it stays whole.
	if errors.As(err, &h) && h.Error() == err.Error() {
		f.Op, f.Text, f.Fix = h.Op, h.Err.Error(), h.Fix
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		f.Errno = int(errno)
	}
	f.Op, f.Text, f.Fix = clip(f.Op), clip(f.Text), clip(f.Fix)
	return f
}

// maxText bounds each text of a Failure, in bytes: three of them, each byte
// escaped by JSON to six, stay below MaxPacket.
const maxText = 3 << 10

// clip shortens a text from a hostile source (a command of an image, a file's
// name), so that the refusal itself still arrives.
func clip(s string) string {
	if len(s) <= maxText {
		return s
	}
	return strings.ToValidUTF8(s[:maxText], "") + "…"
}

// Error unpacks a refusal.
func (f *Failure) Error() error {
	return &hint.Error{Op: f.Op, Err: &remoteError{f.Text, syscall.Errno(f.Errno)}, Fix: f.Fix, Code: f.Code}
}
