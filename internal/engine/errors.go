package engine

import (
	"errors"

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

// deleteFix is what to type where a container's record cannot be read; nothing of that
// where the host or the caller lacks something: the record may be whole.
func deleteFix(err error, what, ref string) string {
	for _, errno := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EINTR, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		if errors.Is(err, errno) {
			return diskFix(err)
		}
	}
	return "to delete " + what + " all the same: rc rm -f " + ref
}

// fixOf is what a refusal says to type, beside hint.Reason, to say both of something else.
func fixOf(err error) string {
	var h *hint.Error
	if errors.As(err, &h) {
		return h.Fix
	}
	return ""
}
