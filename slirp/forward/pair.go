package forward

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pair is one TCP connection: the client's half and the one inside. Half i carries
// from its own socket to the other's.
type pair struct {
	owner  owner
	half   [2]half
	cut    atomic.Bool
	queued bool
	closed bool
}

// owner is by whom pairs came to be; it is told of the end of each.
type owner interface{ parted() }

// half is one direction. The flags are what epoll has said since the last EAGAIN.
type half struct {
	fd       int
	readable bool
	hup      bool   // no more data will come after what is there
	full     bool   // the other side takes nothing now
	bulk     bool   // much is coming
	eof      bool   // read, and passed on
	left     []byte // read, not yet taken
	pipe     *pipe  // of bulk data
}

const (
	// smallRead is tried first. What fills it is followed by more, which is moved from
	// socket to socket through a pipe, not copied (splice(2)); and by the buffer where
	// there is no pipe, without taking from the kernel what the other side does not take
	// from us. Nothing of it is held in memory of ours.
	smallRead = 16 << 10
	// turn bounds the bytes of one direction before others have theirs.
	turn = 1 << 20
)

// left counts the bytes in all halves' left.
var left atomic.Int64

// note remembers an event of one of the two descriptors.
func (p *pair) note(fd int32, events uint32) {
	mine, other := &p.half[0], &p.half[1]
	if int32(mine.fd) != fd {
		mine, other = other, mine
	}
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		mine.readable = true
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		mine.hup = true
	}
	if events&unix.EPOLLERR != 0 && mine.eof {
		p.cut.Store(true) // reset after its FIN: no read will tell
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		other.full = false
	}
}

// pump carries both ways.
func (p *pair) pump(w *worker) (more, done, broken bool) {
	if p.cut.Load() {
		return false, false, true
	}
	for i := range p.half {
		again, err := p.half[i].pump(p.half[1-i].fd, w)
		if err != nil {
			return false, false, true
		}
		more = more || again
	}
	return more, p.half[0].eof && p.half[1].eof, false
}

// pump carries one way until nothing comes, nothing is taken, or the turn is over.
func (h *half) pump(to int, w *worker) (more bool, err error) {
	for carried := 0; ; {
		if h.full || h.eof || !h.readable && h.left == nil && h.pipe == nil {
			return false, nil
		}
		if carried >= turn {
			return true, nil
		}
		var n int
		switch {
		case h.left != nil:
			n, err = h.flush(to)
		case h.pipe != nil, h.bulk && w.takePipe(h):
			n, err = h.splice(to, w)
		case h.bulk || left.Load() > maxLeft:
			n, err = h.peek(to, w.room())
		default:
			n, err = h.read(to, w.room())
		}
		if err != nil {
			return false, err
		}
		carried += n
	}
}

// read is for little at a time, the most frequent case: two system calls.
func (h *half) read(to int, buffer []byte) (int, error) {
	n, err := recv(h.fd, buffer[:smallRead], 0)
	if done, err := h.judge(n, err, to); done {
		return 0, err
	}
	h.bulk = n == smallRead
	if n < smallRead && !h.hup {
		h.readable = false // epoll(7): a short read has emptied the socket
	}
	w, err := h.send(to, buffer[:n])
	if err == nil && w < n {
		h.left = append([]byte(nil), buffer[w:n]...)
		left.Add(int64(n - w))
	}
	return w, err
}

// peek is for much: what was taken is then dropped from the socket, without a copy
// (tcp(7), MSG_TRUNC).
func (h *half) peek(to int, buffer []byte) (int, error) {
	n, err := recv(h.fd, buffer, unix.MSG_PEEK)
	if done, err := h.judge(n, err, to); done {
		return 0, err
	}
	w, err := h.send(to, buffer[:n])
	if err != nil || w == 0 {
		return 0, err
	}
	if _, err := recv(h.fd, buffer[:w], unix.MSG_TRUNC); err != nil {
		return 0, err
	}
	h.bulk = n >= smallRead
	return w, nil
}

// splice moves through the pipe, and gives it back when all was taken and no more came.
func (h *half) splice(to int, w *worker) (int, error) {
	if h.pipe.held == 0 {
		n, err := splice(h.fd, h.pipe.in)
		done, err := h.judge(n, err, to)
		if !done {
			h.pipe.held = n
		} else {
			h.bulk = false
			w.givePipe(h)
			return 0, err
		}
	}
	n, err := splice(h.pipe.out, to)
	if err == unix.EAGAIN {
		h.full = true
		return 0, nil
	}
	h.pipe.held -= n
	return n, err
}

func (h *half) flush(to int) (int, error) {
	w, err := h.send(to, h.left)
	left.Add(int64(-w))
	if h.left = h.left[w:]; len(h.left) == 0 {
		h.left = nil
	}
	return w, err
}

// judge deals with what is no data: nothing now, the end, an error.
func (h *half) judge(n int, err error, to int) (done bool, _ error) {
	switch {
	case err == unix.EAGAIN:
		h.readable = false
		return true, nil
	case err != nil:
		return true, err
	case n == 0:
		h.eof = true
		if err := unix.Shutdown(to, unix.SHUT_WR); err != nil && err != unix.ENOTCONN {
			return true, err
		}
		return true, nil
	}
	return false, nil
}

// send writes what is taken; full says that not all of it was.
func (h *half) send(to int, data []byte) (int, error) {
	n, err := write(to, data)
	switch {
	case err == unix.EAGAIN:
		h.full = true
		return 0, nil
	case err != nil:
		return 0, err
	}
	h.full = n < len(data)
	return n, nil
}

func recv(fd int, data []byte, flags int) (int, error) {
	for {
		n, err := recvfrom(fd, data, flags)
		if err != unix.EINTR {
			return n, err
		}
	}
}

func write(fd int, data []byte) (int, error) {
	for {
		n, err := sendto(fd, data)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// close ends both halves; broken: by RST, so that nobody takes it for a whole answer.
func (p *pair) close(broken bool) {
	p.closed = true
	for i := range p.half {
		h := &p.half[i]
		left.Add(-int64(len(h.left)))
		h.left = nil
		if h.pipe != nil {
			h.pipe.close()
			h.pipe = nil
		}
		if broken {
			reset(h.fd)
		} else {
			// What was sent is still to arrive: no RST, which sockets of an Outbound have
			// as their end (prepare).
			_ = unix.SetsockoptLinger(h.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{})
			_ = unix.Close(h.fd)
		}
	}
	giveSockets(2)
	p.owner.parted()
}
