package slirp

import (
	"errors"
	"syscall"

	"github.com/rc-containers/rc/internal/hint"
)

// Start is the first message of rc to a keeper that it has just started.
type Start struct {
	Runtime string // absolute path of the runtime folder
	Version string // of rc; the keeper refuses another's
	Path    string // rc's PATH, to find slirp4netns and nft in
}

// Request is a message to the keeper: exactly one field is set.
type Request struct {
	Hello  *Hello  `json:",omitempty"`
	Attach *Attach `json:",omitempty"`
}

// Reply is a message of the keeper: exactly one field is set.
type Reply struct {
	Ready    bool      `json:",omitempty"`
	Welcome  *Welcome  `json:",omitempty"`
	Attached *Attached `json:",omitempty"`
	Failed   *Failure  `json:",omitempty"`
}

// Failure is a refusal that crosses the socket as a value: errors.Is on an
// errno and the exit code hold on the other side.
type Failure struct {
	Op    string
	Text  string
	Errno int    `json:",omitempty"`
	Fix   string `json:",omitempty"`
	Code  int    `json:",omitempty"`
}

// FailureOf packs an error.
func FailureOf(err error) *Failure {
	f := &Failure{Op: "attach the network", Text: err.Error(), Code: hint.ExitCode(err)}
	var h *hint.Error
	if errors.As(err, &h) {
		f.Op, f.Text, f.Fix = h.Op, h.Err.Error(), h.Fix
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		f.Errno = int(errno)
	}
	return f
}

// Err unpacks a refusal.
func (f *Failure) Err() *hint.Error {
	return &hint.Error{Op: f.Op, Err: &remoteError{f.Text, syscall.Errno(f.Errno)}, Fix: f.Fix, Code: f.Code}
}

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
