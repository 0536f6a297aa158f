package host

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// IDRange is Size ids from Start, in the user namespace of the host.
type IDRange struct{ Start, Size uint32 }

// Ranges are the subordinate ids of one user, in the order that the host lists
// them, without overlaps.
type Ranges struct {
	User     string // name, or the number where nobody knows a name
	UID, GID []IDRange
	From     string // where they were found, for messages
}

// SubordinateRanges finds the caller's ranges: in /etc/subuid and /etc/subgid,
// by name or by number, several lines adding up; or through `getsubids` where
// nsswitch.conf says that the system keeps them elsewhere (newuidmap then looks
// only there), or where the files have none.
func (s *System) SubordinateRanges() Ranges {
	r := Ranges{User: strconv.Itoa(s.UID), From: "/etc/subuid and /etc/subgid"}
	if a, ok := s.Account(s.UID); ok {
		r.User = a.Name
	}
	if s.elsewhere() && s.askGetsubids(&r) {
		return r
	}
	names := []string{r.User, strconv.Itoa(s.UID)}
	uid, _ := s.read("/etc/subuid")
	gid, _ := s.read("/etc/subgid")
	r.UID = parseRanges(uid, names, uint32(s.UID))
	r.GID = parseRanges(gid, names, uint32(s.GID))
	if len(r.UID) == 0 || len(r.GID) == 0 {
		s.askGetsubids(&r)
	}
	return r
}

// elsewhere says whether nsswitch.conf names a source before files for subid.
func (s *System) elsewhere() bool {
	text, _ := s.read("/etc/nsswitch.conf")
	for line := range strings.Lines(text) {
		if sources, ok := strings.CutPrefix(strings.TrimSpace(line), "subid:"); ok {
			first := strings.Fields(sources)
			return len(first) > 0 && first[0] != "files"
		}
	}
	return false
}

// askGetsubids replaces the ranges of r when `getsubids` knows both kinds.
func (s *System) askGetsubids(r *Ranges) bool {
	tool := s.LookPath("getsubids")
	if tool == "" {
		return false
	}
	uid, err := s.Run(tool, r.User)
	if err != nil {
		return false
	}
	gid, err := s.Run(tool, "-g", r.User)
	if err != nil {
		return false
	}
	u, g := parseGetsubids(uid, uint32(s.UID)), parseGetsubids(gid, uint32(s.GID))
	if len(u) == 0 || len(g) == 0 {
		return false
	}
	r.UID, r.GID, r.From = u, g, "getsubids"
	return true
}

// parseRanges takes the lines OWNER:START:SIZE of the given owners (subuid(5)).
func parseRanges(text string, owners []string, own uint32) []IDRange {
	var out []IDRange
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 3 && slices.Contains(owners, f[0]) {
			out = appendRange(out, f[1], f[2], own)
		}
	}
	return out
}

// parseGetsubids takes its lines `0: alice 100000 65536`.
func parseGetsubids(text string, own uint32) []IDRange {
	var out []IDRange
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 4 {
			out = appendRange(out, f[2], f[3], own)
		}
	}
	return out
}

// appendRange adds a range unless it is malformed, empty, holds the caller's own
// id (it maps itself already) or overlaps one that is there: the same line by
// name and by number is common, and the kernel refuses overlaps with EINVAL.
func appendRange(out []IDRange, start, size string, own uint32) []IDRange {
	first, err := strconv.ParseUint(start, 10, 32)
	n, err2 := strconv.ParseUint(size, 10, 32)
	if err != nil || err2 != nil || n == 0 {
		return out
	}
	n = min(n, 1<<32-1-first) // 2^32-1 means "unchanged" and cannot be mapped
	for _, r := range append(slices.Clone(out), IDRange{own, 1}) {
		if first < uint64(r.Start)+uint64(r.Size) && uint64(r.Start) < first+n {
			return out
		}
	}
	if n == 0 {
		return out
	}
	return append(out, IDRange{uint32(first), uint32(n)})
}

// SubordinateIDs probes that the caller has ranges of both kinds.
func (s *System) SubordinateIDs() Finding {
	r := s.SubordinateRanges()
	f := Finding{Name: "subordinate IDs", OK: len(r.UID) > 0 && len(r.GID) > 0}
	if f.OK {
		f.Evidence = fmt.Sprintf("%d users and %d groups for %s from %s", total(r.UID), total(r.GID), r.User, r.From)
		return f
	}
	if ids, nested := s.ownIDs(); nested && (ids == 1 || s.UID == 0 && unix.Access(s.Root+"/etc", unix.W_OK) != nil) {
		// No line of a file helps where no other id is, or its root cannot write one.
		f.Evidence = fmt.Sprintf("rc was started in a user namespace with ids of its own (%d of them), and no range is given to %s in there", ids, r.User)
		f.Fix = "start rc outside of it (unshare, bwrap), as the user who made it"
		return f
	}
	missing := "/etc/subuid"
	if len(r.UID) > 0 {
		missing = "/etc/subgid"
	} else if len(r.GID) == 0 {
		missing = "/etc/subuid and /etc/subgid"
	}
	f.Evidence = fmt.Sprintf("no range for %s in %s", r.User, missing)
	if _, known := s.Account(s.UID); !known { // newuidmap asks for a name, and usermod, too
		f.Fix = fmt.Sprintf("give user %d an entry in the host's user database (/etc/passwd), then a range", s.UID)
		return f
	}
	start := s.freeRange()
	f.Fix = fmt.Sprintf("sudo usermod --add-subuids %d-%d --add-subgids %d-%d %s", start, start+65535, start, start+65535, r.User)
	return f
}

// ownIDs is how many users the caller's own user namespace has; not nested is the
// host's, which maps each to itself (user_namespaces(7)).
func (s *System) ownIDs() (ids uint64, nested bool) {
	text, ok := s.read("/proc/self/uid_map")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 3 {
			n, _ := strconv.ParseUint(f[2], 10, 32)
			ids += n
		}
	}
	return ids, ok && ids < 1<<32-1
}

func total(ranges []IDRange) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Size)
	}
	return n
}

// freeRange is a start for 65536 ids that no line of either file touches.
func (s *System) freeRange() uint64 {
	free := uint64(100000) // SUB_UID_MIN of login.defs(5)
	for _, path := range []string{"/etc/subuid", "/etc/subgid"} {
		text, _ := s.read(path)
		for line := range strings.Lines(text) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) != 3 {
				continue
			}
			start, _ := strconv.ParseUint(f[1], 10, 32)
			size, _ := strconv.ParseUint(f[2], 10, 32)
			free = max(free, start+size)
		}
	}
	return free
}
