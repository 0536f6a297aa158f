//go:build !cgo

package nsjoin

import _ "github.com/rc-containers/rc/userns/entry" // the same C, run before Go instead of by libc
