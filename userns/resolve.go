package userns

import (
	"os"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/host"
)

// Resolve decides the map of the user's namespace U0: the caller as 0, then the
// subordinate ranges. Where there are none, or newuidmap could not gain its
// rights anyway, it is a single-id mapping whose Why says so with the fix. An
// error means that not even that is to be had.
func Resolve() (*Mapping, error) { return resolve(host.Here()) }

func resolve(s *host.System) (*Mapping, error) {
	const op = "map subordinate IDs"
	if f := s.SubordinateIDs(); !f.OK {
		return single(s, f.Err(op)), nil
	}
	if s.UID != 0 { // root writes the maps itself
		for _, tool := range s.IDMapTools() {
			if !tool.OK {
				return single(s, tool.Err(op+" with "+tool.Name)), nil
			}
		}
	}
	r := s.SubordinateRanges()
	own, err := ReadMapping(0)
	if err != nil {
		return nil, hint.New("read the ID map of this process", err, "mount /proc")
	}
	m := &Mapping{
		UID: layOut(uint32(s.UID), r.UID, own.UID),
		GID: layOut(uint32(s.GID), r.GID, own.GID),
	}
	if len(m.UID) == 1 || len(m.GID) == 1 {
		return single(s, hint.Newf(op, "give the outer container a larger ID range, or a line in its /etc/subuid and /etc/subgid that lies inside it",
			"no range of %s from %s is mapped in the user namespace that rc was started in", r.User, r.From)), nil
	}
	return m, nil
}

// Single is the mapping of the caller's one id, for when newuidmap turned out
// not to work; why is kept for the line that says what is lost.
func Single(why error) *Mapping { return single(host.Here(), why) }

func single(s *host.System, why error) *Mapping {
	return &Mapping{
		UID:      []IDMap{{0, uint32(s.UID), 1}},
		GID:      []IDMap{{0, uint32(s.GID), 1}},
		SingleID: true, Why: why,
	}
}

// layOut puts the caller at 0 and the ranges after it, as far as the caller's
// own user namespace has those ids: inside a container /etc/subuid often lists
// more than the outer map gives, and one such line would fail the whole write.
func layOut(caller uint32, ranges []host.IDRange, own []IDMap) []IDMap {
	pool := make([]IDMap, 0, len(ranges))
	for _, r := range ranges {
		pool = append(pool, IDMap{0, r.Start, r.Size})
	}
	present := without(pool, without(pool, identity(own)))
	return append([]IDMap{{0, caller, 1}}, place(present, 1)...)
}

// isRoot says whether this process may write any map itself.
func isRoot() bool { return os.Geteuid() == 0 }
