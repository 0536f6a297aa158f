// Package nsjoin is the one piece of C in rc: a constructor that joins and makes
// namespaces before Go's runtime starts its threads (setns(2) into a user
// namespace needs a process of one thread). Import it for its effect:
//
//	import _ "github.com/rc-containers/rc/userns/nsjoin"
//
// It acts only when descriptor 3 is a sealed memory file that begins with the
// plan's magic, which package userns writes. A program started by hand, or
// executed again by containers/storage, has none there and is left alone.
//
// With cgo it is a constructor of libc's; without, package entry runs it.
package nsjoin
