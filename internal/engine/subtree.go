package engine

import "github.com/rc-containers/rc/cgroup"

// subtree is the part of the cgroup tree in which this user's containers get
// their groups. Without one the error says why and what to type.
func (e *Engine) subtree() (*cgroup.Subtree, error) { return cgroup.Find() }
