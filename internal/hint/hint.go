// Package hint carries a refusal to the person who has to act on it: what was
// tried, what the kernel or the server said, and what to type.
//
// Every error that rc prints is one line:
//
//	rc: WHAT WAS TRIED: WHAT WAS SAID; WHAT TO DO
package hint

import (
	"errors"
	"fmt"
)

// Exit codes of `rc run`, which are Docker's
// (docs.docker.com/engine/containers/run/#exit-status).
const (
	ExitRefused     = 125 // rc itself failed, nothing of the image ran
	ExitNotRunnable = 126 // the command was found and cannot be executed
	ExitNotFound    = 127 // the command was not found
)

// Error is a refusal. Op and Err are mandatory; the message is "Op: Err; Fix".
type Error struct {
	Op   string // what was tried, with the object named: `open image "x"`
	Err  error  // what the kernel, the server or the check said
	Fix  string // what to type or to change; "" when nothing is known
	Code int    // exit code; 0 means ExitRefused
}

func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Fix != "" {
		s += "; " + e.Fix
	}
	return s
}

// Unwrap lets errors.Is find the errno below a refusal.
func (e *Error) Unwrap() error { return e.Err }

// New makes a refusal that names its fix.
func New(op string, err error, fix string) *Error {
	return &Error{Op: op, Err: err, Fix: fix}
}

// Newf makes a refusal whose reason is a formatted text.
func Newf(op, fix, format string, args ...any) *Error {
	return &Error{Op: op, Err: fmt.Errorf(format, args...), Fix: fix}
}

// WithCode returns e with the exit code set.
func (e *Error) WithCode(code int) *Error {
	e.Code = code
	return e
}

// ExitCode is the exit code that err asks for; ExitRefused if it names none.
func ExitCode(err error) int {
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return e.Code
	}
	return ExitRefused
}
