package trace

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// slots bounds the marks of one command: a start makes about a hundred.
const slots = 1000

// nameSize bounds a name, in bytes; the rest of a longer one is left out.
const nameSize = 41

// slot is one mark, of 64 bytes, so that two processes never write one cache line.
type slot struct {
	began, took int64
	ready       atomic.Uint32 // nonzero once the rest is written
	role        Role
	kind        Kind
	size        uint8
	name        [nameSize]byte
}

// table is the memory file. Whoever writes takes a slot by counting used up, and
// never waits for anybody.
type table struct {
	used         atomic.Uint32
	joined, left atomic.Uint32 // processes; equal when nobody writes any more
	_            [52]byte
	slots        [slots]slot
}

const tableSize = int(unsafe.Sizeof(table{}))

// memory is the table as one process has it.
type memory struct {
	role Role
	file *os.File // to hand on; nil in who hands it to nobody

	mu    sync.Mutex // guards table: a goroutine may end a span while another leaves
	table *table
	bytes []byte
}

// create makes the table.
func create() (*memory, error) {
	// Hosts with vm.memfd_noexec=2 demand the last flag; EINVAL before Linux 6.3.
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("rc-trace", flags|unix.MFD_NOEXEC_SEAL)
	if err == unix.EINVAL {
		fd, err = unix.MemfdCreate("rc-trace", flags)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "rc-trace")
	err = unix.Ftruncate(fd, int64(tableSize))
	if err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, sizeSeals)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return attach(f, RC)
}

// sizeSeals: who has the file cannot make the others fault by shortening it
// (memfd_create(2), "File sealing").
const sizeSeals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

// attach maps the table into this process; it owns f.
func attach(f *os.File, as Role) (*memory, error) {
	var st unix.Stat_t
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err == nil {
		err = unix.Fstat(int(f.Fd()), &st)
	}
	if err == nil && (got&sizeSeals != sizeSeals || st.Size != int64(tableSize)) {
		err = fmt.Errorf("not a table of marks: %w", unix.EINVAL)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	// MAP_POPULATE: the page faults come now and not within what is measured.
	bytes, err := unix.Mmap(int(f.Fd()), 0, tableSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	m := &memory{role: as, file: f, bytes: bytes, table: (*table)(unsafe.Pointer(&bytes[0]))}
	m.table.joined.Add(1)
	return m, nil
}

// put keeps a mark; when the table is full it is lost.
func (m *memory) put(of Role, mark Mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table == nil {
		return
	}
	i := m.table.used.Add(1) - 1
	if i >= slots {
		m.table.used.Store(slots) // or it would come around after 2³² marks
		return
	}
	s := &m.table.slots[i]
	s.began, s.took, s.role, s.kind = mark.Began, mark.Took, of, mark.Kind
	s.size = uint8(copy(s.name[:], mark.Name))
	s.ready.Store(1)
}

// leave gives the table back.
func (m *memory) leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table == nil {
		return
	}
	m.table.left.Add(1)
	m.table = nil
	_ = unix.Munmap(m.bytes)
	_ = m.file.Close()
}

// Join makes this process put its marks into the table behind f, which it owns, until
// Leave; nil is no table. It is for a process whose main has just begun.
func Join(f *os.File, as Role) {
	if join(f, as) && !born.IsZero() {
		here.Load().put(as, Mark{Name: "take the configuration", Began: when(born), Took: max(now()-when(born), 1)})
	}
}

// Serve is Join for one request to a process that lives already; the result ends it.
// Where that process is traced already, it stays so, and this request is not.
func Serve(f *os.File, as Role) (end func()) {
	if join(f, as) {
		return Leave
	}
	return func() {}
}

func join(f *os.File, as Role) bool {
	if f == nil {
		return false
	}
	setClock()
	m, err := attach(f, as)
	if err != nil {
		return false // who wants to see where the time goes shall get his container
	}
	if !here.CompareAndSwap(nil, m) {
		m.leave()
		return false
	}
	return true
}

// Leave ends the tracing of this process: no mark of it comes after, and neither the
// mapping nor a descriptor is left.
func Leave() {
	if m := here.Swap(nil); m != nil {
		m.leave()
	}
}

// File is a descriptor of the table for another process of ours, which the caller
// owns; nil while nobody traces. It is never given to a payload.
func File() *os.File {
	m := here.Load()
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table == nil {
		return nil
	}
	fd, err := unix.FcntlInt(m.file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "rc-trace")
}
