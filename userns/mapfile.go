package userns

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ParseMap reads the text of a uid_map or gid_map. The size 4294967295 of the
// initial namespace fits: the id 2^32-1 means "unchanged" and is never mapped.
func ParseMap(r io.Reader) ([]IDMap, error) {
	var maps []IDMap
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			return nil, fmt.Errorf("ID map line %q", lines.Text())
		}
		var n [3]uint32
		for i, f := range fields {
			v, err := strconv.ParseUint(f, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("ID map line %q: %w", lines.Text(), err)
			}
			n[i] = uint32(v)
		}
		maps = append(maps, IDMap{n[0], n[1], n[2]})
	}
	return maps, lines.Err()
}

// ReadMapping reads the maps of the user namespace of process pid (0: of the
// caller). Outside is counted in the user namespace of the reader, or of its
// parent when the process is in the reader's own.
func ReadMapping(pid int) (*Mapping, error) {
	dir := "/proc/self/"
	if pid != 0 {
		dir = "/proc/" + strconv.Itoa(pid) + "/"
	}
	uid, err := readMap(dir + "uid_map")
	if err != nil {
		return nil, err
	}
	gid, err := readMap(dir + "gid_map")
	if err != nil {
		return nil, err
	}
	groups, err := os.ReadFile(dir + "setgroups")
	if err != nil {
		return nil, err
	}
	return &Mapping{UID: uid, GID: gid, SingleID: strings.TrimSpace(string(groups)) == "deny"}, nil
}

func readMap(path string) ([]IDMap, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ParseMap(f)
}

// format is the text that the kernel takes: one write, less than a page.
func format(maps []IDMap) string {
	var b strings.Builder
	for _, l := range maps {
		b.WriteString(strconv.FormatUint(uint64(l.Inside), 10) + " " +
			strconv.FormatUint(uint64(l.Outside), 10) + " " +
			strconv.FormatUint(uint64(l.Size), 10) + "\n")
	}
	return b.String()
}
