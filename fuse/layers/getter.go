package layers

import (
	"io"
	"os"

	graphdriver "github.com/containers/storage/drivers"
	"golang.org/x/sys/unix"
)

// getter reads the files of a layer for a push. The library's own getter joins
// strings: a layer with the link `a -> /home/me/.ssh` and the file `a/id` would
// have it read a file of the host into the upload. RESOLVE_IN_ROOT (Linux 5.6)
// resolves links as the unpacking did, with the layer's folder as the root.
type getter struct{ root *os.File }

// DiffGetter opens a layer's folder for reading.
func (d *driver) DiffGetter(id string) (graphdriver.FileGetCloser, error) {
	root, err := os.Open(d.dir(id))
	if err != nil {
		return nil, err
	}
	return &getter{root: root}, nil
}

func (g *getter) Get(name string) (io.ReadCloser, error) {
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(g.root.Fd()), name, &how)
		if err == unix.EINTR || err == unix.EAGAIN {
			continue // EAGAIN: a rename ran beside us, openat2(2)
		}
		if err != nil {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

func (g *getter) Close() error { return g.root.Close() }
