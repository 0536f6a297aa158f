package shim

import (
	"strconv"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/trace"
)

// The events of a container's networks are Docker's: it is connected before it starts,
// and disconnected after it died. They go with the container's own in one write.

// tellStart writes the events of a start.
func (s *shim) tellStart() {
	_ = s.store.AppendEvents(append(s.networkEvents("connect"), s.eventOf("start", nil))...)
}

// tellEnd writes the events of an end.
func (s *shim) tellEnd(code int) {
	defer trace.Begin("write the end's events").End()
	st := s.snapshot()
	die := s.eventOf("die", map[string]string{"exitCode": strconv.Itoa(code), "execDuration": strconv.Itoa(int(st.Finished.Sub(st.Started).Seconds()))})
	events := append([]*record.Event{die}, s.networkEvents("disconnect")...)
	s.mu.Lock()
	stopped := s.ending
	s.mu.Unlock()
	if stopped {
		events = append(events, s.eventOf("stop", nil))
	}
	_ = s.store.AppendEvents(events...)
}

// networkEvents are one for each network that `rc network ls` lists and the container
// is on.
func (s *shim) networkEvents(action string) []*record.Event {
	return record.NetworkEvents(action, s.cfg.ID, s.cfg.Network, s.snapshot().Net)
}
