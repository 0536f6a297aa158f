package shim

import (
	"slices"
	"time"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// Between two keepers nobody holds a container's ports for 0.1 s, and any program may
// take one. The container's addresses and names come back all the same; the port is
// noted as lost (inspect, ps, an event) and asked for until it is free again.

// How long before a lost port is asked for again; the last pause is repeated.
var regainPauses = []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}

// lostPorts sees to those that now has.
func (s *shim) lostPorts(before, now *slirp.Attached) {
	var old []slirp.LostPort
	if before != nil {
		old = before.Lost
	}
	has := func(list []slirp.LostPort, p slirp.Port) bool {
		return slices.ContainsFunc(list, func(l slirp.LostPort) bool { return l.Port == p })
	}
	for _, l := range now.Lost {
		if !has(old, l.Port) {
			s.event("unpublish: "+l.Port.String(), map[string]string{"reason": l.Why})
		}
	}
	for _, l := range old {
		if slices.Contains(now.Ports, l.Port) {
			s.event("publish: "+l.Port.String(), nil)
		}
	}
	s.regain()
}

// regain asks for lost ports until there are none, or the container has ended. It
// returns at once.
func (s *shim) regain() {
	n := s.net
	if len(s.lost()) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking {
		return
	}
	n.asking = true
	go func() {
		for try := 0; ; try++ {
			time.Sleep(regainPauses[min(try, len(regainPauses)-1)])
			n.mu.Lock()
			lost := s.lost()
			if over := n.gone || len(lost) == 0; over {
				n.asking = false
				n.mu.Unlock()
				return
			}
			n.mu.Unlock()
			for _, l := range lost {
				done := s.busy() // an execve between question and answer would lose that
				if got, err := n.change(&slirp.Change{Publish: []slirp.Port{l.Port}}); err == nil {
					s.networkIs(got)
				}
				done()
			}
		}
	}()
}

// lost are the ports that the container should have and has not.
func (s *shim) lost() []slirp.LostPort {
	if st := s.snapshot(); st.Net != nil && st.Status != record.Exited {
		return st.Net.Lost
	}
	return nil
}
