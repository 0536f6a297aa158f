package record

import (
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/lazyjson"
	"github.com/rc-containers/rc/internal/linux"
)

// Listing is one look at which containers there are and which may be alive, for who
// reads them all: a path is then two names long instead of eight, and of a container
// without a lock nothing is asked.
type Listing struct {
	IDs     []string // sorted; half-made ones included
	Runtime []string // the names in the runtime folder: locks and sockets

	folder int             // of the containers
	locks  int             // folder of Runtime's names; -1 where there is none
	locked map[string]bool // ids of which there is a lock
}

// ListContainers looks; Close gives its two descriptors back.
func (s *Store) ListContainers() (*Listing, error) {
	folder, err := linux.OpenFolder(s.Path("containers"))
	if err != nil {
		return nil, err
	}
	l := &Listing{folder: folder, locks: -1, locked: map[string]bool{}}
	// Before the ids: of a container that comes between the two looks, the record
	// says that it is not at rest, and nobody believes that it has no lock.
	if rt, err := s.Runtime(); err == nil {
		if l.locks, err = linux.OpenFolder(filepath.Join(rt, "c")); err == nil {
			l.Runtime, _ = linux.NamesAt(l.locks)
		}
	}
	for _, name := range l.Runtime {
		if id, ok := strings.CutSuffix(name, ".lock"); ok {
			l.locked[id] = true
		}
	}
	names, err := linux.NamesAt(folder)
	if err != nil {
		l.Close()
		return nil, err
	}
	l.IDs = containerIDs(names)
	return l, nil
}

// Close gives the descriptors back.
func (l *Listing) Close() {
	_ = unix.Close(l.folder)
	if l.locks >= 0 {
		_ = unix.Close(l.locks)
	}
}

// Alive is Store.Alive as of the listing: a container that had no lock then is not
// looked at.
func (l *Listing) Alive(id string) (bool, error) {
	if !l.locked[id] {
		return false, nil
	}
	return lifeHeld(l.locks, id+".lock")
}

// Reader reads the records of a listing through one buffer. Each goroutine has its own.
type Reader struct {
	*Listing
	buf []byte
}

// Reader makes one.
func (l *Listing) Reader() *Reader { return &Reader{l, make([]byte, 8<<10)} }

// Read reads a container's record and state into c and st. False where one is not
// there, not whole or not this container's: LoadContainer and LoadState tell why.
func (r *Reader) Read(id string, c *Container, st *State) bool {
	return r.read(id+"/container.json", c) && c.ID == id && r.read(id+"/state.json", st) && st.Status != ""
}

func (r *Reader) read(path string, v any) bool {
	fd, err := unix.Openat(r.folder, path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) // as linux.ReadFile
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, r.buf)
	// A text that fills the buffer may go on, and one that read(2) was kept from
	// finishing (it may be, over a network) is no JSON.
	return err == nil && n < len(r.buf) && lazyjson.Unmarshal(r.buf[:n], v) == nil
}
