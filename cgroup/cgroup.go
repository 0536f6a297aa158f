// Package cgroup finds the part of the cgroup v2 tree that is the caller's own,
// and gives each container a group in it.
//
//	<subtree>/                   ours: found by trying, never made
//	    rc-host/                 our own processes, where they had to leave <subtree>
//	    rc-<id>/                 one container: limits, freeze and kill act here
//	        payload/             its processes, and the root of its cgroup namespace
//
// The limits sit one level above the payload because the container's root owns
// what is below its cgroup namespace's root: without the mount option nsdelegate
// it could raise a limit set there (tried). They are repeated on payload/, where
// programs that size themselves by their cgroup look (JVM, Go's GOMAXPROCS).
//
// The shim never stands below rc-<id>: a limit that starves the payload must not
// starve the process that reports it.
package cgroup

// Subtree is a place on a cgroup2 mount in which the caller may make groups.
type Subtree struct {
	Path        string   // absolute, as this mount namespace sees it
	Controllers []string // what a group made here can be given; sorted as the kernel lists them
	How         string   // why it is ours, one phrase, for `rc info`

	chain []string          // Path and its ancestors that are ours too, nearest first
	mount mountPoint        // the cgroup2 mount that Path lies on
	busy  []int             // other processes that stand in Path itself
	made  func(path string) // tests: fills a folder as the kernel does on mkdir
}

// Group is one container's group, <subtree>/rc-<id>.
type Group struct {
	Path string
}

// Open names an existing group, from a record or from List. Nothing is touched.
func Open(path string) *Group { return &Group{Path: path} }

type mountPoint struct {
	dir  string // where it is mounted
	root string // which part of the hierarchy it shows, "/" for all of it
}
