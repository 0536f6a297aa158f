package shim

import (
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// ProbeConfig asks which root file system drivers work in a folder.
type ProbeConfig struct{ Dir string }

// ProbeReply answers it.
type ProbeReply struct {
	Findings []fuse.Finding
	Fail     *start.Failure `json:",omitempty"`
}

// Probe runs as rc-probe, in U0 because only root there may mount.
func Probe(conv *stage.Conn) int {
	var c ProbeConfig
	var r ProbeReply
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
