package shim

import (
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Probe runs as rc-probe, in U0 because only root there may mount.
func Probe(conv *stage.Conn) int {
	var c start.ProbeConfig
	var r start.ProbeReply
	err := sealedConfig(conv, &c)
	if err == nil {
		r.Findings = fuse.Probe(c.Dir)
	} else {
		r.Fail = start.Fail(err)
	}
	_ = conv.Send(&r)
	if err != nil {
		return hint.ExitCode(err)
	}
	return 0
}
