package linux

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Peer is who called connect(2) or socketpair(2) on the other end of a Unix
// socket. Seen from the host, a container's root has the user's own uid here:
// credentials keep other users out and nobody else.
type Peer struct {
	PID, UID, GID int
	PidFD         *os.File // nil when the peer is gone; the caller closes it
}

// PeerOf asks a connected Unix socket. With SO_PEERPIDFD (Linux 6.5) PidFD is
// that process for sure. Before, it is the process that has the pid now, taken
// only when it is owned by the same user.
func PeerOf(conn *os.File) (Peer, error) {
	fd := int(conn.Fd())
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return Peer{}, fail("getsockopt SO_PEERCRED", conn.Name(), err)
	}
	p := Peer{PID: int(cred.Pid), UID: int(cred.Uid), GID: int(cred.Gid)}
	if !Without(SoPeerPidfd) {
		pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
		if err == nil {
			p.PidFD = os.NewFile(uintptr(pidfd), "peer "+strconv.Itoa(p.PID))
		}
		if err != unix.ENOPROTOOPT {
			return p, nil // got it, or ESRCH/EINVAL/ENODATA: the peer is gone
		}
	}
	p.PidFD = peerByPID(p)
	return p, nil
}

// peerByPID opens the process with the peer's pid if it is the peer's user's.
func peerByPID(p Peer) *os.File {
	f, err := OpenPidfd(p.PID)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat("/proc/"+strconv.Itoa(p.PID), &st) != nil || int(st.Uid) != p.UID && st.Uid != 0 {
		_ = f.Close()
		return nil
	}
	return f
}
