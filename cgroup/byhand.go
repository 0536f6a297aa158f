package cgroup

import (
	"path/filepath"
	"slices"
	"strings"
)

// systemdDelegates are the controllers that Delegate= of a unit takes
// (systemd.resource-control(5), systemd 257). Others it neither hands down nor
// takes away: hugetlb, rdma, misc.
var systemdDelegates = []string{"cpu", "cpuset", "io", "memory", "pids"}

// handsDown is the line that hands a controller down by hand, from the group that
// has it to the folder in which the subtree stands.
func (s *Subtree) handsDown(name, giver string) string {
	var way []string
	for dir := filepath.Dir(s.Path); strings.HasPrefix(dir+"/", giver+"/"); dir = filepath.Dir(dir) {
		way = append(way, dir)
		if dir == giver {
			break
		}
	}
	slices.Reverse(way)
	return "sudo sh -c 'for d in " + strings.Join(way, " ") + "; do echo +" + name + " >$d/" + controlFile + "; done' # until the next boot: systemd has no setting for it"
}
