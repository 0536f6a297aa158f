package keeper

import (
	"errors"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/slirp/forward"
)

// republish is one change of a container's ports: all of it, or nothing.
type republish struct {
	p     *published
	gone  []opened // to be taken away
	freed []opened // of gone: closed already, because one that is added overlaps it
	moved []opened // of gone: the socket stays and leads elsewhere
	to    []opened // where, one for each of moved
	start int      // of p.open: what is behind was added
}

// change publishes more and fewer ports of a container that runs: all of it or, with an
// error, nothing. It returns what is published then. What is removed is named by its
// container port, and by address and host port as far as they are given. A port of the
// host that is removed and added in one call is never free in between.
func (p *published) change(add, remove []slirp.Port) ([]slirp.Port, error) {
	if p == nil {
		return nil, hint.New("change the published ports", unix.EOPNOTSUPP, "pasta has its ports for the life of the container; a container on a bridge or on slirp4netns can change them")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.open) + len(add) - len(remove); n > slirp.MaxPorts {
		return p.listLocked(), hint.Newf("publish ports", "", "%d ports, %d at most", n, slirp.MaxPorts)
	}
	gone, lost, err := p.match(remove)
	if err != nil {
		return p.listLocked(), err
	}
	r := &republish{p: p, gone: gone, start: len(p.open)}
	for _, want := range add {
		if err := r.add(want); err != nil {
			r.undo()
			return p.listLocked(), err
		}
	}
	r.commit()
	p.lost = slices.DeleteFunc(p.lost, func(l slirp.LostPort) bool { return slices.Contains(lost, l) || slices.Contains(add, l.Port) })
	return p.listLocked(), nil
}

// match finds what is to be removed; each must be there, or be lost.
func (p *published) match(remove []slirp.Port) (gone []opened, lost []slirp.LostPort, err error) {
	for _, r := range remove {
		before := len(gone) + len(lost)
		for _, o := range p.open {
			if slirp.Names(r, o.port) && !slices.Contains(gone, o) {
				gone = append(gone, o)
			}
		}
		for _, l := range p.lost {
			if slirp.Names(r, l.Port) && !slices.Contains(lost, l) {
				lost = append(lost, l)
			}
		}
		if len(gone)+len(lost) == before {
			return nil, nil, hint.New("unpublish port "+r.String()+" of "+p.owner, unix.ENOENT, "see what is published: rc port "+p.owner)
		}
	}
	return gone, lost, nil
}

// add is p.add where something that is to go may be in the way.
func (r *republish) add(want slirp.Port) error {
	err := r.p.add(want)
	if !errors.Is(err, unix.EADDRINUSE) || want.HostPortEnd != 0 {
		return err
	}
	addr, aerr := hostAddr(want)
	if aerr != nil {
		return err
	}
	host := netip.AddrPortFrom(addr, want.HostPort)
	for _, o := range r.gone {
		if o.gate.Proto != want.Proto || o.gate.Host.Port() != want.HostPort || slices.Contains(r.freed, o) || slices.Contains(r.moved, o) {
			continue
		}
		if o.gate.Host == host {
			gate := o.gate
			gate.Inside = want.ContainerPort
			r.moved, r.to = append(r.moved, o), append(r.to, opened{want, gate})
			return nil
		}
		_ = r.p.forward.Stop(o.gate)
		r.freed = append(r.freed, o)
	}
	if len(r.freed) > 0 {
		err = r.p.add(want)
	}
	return err
}

// commit cannot fail.
func (r *republish) commit() {
	p := r.p
	for _, o := range r.gone {
		i := slices.Index(r.moved, o)
		switch {
		case i >= 0:
			if o.gate.Inside != r.to[i].gate.Inside {
				_, _ = p.forward.Move(o.gate, r.to[i].gate.Inside)
			}
		case !slices.Contains(r.freed, o):
			_ = p.forward.Stop(o.gate)
		}
	}
	holders.leave(r.gone)
	p.open = slices.DeleteFunc(p.open, func(o opened) bool { return slices.Contains(r.gone, o) })
	for _, o := range r.to {
		p.open = append(p.open, o)
		holders.enter(p.owner, o)
	}
}

// undo leaves the ports as they were. One that was closed and that somebody took in
// that moment is lost, and is asked for again.
func (r *republish) undo() {
	p := r.p
	for _, o := range p.open[r.start:] {
		_ = p.forward.Stop(o.gate)
	}
	holders.leave(p.open[r.start:])
	p.open = p.open[:r.start]
	for _, o := range r.freed {
		if _, err := p.forward.Listen(o.gate); err != nil {
			p.lost = append(p.lost, slirp.LostPort{Port: o.port, Why: refusePort(p.owner, o.port, err).Error()})
			p.open = slices.DeleteFunc(p.open, func(other opened) bool { return other == o })
			holders.leave([]opened{o})
		}
	}
}

// hostAddr is the address of the host that a port names; zero for all of them.
func hostAddr(p slirp.Port) (netip.Addr, error) {
	if p.HostIP == "" {
		return netip.Addr{}, nil
	}
	addr, err := netip.ParseAddr(p.HostIP)
	return addr.Unmap(), err
}

// forwardPort is p as package forward has it, on the try-th of its host ports.
func forwardPort(p slirp.Port, addr netip.Addr, try int) forward.Port {
	return forward.Port{Proto: p.Proto, Host: netip.AddrPortFrom(addr, p.HostPort+uint16(try)), Inside: p.ContainerPort}
}
