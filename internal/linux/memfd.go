package linux

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// SealedMemfd is a memory file with data that nobody can change afterwards.
// The name only shows in /proc/PID/fd.
func SealedMemfd(name string, data []byte) (*os.File, error) {
	fd, err := memfdCreate(name)
	if err != nil {
		return nil, fail("memfd_create", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(data); err == nil {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		_ = f.Close()
		return nil, fail("seal memory file", name, err)
	}
	return f, nil
}

// memfdCreate asks for a file that can never be executed, which hosts with
// vm.memfd_noexec=2 demand; EINVAL before Linux 6.3.
func memfdCreate(name string) (int, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if !Without(MemfdNoexec) {
		if fd, err := unix.MemfdCreate(name, flags|unix.MFD_NOEXEC_SEAL); err != unix.EINVAL {
			return fd, err
		}
	}
	return unix.MemfdCreate(name, flags)
}

// ReadSealed reads what SealedMemfd wrote, at most limit bytes, from the start
// whatever the offset. A file that its sender could still change is refused.
func ReadSealed(f *os.File, limit int64) ([]byte, error) {
	got, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || got&seals != seals {
		return nil, fmt.Errorf("read %s: not a sealed memory file (seals %#x, %w)", f.Name(), got, unix.EPERM)
	}
	var st unix.Stat_t // its size is sealed, too
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, fail("read memory file", f.Name(), err)
	}
	if st.Size > limit {
		return nil, fail("read memory file", f.Name(), unix.EFBIG)
	}
	data := make([]byte, st.Size)
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, err
	}
	return data, nil
}
