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

// The names in a subtree that are ours.
const (
	prefix      = "rc-"     // rc-<id>
	hostLeaf    = "rc-host" // no container has the id "host"
	payloadLeaf = "payload"
)

// The interface files that more than one place names (kernel, cgroup-v2.rst,
// "Core Interface Files").
const (
	procsFile       = "cgroup.procs"
	controlFile     = "cgroup.subtree_control"
	controllersFile = "cgroup.controllers"
	eventsFile      = "cgroup.events"
	typeFile        = "cgroup.type" // every group has it but the hierarchy's own root
)

// Subtree is a place on a cgroup2 mount in which the caller may make groups.
type Subtree struct {
	Path        string   // absolute, as this mount namespace sees it
	Controllers []string // what a group made here can be given
	How         string   // why it is ours, one phrase, for `rc info`

	chain  []string // Path and its ancestors that are ours too, nearest first
	mount  mountPoint
	view   view
	within bool // this process stands in Path itself
	apart  bool // it stands elsewhere: who is to outlive it is born in the leaf
	far    bool // and the kernel does not let it put anybody there
}

// Group is one container's group, <subtree>/rc-<id>.
type Group struct {
	Path string
}

// Open names an existing group, from a record or from List. Nothing is touched.
func Open(path string) *Group { return &Group{Path: path} }
