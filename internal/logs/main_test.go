package logs

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// A copy of the test binary plays the process that writes (it is killed) or reads
// (it is stopped): RC_LOGS_ROLE says which, RC_LOGS_PATH of what.
func TestMain(m *testing.M) {
	path := os.Getenv("RC_LOGS_PATH")
	switch os.Getenv("RC_LOGS_ROLE") {
	case "write":
		l, err := Open(path, &Options{Config: small})
		if err == nil {
			for n := 0; ; n++ {
				l.Write("stdout", fmt.Appendf(nil, "%s line %d %s\n", os.Getenv("RC_LOGS_RUN"), n, strings.Repeat("z", n%3000)))
			}
		}
	case "copy": // stdin to the log, like the shim
		l, err := Open(path, &Options{Config: small})
		buf := make([]byte, 32<<10)
		for err == nil {
			var n int
			if n, err = os.Stdin.Read(buf); n > 0 {
				l.Write("stdout", buf[:n])
			}
		}
		l.Close()
	case "follow": // to stdout, until stdin ends
		ended := make(chan bool)
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); close(ended) }()
		_, err := Read(path, Query{Tail: -1, Follow: true,
			Entry: func(e *Entry) error { _, err := os.Stdout.Write(e.Line); return err },
			Lost:  func(n int64) { fmt.Fprintln(os.Stderr, "lost", n) },
			Ended: func() bool {
				select {
				case <-ended:
					return true
				default:
					return false
				}
			}})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	default:
		os.Exit(m.Run())
	}
}

// small is the log of the processes above: rotation is usual in it.
var small = record.LogConfig{MaxSize: size("RC_LOGS_SIZE", 1<<20), MaxFile: 3}

func size(name string, or int64) int64 {
	if n, err := strconv.ParseInt(os.Getenv(name), 10, 64); err == nil {
		return n
	}
	return or
}

// mincore tells which pages are in memory (mincore(2)).
func mincore(mem, vec []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&mem[0])), uintptr(len(mem)), uintptr(unsafe.Pointer(&vec[0]))); errno != 0 {
		return errno
	}
	return nil
}
