package layers

import (
	"fmt"
	"os"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

type idRange struct{ first, size int64 }

// idRanges are the ids that exist in this user namespace.
type idRanges struct{ uid, gid []idRange }

func readIDRanges() (idRanges, error) {
	uid, err := parseIDMap("/proc/self/uid_map")
	if err != nil {
		return idRanges{}, err
	}
	gid, err := parseIDMap("/proc/self/gid_map")
	return idRanges{uid, gid}, err
}

// parseIDMap reads lines of `inside outside size` (user_namespaces(7)).
func parseIDMap(path string) ([]idRange, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var ranges []idRange
	for line := range strings.Lines(string(data)) {
		var inside, outside, size int64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		ranges = append(ranges, idRange{inside, size})
	}
	return ranges, nil
}

func has(ranges []idRange, id int) bool {
	for _, r := range ranges {
		if int64(id) >= r.first && int64(id)-r.first < r.size {
			return true
		}
	}
	return false
}

func count(ranges []idRange) (n int64) {
	for _, r := range ranges {
		n += r.size
	}
	return n
}

// single says whether there is only one user id to give files to.
func (r idRanges) single() bool { return count(r.uid) <= 1 || count(r.gid) <= 1 }

func (r idRanges) check(name string, uid, gid int) error {
	if has(r.uid, uid) && has(r.gid, gid) {
		return nil
	}
	return hint.Newf("unpack a layer", "ask for a larger range in /etc/subuid and /etc/subgid: usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER",
		"%q belongs to %d:%d, and your ranges reach %d user ids and %d group ids", name, uid, gid, count(r.uid), count(r.gid))
}
