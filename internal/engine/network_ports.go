package engine

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

// republish takes published ports away and adds others, all of it or nothing: at once
// where the container runs, and for its later starts. A port of the host that is in both
// lists goes to its new service without being free in between. Those to be taken away are named as -p names them;
// a container's port alone means all of the host's that lead to it.
func (e *Engine) republish(entry *Entry, op string, remove, add []slirp.Port) error {
	if !spec.NamespaceKind(entry.Network).Kept() {
		return hint.Newf(op, "publish the ports of the container whose network it is on, or make it again with a network of its own",
			"its network is %s, and has no ports to publish", entry.Network).WithCode(1)
	}
	var gone []slirp.Port
	return e.alter(entry, op, func(c *record.Container) (*slirp.Change, error) {
		for _, want := range remove {
			found := false
			for _, p := range c.Ports {
				if leads(p, want) && !slices.Contains(gone, p) {
					gone = append(gone, p)
				}
				found = found || leads(p, want)
			}
			if !found {
				return nil, hint.Newf("--publish-rm "+strings.TrimPrefix(want.String(), ":"), "see `rc port "+shortID(c.ID)+"`", "no such port is published")
			}
		}
		kept := slices.DeleteFunc(slices.Clone(c.Ports), func(p slirp.Port) bool { return slices.Contains(gone, p) })
		for _, p := range add {
			if p.HostPort != 0 && p.HostPortEnd == 0 && slices.ContainsFunc(kept, func(q slirp.Port) bool {
				return q.HostPort == p.HostPort && q.Proto == p.Proto && q.HostIP == p.HostIP
			}) {
				return nil, hint.Newf("--publish-add "+p.String(), "choose another port of the host, or take that one away: --publish-rm", "it is published already")
			}
		}
		if len(kept)+len(add) > slirp.MaxPorts {
			return nil, hint.Newf("--publish-add", "publish fewer", "a container can have %d ports at most", slirp.MaxPorts)
		}
		return &slirp.Change{Publish: add, Unpublish: gone}, nil
	}, func(c *record.Container, now *slirp.Attached) error {
		c.Ports = slices.DeleteFunc(c.Ports, func(p slirp.Port) bool { return slices.Contains(gone, p) })
		c.Ports = append(c.Ports, add...)
		return e.editConfig(c, now, func(typed []slirp.Port) []slirp.Port { return append(without(typed, gone), add...) })
	})
}

// leads tells whether a published port is what the user named.
func leads(p, want slirp.Port) bool {
	return p.ContainerPort == want.ContainerPort && p.Proto == want.Proto && (want.HostPort == 0 || p.HostPort == want.HostPort) &&
		(want.HostIP == "" || p.HostIP == want.HostIP)
}

// without takes from what was typed that from which the gone ports came: one whose
// port of the host was chosen is not typed with it.
func without(typed, gone []slirp.Port) []slirp.Port {
	typed = slices.Clone(typed)
	for _, g := range gone {
		i := slices.IndexFunc(typed, func(t slirp.Port) bool {
			return t.ContainerPort == g.ContainerPort && t.Proto == g.Proto && t.HostIP == g.HostIP &&
				(t.HostPort == 0 || t.HostPort <= g.HostPort && g.HostPort <= max(t.HostPort, t.HostPortEnd))
		})
		if i >= 0 {
			typed = slices.Delete(typed, i, i+1)
		}
	}
	return typed
}

// editConfig keeps the ports for later starts, and what a running container has now
// in its record. The caller edits the record.
func (e *Engine) editConfig(c *record.Container, now *slirp.Attached, ports func(typed []slirp.Port) []slirp.Port) error {
	if now != nil {
		c.Ports = now.Wanted()
	}
	cfg, err := e.LoadConfig(c.ID)
	if err != nil {
		return err
	}
	cfg.Attach.Ports = ports(cfg.Attach.Ports)
	return e.saveConfig(cfg)
}

// Lost are the ports of a container that runs which somebody else has: see
// slirp.Attached.
func (c *Entry) Lost() []slirp.LostPort {
	if !c.Alive || c.State.Net == nil {
		return nil
	}
	return c.State.Net.Lost
}

// Published are the ports of the container's record without the lost ones.
func (c *Entry) Published() []slirp.Port {
	lost := c.Lost()
	return slices.DeleteFunc(slices.Clone(c.Ports), func(p slirp.Port) bool {
		return slices.ContainsFunc(lost, func(l slirp.LostPort) bool { return l.Port == p })
	})
}

// saveConfig replaces config.json.
func (e *Engine) saveConfig(cfg *start.Config) error {
	data, err := stage.Encode(cfg)
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(e.Store.ContainerDir(cfg.ID), "config.json"), data, 0o600, atomicfile.Fast)
}
