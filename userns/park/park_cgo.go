//go:build cgo

package park

// #cgo CFLAGS: -O2 -Wall -Wextra -Werror
// extern int park_terminated;
import "C"

func terminated() bool { return C.park_terminated != 0 }
