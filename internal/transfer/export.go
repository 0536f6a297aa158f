package transfer

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Export is `rc export`: the root file system alone, as the container sees it. A
// file appears when it is whole.
func (f *Files) Export() error {
	from := &end{place: f.Config.From}
	op := "export " + from.place.Typed
	fail := func(err error) error {
		if err == nil {
			return nil
		}
		var h *hint.Error
		if errors.As(err, &h) {
			return h.WithCode(exitFailed)
		}
		return hint.New(op, hint.Cause(err), fixSpace(err)).WithCode(exitFailed)
	}
	var err error
	if from.root, err = openRoot(f.Store, from.place, alone); err != nil {
		return fail(err)
	}
	defer from.close()
	dup, err := from.open("/", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return fail(err)
	}
	n, err := nodeOf(dup)
	if err != nil {
		return fail(err)
	}
	defer n.close()
	if f.Config.To.Path == "" {
		return fail(f.archive(from, n, f.Out))
	}
	return fail(writeWhole(f.Config.To.Path, func(out *os.File) error { return f.archive(from, n, out) }))
}

func (f *Files) archive(from *end, n *node, to *os.File) error {
	out := bufio.NewWriterSize(to, 1<<20)
	tw := newTarSink(out, f.note)
	w := f.walkerOf(from, tw)
	w.stay = from.stay
	if err := w.tree(n, "."); err != nil {
		return err
	}
	return errors.Join(tw.close(), out.Flush())
}

// writeWhole writes beside name and renames at the end; what is no regular file (a
// pipe, /dev/null) is written to directly. What a kill
// leaves is hidden and says whose it was.
func writeWhole(name string, write func(*os.File) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".rc-export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename it is another's, and gone
	if err := errors.Join(write(f), f.Chmod(0o600), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
