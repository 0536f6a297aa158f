//go:build cgo

package nsjoin

// #cgo CFLAGS: -O2 -Wall -Wextra -Werror
import "C"
