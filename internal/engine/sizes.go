package engine

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Written says how many bytes each of the containers wrote to its root file
// system, by id. One that has none of its own (--rootfs) is left out.
func (e *Engine) Written(list []Entry) (map[string]int64, error) {
	sizes := map[string]int64{}
	var foreign []string
	for i := range list {
		dir := filepath.Join(e.Store.ContainerDir(list[i].ID), "upper")
		n, err := record.TreeSize(dir)
		switch {
		case err == nil:
			sizes[list[i].ID] = n
		case errors.Is(err, fs.ErrPermission):
			foreign = append(foreign, list[i].ID)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, hint.New("measure container "+shortID(list[i].ID), rootCause(err), "")
		}
	}
	if len(foreign) == 0 {
		return sizes, nil
	}
	return sizes, e.foreignSizes(foreign, sizes)
}

// foreignSizes measures, as root of the user's namespace, what has folders that
// we cannot read ourselves.
func (e *Engine) foreignSizes(ids []string, sizes map[string]int64) error {
	out, in, err := os.Pipe()
	if err != nil {
		return err
	}
	defer out.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var id string
			var n int64
			if _, err := fmt.Sscan(lines.Text(), &id, &n); err == nil {
				sizes[id] = n
			}
		}
	}()
	code, err := e.Image(append([]string{"du"}, ids...), in)
	_ = in.Close()
	<-done
	if err == nil && code != 0 {
		return &hint.Error{Err: errReported, Code: code}
	}
	return err
}
