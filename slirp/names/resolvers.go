package names

import (
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// maxResolvers bounds the list. The C libraries take three lines; more are taken
	// here, since hosts have them (moby#22185 shows six).
	maxResolvers = 8
	// recheck is how long the file's stamp is not looked at again: 1,000 questions a
	// second cost ten stat(2).
	recheck = 100 * time.Millisecond
	maxFile = 64 << 10 // bytes of resolv.conf that are read
)

// hostFile is a resolv.conf that is read again when it has changed. Its answer is
// always that of now: VPNs and roaming rewrite the file under running containers,
// and users had to restart other tools' resolvers then (podman#13926). Looking at
// it when asked costs nothing while nobody asks; inotify would not see the target
// of the usual symbolic link being replaced.
type hostFile struct {
	path string

	mu     sync.Mutex
	looked time.Time
	stamp  stamp
	list   []netip.AddrPort
}

// stamp tells two states of a file apart.
type stamp struct {
	dev, ino, size     uint64
	mtimeNs, ctimeNs   int64
	mtimeSec, ctimeSec int64
}

// servers are the resolvers that the file names now.
func (h *hostFile) servers() []netip.AddrPort {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.looked) >= recheck {
		h.looked = now
		if s := stampOf(h.path); h.list == nil || s != h.stamp {
			h.stamp, h.list = s, parseServers(readFile(h.path))
		}
	}
	return h.list
}

func stampOf(path string) stamp {
	var st syscall.Stat_t
	if syscall.Stat(path, &st) != nil {
		return stamp{}
	}
	return stamp{
		dev: st.Dev, ino: st.Ino, size: uint64(st.Size), mtimeSec: int64(st.Mtim.Sec), mtimeNs: int64(st.Mtim.Nsec),
		ctimeSec: int64(st.Ctim.Sec), ctimeNs: int64(st.Ctim.Nsec),
	}
}

func readFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, maxFile))
	return string(data)
}

// parseServers reads the nameserver lines of resolv.conf(5); whatever else is there
// is no concern of ours, and no reason to fail (aardvark-dns#418: an unknown option
// made it silent). Several addresses on a line, which the C libraries do not take
// but users write (podman#13926), are taken. No address at all means 127.0.0.1.
func parseServers(text string) []netip.AddrPort {
	var list []netip.AddrPort
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		for _, s := range f[1:] {
			a, err := netip.ParseAddr(s)
			if err != nil {
				break // a comment
			}
			if p := netip.AddrPortFrom(a.Unmap(), port); len(list) < maxResolvers && !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	if len(list) == 0 {
		list = []netip.AddrPort{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)}
	}
	return list
}

// port is where resolvers listen.
const port = 53
