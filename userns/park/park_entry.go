//go:build !cgo

package park

import "github.com/rc-containers/rc/userns/entry"

func terminated() bool { return entry.Terminated() }
