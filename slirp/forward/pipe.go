package forward

import (
	"golang.org/x/sys/unix"
)

// pipe carries bulk data from socket to socket while there is some.
type pipe struct {
	in, out int
	held    int // bytes
}

const (
	// pipeSize is what one call moves at most. Less is granted when the user has many
	// pipes (pipe(7), pipe-user-pages-soft).
	pipeSize = 1 << 20
	// leastPipe is what makes a pipe worth more than a copy. Where the user's programs have
	// used up the soft limit (one pasta does) a new one holds two pages, through which half
	// as much goes as through the buffer: 9 and 15 Gbit/s, where 1 MiB carries 19.
	leastPipe = 64 << 10
	// sparePipes stay with a worker that is not idle.
	sparePipes = 4
	// pipeReserve descriptors are kept from pipes, for connections.
	pipeReserve = 64
)

// takePipe gives h one, unless descriptors are short.
func (w *worker) takePipe(h *half) bool {
	if n := len(w.pipes); n > 0 {
		h.pipe, w.pipes = w.pipes[n-1], w.pipes[:n-1]
		return true
	}
	if sockets.Load()+pipeReserve > maxSockets/2 || !takeSockets(2, 0) {
		return false
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		giveSockets(2)
		return false
	}
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	h.pipe = &pipe{in: fds[1], out: fds[0]}
	if size, err := unix.FcntlInt(uintptr(fds[1]), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
		h.pipe.close()
		h.pipe = nil
		return false
	}
	return true
}

// givePipe takes back an empty one.
func (w *worker) givePipe(h *half) {
	if len(w.pipes) < sparePipes {
		w.pipes = append(w.pipes, h.pipe)
	} else {
		h.pipe.close()
	}
	h.pipe = nil
}

func (p *pipe) close() {
	_ = unix.Close(p.in)
	_ = unix.Close(p.out)
	giveSockets(2)
}

// splice moves what can be moved now.
func splice(from, to int) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, pipeSize, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// room is the worker's buffer, which it has while it works.
func (w *worker) room() []byte {
	if w.buffer == nil {
		w.buffer = make([]byte, bufferSize)
	}
	return w.buffer
}
