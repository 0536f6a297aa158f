package forward

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// What strangers may use of us. Beyond it they are refused.
const (
	// maxPairs bounds the TCP connections of one container.
	maxPairs = 16384
	// maxFlows bounds the UDP clients of one container; the one that was silent for
	// longest gives way, one that was never answered first.
	maxFlows = 4096
	// spareFDs are descriptors that connections leave to everything else here.
	spareFDs = 256
	// maxLeft bounds the bytes, of all connections, that one side sent and the other
	// has not taken. Beyond it they are left in the kernel (pair.go).
	maxLeft = 16 << 20
	// freshFlow is the life of an unanswered UDP flow after its last packet, flowLife
	// that of one with answers: as nf_conntrack has it (30 and 120 s).
	freshFlow = 30 * time.Second
	flowLife  = 120 * time.Second
	// synRetries ends a dial to a server that takes nothing: after 15 s (tcp(7)).
	synRetries = 3
	// A client that vanished is found by keepalive, 120 + 4*30 s later.
	keepIdle, keepInterval, keepCount = 120, 30, 4
	// maxCalls bounds the connections of one address of a container's that are being made
	// to the world, maxPassed those of all that were given to slirp4netns for want of room.
	maxCalls, maxPassed = 1024, 4096
	// handshake is what a container has to complete one, whose SYN,ACK comes three times
	// in 7 seconds; passedLife how long after the last SYN another one may come.
	handshake, passedLife = 10 * time.Second, 70 * time.Second
	// restAfter so many seconds without visitors a door gives its thread back.
	restAfter = 10
)

// sockets counts what connections and flows hold, of all containers.
var sockets atomic.Int64

// maxSockets is read once: Go has raised the soft limit to the hard one (os, rlimit.go).
var maxSockets = func() int64 {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024 - spareFDs
	}
	return max(int64(min(r.Cur, 1<<24))-spareFDs, 64)
}()

// takeSockets says whether n more descriptors may be opened for strangers. The last
// sixteenth is for containers that have few: one cannot shut out the others.
func takeSockets(n int64, mine int64) bool {
	limit := maxSockets
	if mine > limit/8 {
		limit -= limit / 16
	}
	if sockets.Add(n) > limit {
		sockets.Add(-n)
		return false
	}
	return true
}

func giveSockets(n int64) { sockets.Add(-n) }
