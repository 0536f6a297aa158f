package shim

import (
	"os"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/record"
)

// oomEvents is the name of the descriptor of the group's memory.events: open from
// the start, and kept over every execve of the shim's own.
const oomEvents = "oom-events"

// openOOM opens what tells of kills for want of memory. Without a memory controller
// there is none, and nobody is killed by a limit of ours.
func (s *shim) openOOM() {
	if old := s.files[oomEvents]; old != nil { // of the life before
		_ = old.Close()
		delete(s.files, oomEvents)
	}
	s.ooms = 0
	if f, err := s.group.OOMEvents(); err == nil {
		s.files[oomEvents] = f
	}
}

// watchOOM tells of each kill when it happens, whoever it hit: of a container whose
// first process goes on nobody would hear otherwise. It is Docker's rule that this
// makes the container OOMKilled (moby, daemon/monitor.go, EventOOM).
//
// A descriptor of a file in cgroupfs has an error waiting from a change to the next
// read (kernel, fs/kernfs/file.c, kernfs_generic_poll), of which Go's poller wakes us
// and, with no thread of ours, the wait of a parked shim ends. inotify would do the
// same, but a user has 128 of its instances only.
func (s *shim) watchOOM(f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Read(func(uintptr) bool {
		s.endings.Lock() // an end that is being dealt with tells it itself
		defer s.endings.Unlock()
		return s.reaped || !s.noticeOOM(true)
	})
}

// noticeOOM tells of kills that nobody has been told of yet; false when there is
// nothing to read any more. The caller holds endings.
func (s *shim) noticeOOM(save bool) (ok bool) {
	f := s.files[oomEvents]
	if f == nil {
		return false
	}
	kills, err := s.group.ReadOOMKills(f)
	if err != nil {
		return false
	}
	if kills <= s.ooms {
		return true
	}
	s.ooms = kills
	s.update(func(st *record.State) { st.OOMKilled = true })
	s.event("oom", nil)
	if save {
		_ = s.save(atomicfile.Fast)
	}
	return true
}
