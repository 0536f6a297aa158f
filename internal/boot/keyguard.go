package boot

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// The container's root is, to the kernel, the user's own uid, and a key is
// guarded by its owner's uid in whatever user namespace (security/keys/
// permission.c): with keyctl(2) it reads and links the user's own keyring by
// serial number, whose default permissions say so (tried: all of the user's keys
// were readable). A session keyring of its own is no help against that. The
// default profile has no keyctl; without it (--privileged, seccomp=unconfined, a
// profile of the user's) this filter takes the three calls away, as a kernel
// without keyrings does. --userns=auto maps other uids and keeps them.

// keyCalls are add_key, request_key and keyctl of one system call table.
type keyCalls struct {
	arch   uint32
	number [3]uint32
}

var nativeKeyCalls = [3]uint32{unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL}

// keyTables lists the tables that a program of this architecture can call by:
// its own and those of the kernel's 32-bit entry.
var keyTables = map[string][]keyCalls{
	"amd64":   {{unix.AUDIT_ARCH_X86_64, nativeKeyCalls}, {unix.AUDIT_ARCH_I386, [3]uint32{286, 287, 288}}},
	"arm64":   {{unix.AUDIT_ARCH_AARCH64, nativeKeyCalls}, {unix.AUDIT_ARCH_ARM, [3]uint32{309, 310, 311}}},
	"riscv64": {{unix.AUDIT_ARCH_RISCV64, nativeKeyCalls}},
	"ppc64le": {{unix.AUDIT_ARCH_PPC64LE, nativeKeyCalls}},
	"s390x":   {{unix.AUDIT_ARCH_S390X, nativeKeyCalls}, {unix.AUDIT_ARCH_S390, [3]uint32{278, 279, 280}}},
	"loong64": {{unix.AUDIT_ARCH_LOONGARCH64, nativeKeyCalls}},
}

const (
	offsetNumber = 0 // of struct seccomp_data (linux/seccomp.h)
	offsetArch   = 4
	x32Bit       = 0x40000000 // __X32_SYSCALL_BIT: x86's third table
)

// keyGuard is the filter: ENOSYS for the three calls, everything else goes on.
func keyGuard(tables []keyCalls) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	equal := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	give := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	prog := []unix.SockFilter{load(offsetArch)}
	for _, t := range tables {
		prog = append(prog, equal(t.arch, 0, 7), // past this table
			load(offsetNumber),
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: ^uint32(x32Bit)},
			equal(t.number[0], 3, 0), equal(t.number[1], 2, 0), equal(t.number[2], 1, 0),
			give(unix.SECCOMP_RET_ALLOW),
			give(unix.SECCOMP_RET_ERRNO|uint32(unix.ENOSYS)))
	}
	return append(prog, give(unix.SECCOMP_RET_ALLOW))
}

func (b *box) guardKeys() error {
	if !b.cfg.Inside.GuardKeys {
		return nil
	}
	prog := keyGuard(keyTables[runtime.GOARCH])
	return loadFilter(prog, "keep away from the user's keyrings")
}

func loadFilter(prog []unix.SockFilter, op string) error {
	fprog := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&fprog))); errno != 0 {
		return hint.New(op, errno, "use --security-opt seccomp=unconfined on a kernel without seccomp")
	}
	return nil
}
