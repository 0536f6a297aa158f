package engine

import (
	"os"
	"path/filepath"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// maxMeasured is how many paths one helper is asked about: its answer is one
// packet of 64 KiB.
const maxMeasured = 2000

// TreeSizes is the size in bytes of each folder (see fuse.Size), all of them below
// the state root: ourselves where we may read, else through a helper in U0. A
// folder that does not exist has none.
func (e *Engine) TreeSizes(paths []string) ([]int64, error) {
	out := make([]int64, len(paths))
	var closed []int
	for i, p := range paths {
		dir, err := os.Open(filepath.Dir(p))
		if err != nil {
			continue
		}
		out[i], err = fuse.Size(int(dir.Fd()), filepath.Base(p))
		_ = dir.Close()
		if err != nil {
			closed = append(closed, i)
		}
	}
	for len(closed) > 0 {
		some := closed[:min(len(closed), maxMeasured)]
		closed = closed[len(some):]
		if err := e.measure(paths, some, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// measure asks the helper about some of the paths.
func (e *Engine) measure(paths []string, some []int, out []int64) error {
	const op = "measure folders of subordinate ids"
	c := start.MeasureConfig{Root: e.Store.Root}
	for _, i := range some {
		rel, err := filepath.Rel(e.Store.Root, paths[i])
		if err != nil {
			return err
		}
		c.Paths = append(c.Paths, rel)
	}
	h, err := e.enter()
	if err != nil {
		return err
	}
	conn, proc, err := e.converse(h, "rc-measure", &c, nil, &userns.Program{})
	if err != nil {
		return err
	}
	defer conn.Close()
	defer proc.Close()
	var r start.MeasureReply
	files, err := conn.Recv(&r)
	stage.CloseFiles(files)
	_, _ = proc.Wait()
	switch {
	case err != nil:
		return hint.New(op, err, "")
	case r.Fail != nil:
		return r.Fail.Error()
	case len(r.Bytes) != len(some):
		return hint.Newf(op, "", "%d answers to %d questions", len(r.Bytes), len(some))
	}
	for k, i := range some {
		out[i] = r.Bytes[k]
	}
	return nil
}
