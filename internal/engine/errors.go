package engine

import (
	"errors"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// diskFix is what to type where a file could not be written.
func diskFix(err error) string {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return "free some disk space: rc images, rc rmi, rc ps -a, rc rm"
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return "name a folder that you can write to: rc --root DIR ..."
	}
	return ""
}

// rootCause drops the path that os puts before an errno: the refusal names it.
func rootCause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// reason and fixOf take a refusal apart, to say it of something else.
func reason(err error) error {
	var h *hint.Error
	if errors.As(err, &h) {
		return h.Err
	}
	return err
}

func fixOf(err error) string {
	var h *hint.Error
	if errors.As(err, &h) {
		return h.Fix
	}
	return ""
}
