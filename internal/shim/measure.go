package shim

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Measure runs as rc-measure, in U0 because folders of subordinate ids can be read
// only there.
func Measure(conv *stage.Conn) int {
	var c start.MeasureConfig
	var r start.MeasureReply
	err := sealedConfig(conv, &c)
	if err == nil {
		r.Bytes, err = measure(&c)
	}
	if err != nil {
		r = start.MeasureReply{Fail: start.Fail(err)}
	}
	_ = conv.Send(&r)
	if err != nil {
		return hint.ExitCode(err)
	}
	return 0
}

func measure(c *start.MeasureConfig) ([]int64, error) {
	out := make([]int64, len(c.Paths))
	for i, p := range c.Paths {
		if !filepath.IsLocal(p) {
			return nil, fmt.Errorf("refuse to measure %q", p)
		}
		dir, err := os.Open(filepath.Join(c.Root, filepath.Dir(p)))
		if err != nil {
			continue // removed meanwhile
		}
		out[i], _ = fuse.Size(int(dir.Fd()), filepath.Base(p)) // what even root of U0 may not read is nobody's to count
		_ = dir.Close()
	}
	return out, nil
}
