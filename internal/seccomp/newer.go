package seccomp

import (
	"bytes"
	"encoding/binary"
	"sort"

	"github.com/opencontainers/runtime-spec/specs-go"
	scmp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// newer are system calls that the profile names and that this libseccomp does
// not know. Since Linux 5.1 a new call has one number on every architecture, so
// a few instructions before libseccomp's program can decide about them.
//
// They also answer ENOSYS to calls that are newer than everything known here:
// a C library falls back after ENOSYS and gives up after EPERM (glibc's
// fchmodat2, clone3; the same stub in runc's seccomp/patchbpf).
type newer struct{ allowed []uint32 }

// numbers of calls since 2020 (include/uapi/asm-generic/unistd.h).
var numbers = map[string]uint32{
	"cachestat": 451, "fchmodat2": 452, "map_shadow_stack": 453, "futex_wake": 454, "futex_wait": 455, "futex_requeue": 456,
	"statmount": 457, "listmount": 458, "lsm_get_self_attr": 459, "lsm_set_self_attr": 460, "lsm_list_modules": 461, "mseal": 462,
	"setxattrat": 463, "getxattrat": 464, "listxattrat": 465, "removexattrat": 466, "open_tree_attr": 467,
	"file_getattr": 468, "file_setattr": 469, "landlock_create_ruleset": 444, "landlock_add_rule": 445, "landlock_restrict_self": 446,
	"memfd_secret": 447, "process_mrelease": 448, "futex_waitv": 449, "set_mempolicy_home_node": 450,
	"mount_setattr": 442, "quotactl_fd": 443, "epoll_pwait2": 441, "process_madvise": 440, "faccessat2": 439, "pidfd_getfd": 438,
	"openat2": 437, "close_range": 436, "clone3": 435, "pidfd_open": 434,
}

// add notes a call that libseccomp does not know. One that is allowed only
// under conditions is not allowed here: it gets ENOSYS or the default.
func (n *newer) add(name string, call specs.LinuxSyscall) {
	if nr, ok := numbers[name]; ok && call.Action == specs.ActAllow && len(call.Args) == 0 {
		n.allowed = append(n.allowed, nr)
	}
}

// highestKnown is the last call of the common numbering that libseccomp has a
// name for; 0 where it knows none of them.
func highestKnown() uint32 {
	for nr := uint32(600); nr >= 424; nr-- {
		if name, err := scmp.ScmpSyscall(nr).GetName(); err == nil && name != "" {
			return nr
		}
	}
	return 0
}

// x32Bit marks calls of the x32 ABI, whose numbers are all large.
const x32Bit = 0x40000000

// prepend puts the decision about newer calls before the program. A profile
// that allows or only logs by default needs none.
func (n *newer) prepend(program []byte, def specs.LinuxSeccompAction) ([]byte, error) {
	known := highestKnown()
	if def == specs.ActAllow || def == specs.ActLog || known == 0 {
		return program, nil
	}
	sort.Slice(n.allowed, func(i, j int) bool { return n.allowed[i] < n.allowed[j] })
	var above []uint32
	for i, nr := range n.allowed {
		if nr > known && (i == 0 || nr != n.allowed[i-1]) {
			above = append(above, nr)
		}
	}
	// Offsets of struct seccomp_data: nr 0. The program that follows loads what
	// it needs itself, so falling through leaves nothing behind.
	skip := uint8(len(above) + 2) // from a jump to the first instruction of the program, less what follows it
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: skip + 1, K: x32Bit},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jf: skip, K: known},
	}
	for i, nr := range above {
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: uint8(len(above) - i), K: nr})
	}
	code = append(code,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retErrno | uint32(unix.ENOSYS)},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: retAllow})
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, code); err != nil {
		return nil, err
	}
	return append(b.Bytes(), program...), nil
}

// seccomp(2), include/uapi/linux/seccomp.h.
const (
	retErrno = 0x00050000
	retAllow = 0x7fff0000
)
