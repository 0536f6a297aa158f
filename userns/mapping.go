// Package userns makes and joins the user's namespaces: it finds the
// subordinate ID ranges, has newuidmap and newgidmap map them, and starts rc's
// programs inside, through the C constructor in nsjoin.
//
// Three kinds of user namespace follow each other: the host's; U0, the user's
// own, with the caller as 0 and the subordinate ranges after it; and one below
// it for each sandbox (Nested, KeepID, Auto), so that a container's root owns
// nothing of ours.
package userns

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/rc-containers/rc/internal/hint"
)

// IDMap is one line of a uid_map or gid_map (user_namespaces(7)): Size ids from
// Inside appear in the parent namespace as the ids from Outside.
type IDMap struct{ Inside, Outside, Size uint32 }

// Mapping is the ID maps of a user namespace, lines in ascending order of Inside.
type Mapping struct {
	UID, GID []IDMap
	SingleID bool  // one id is mapped and setgroups(2) is denied
	Why      error // why single-id: a *hint.Error with the fix; nil otherwise
}

// Lookup is where id appears outside; false when it is not mapped.
func Lookup(maps []IDMap, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.Inside && id-m.Inside < m.Size {
			return m.Outside + (id - m.Inside), true
		}
	}
	return 0, false
}

// Count is how many ids maps cover.
func Count(maps []IDMap) uint64 {
	var n uint64
	for _, m := range maps {
		n += uint64(m.Size)
	}
	return n
}

// Nested is the identity map of a sandbox below m. A line of a nested map must
// lie inside one extent of its parent: `0 0 40000` over two extents is EPERM,
// so each extent of m becomes a line.
func (m *Mapping) Nested() (uid, gid []IDMap) {
	return identity(m.UID), identity(m.GID)
}

func identity(maps []IDMap) []IDMap {
	var out []IDMap
	for _, l := range maps {
		out = append(out, IDMap{l.Inside, l.Inside, l.Size})
	}
	return out
}

// KeepID maps the caller (0 in m) to uid and gid in a sandbox, and all other ids
// of m, in order, to the ids around them: root inside is then a subordinate id.
func (m *Mapping) KeepID(uid, gid uint32) (uidm, gidm []IDMap, err error) {
	if uidm, err = keep(m.UID, uid, "user"); err == nil {
		gidm, err = keep(m.GID, gid, "group")
	}
	return uidm, gidm, err
}

func keep(maps []IDMap, id uint32, what string) ([]IDMap, error) {
	if _, ok := Lookup(maps, 0); !ok {
		return nil, hint.Newf("keep the caller's "+what+" ID", "", "it is not mapped in the user's namespace")
	}
	rest := without(identity(maps), []IDMap{{0, 0, 1}})
	below, above := split(rest, id)
	out := place(below, 0)
	out = append(out, IDMap{id, 0, 1})
	return append(out, place(above, id+1)...), nil
}

// split takes the first n ids of pool.
func split(pool []IDMap, n uint32) (first, rest []IDMap) {
	for i, l := range pool {
		if l.Size > n {
			if n > 0 {
				first = append(first, IDMap{l.Inside, l.Outside, n})
			}
			rest = append(rest, IDMap{l.Inside + n, l.Outside + n, l.Size - n})
			return first, append(rest, pool[i+1:]...)
		}
		first = append(first, l)
		n -= l.Size
	}
	return first, nil
}

// place lays the ids of pool out one after the other, from inside on.
func place(pool []IDMap, inside uint32) []IDMap {
	var out []IDMap
	for _, l := range pool {
		size := min(l.Size, ^uint32(0)-inside)
		if size == 0 {
			break
		}
		out = append(out, IDMap{inside, l.Outside, size})
		inside += size
	}
	return out
}

// without cuts the ids that lie in taken (by Outside) out of pool.
func without(pool, taken []IDMap) []IDMap {
	for _, t := range taken {
		var left []IDMap
		for _, l := range pool {
			start, end := uint64(l.Outside), uint64(l.Outside)+uint64(l.Size)
			cut, stop := uint64(t.Outside), uint64(t.Outside)+uint64(t.Size)
			if low := min(cut, end); start < low {
				left = append(left, IDMap{l.Inside, l.Outside, uint32(low - start)})
			}
			if high := max(stop, start); high < end {
				left = append(left, IDMap{l.Inside + uint32(high-start), uint32(high), uint32(end - high)})
			}
		}
		pool = left
	}
	return pool
}

// Auto picks size ids of m, without the caller's own and those in used (Outside
// is an id in m), as 0…size-1 of a sandbox that shares no id with any other. The
// same numbers serve as users and groups. In one piece where possible.
func (m *Mapping) Auto(size uint32, used []IDMap) (uidm, gidm []IDMap, err error) {
	pool := without(common(m.UID, m.GID), append([]IDMap{{0, 0, 1}}, used...))
	if size == 0 || Count(pool) < uint64(size) {
		return nil, nil, hint.Newf("choose a range of IDs for the container",
			"remove containers made with --userns=auto, ask for fewer (--userns=auto:size=N), or add a subordinate range",
			"%d wanted, %d of your subordinate IDs are free", size, Count(pool))
	}
	if i := slices.IndexFunc(pool, func(l IDMap) bool { return l.Size >= size }); i >= 0 {
		pool = pool[i:]
	}
	chosen, _ := split(pool, size)
	maps := place(chosen, 0)
	return maps, slices.Clone(maps), nil
}

// common is the ids that both maps have, as an identity map.
func common(a, b []IDMap) []IDMap {
	ids := identity(a)
	return without(ids, without(ids, identity(b)))
}

// Short says that m has fewer ids than images commonly use (0…65535, nobody is
// 65534), as a *hint.Error; nil when it has enough.
func (m *Mapping) Short() error {
	const usual = 65536
	n := min(Count(m.UID), Count(m.GID))
	if m.SingleID || n >= usual {
		return nil
	}
	return hint.Newf("map subordinate IDs", "give your user a range of 65536 in /etc/subuid and /etc/subgid",
		"only %d IDs are mapped, files of higher ones in an image cannot be unpacked", n)
}

// check refuses what the kernel would refuse with a bare EINVAL: no line, too
// many (340, user_namespaces(7)), an empty one, one past 2^32, or an overlap.
func check(maps []IDMap) error {
	if len(maps) == 0 || len(maps) > 340 {
		return fmt.Errorf("%d lines in an ID map", len(maps))
	}
	for _, key := range []func(IDMap) uint32{
		func(l IDMap) uint32 { return l.Inside }, func(l IDMap) uint32 { return l.Outside },
	} {
		sorted := slices.SortedFunc(slices.Values(maps), func(a, b IDMap) int { return cmp.Compare(key(a), key(b)) })
		var end uint64
		for _, l := range sorted {
			if l.Size == 0 || uint64(key(l)) < end || uint64(key(l))+uint64(l.Size) > 1<<32-1 {
				return fmt.Errorf("ID map line %d %d %d is empty, too long or overlaps", l.Inside, l.Outside, l.Size)
			}
			end = uint64(key(l)) + uint64(l.Size)
		}
	}
	return nil
}
