package bridge

import (
	"slices"
	"strings"

	"github.com/rc-containers/rc/slirp"
)

// Member is one container on one network, as it is now.
type Member struct {
	ID     string // the container's
	Status slirp.EndpointStatus
	// Found: it was there when Open came, and nobody has asked for it since. Its Status
	// then has no aliases, which no link knows.
	Found bool
}

// Members lists who is on which network, also those that Open found, in the order of
// their containers' IDs and of their interfaces.
func (w *World) Members() []Member {
	var list []Member
	_ = w.Do(func() error {
		for id, ports := range w.ports {
			for _, p := range ports {
				list = append(list, Member{ID: id, Status: p.status, Found: p.found})
			}
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b Member) int { return strings.Compare(a.ID, b.ID) })
	return list
}
