package boot

import (
	"errors"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
)

const machineID = "/etc/machine-id"

// prepareMachineID makes an image that was never booted one whose machine-id is to
// be filled in: the file empty. Without the file, or with "uninitialized" in it,
// systemd asks on the console for a time zone before it goes on, and nobody may be
// there to answer; and what it writes then it has to mount, which takes CAP_SYS_ADMIN
// (machine-id(5), "First Boot Semantics"). It takes the id from $container_uuid.
func (b *box) prepareMachineID() error {
	defer trace.Begin("machine id").End()
	if !b.cfg.Inside.System || !b.has("/usr/lib/systemd/systemd") && !b.has("/lib/systemd/systemd") {
		return nil
	}
	f, err := linux.OpenInRoot(int(b.root.Fd()), machineID, unix.O_RDWR|unix.O_CREAT|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o444)
	switch {
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ELOOP), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.EISDIR), errors.Is(err, unix.ENXIO):
		return nil // the image's own arrangement, or a folder of the user's that is read-only
	case err != nil:
		return hint.New("prepare "+machineID, hint.Errno(err), "mount a file there: -v FILE:"+machineID)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil || strings.TrimSpace(string(text)) != "uninitialized" {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return hint.New("prepare "+machineID, hint.Errno(err), "")
	}
	return nil
}
