package hint

import (
	"errors"
	"io/fs"
	"syscall"
)

// Cause drops the call and the path that os puts before an errno, where the refusal
// names them itself. An error without them stays as it is, as below.
func Cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// Errno is Cause that drops whatever else stands around the errno, too.
func Errno(err error) error {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// Reason is what a refusal says, without what was tried and what to type, to say it of
// something else.
func Reason(err error) error {
	var h *Error
	if errors.As(err, &h) {
		return h.Err
	}
	return err
}
