package seccomp

import (
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const (
	archX8664 = 0xc000003e // AUDIT_ARCH_X86_64, include/uapi/linux/audit.h
	archI386  = 0x40000003
	archMIPS  = 0x8
)

// verdict runs a program once, see machine.
func verdict(t *testing.T, program []byte, arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	return machine(t, program)(arch, nr, args...)
}

// machine runs a program as the kernel does. x/net's loads words in network order, so
// the words of struct seccomp_data are laid out that way.
func machine(t *testing.T, program []byte) func(arch, nr uint32, args ...uint64) uint32 {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(program)/8)
	for i := range raw {
		b := program[i*8:]
		raw[i] = bpf.RawInstruction{Op: binary.NativeEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.NativeEndian.Uint32(b[4:])}
	}
	list, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("not all instructions are known")
	}
	vm, err := bpf.NewVM(list)
	if err != nil {
		t.Fatal(err)
	}
	return func(arch, nr uint32, args ...uint64) uint32 {
		t.Helper()
		data := make([]byte, 64)
		binary.BigEndian.PutUint32(data, nr)
		binary.BigEndian.PutUint32(data[4:], arch)
		for i, a := range args {
			binary.BigEndian.PutUint32(data[16+i*8:], uint32(a)) // little-endian machine: the low word first
			binary.BigEndian.PutUint32(data[20+i*8:], uint32(a>>32))
		}
		n, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
}

func needAMD64(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the numbers in this test are those of x86-64")
	}
}

const eperm = retErrno | uint32(unix.EPERM)

// dockerCaps are Docker's default capabilities.
var dockerCaps = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE"}

func TestDefaultProfile(t *testing.T) {
	needAMD64(t)
	program, err := Compile(nil, dockerCaps)
	if err != nil {
		t.Fatal(err)
	}
	newNS := uint64(unix.CLONE_NEWUSER)
	for _, c := range []struct {
		name     string
		arch, nr uint32
		args     []uint64
		want     uint32
	}{
		{"read", archX8664, unix.SYS_READ, nil, retAllow},
		{"read of x86", archI386, 3, nil, retAllow},
		{"write of x32", archX8664, x32Bit | 1, nil, retAllow},
		{"keyctl", archX8664, unix.SYS_KEYCTL, nil, eperm},
		{"add_key of x86", archI386, 286, nil, eperm},
		{"mount", archX8664, unix.SYS_MOUNT, nil, eperm},
		{"unshare", archX8664, unix.SYS_UNSHARE, []uint64{newNS}, eperm},
		{"clone of a thread", archX8664, unix.SYS_CLONE, []uint64{unix.CLONE_THREAD}, retAllow},
		{"clone of a namespace", archX8664, unix.SYS_CLONE, []uint64{newNS}, eperm},
		{"clone3", archX8664, unix.SYS_CLONE3, nil, retErrno | uint32(unix.ENOSYS)},
		{"chroot, allowed by a capability", archX8664, unix.SYS_CHROOT, nil, retAllow},
		{"bpf", archX8664, unix.SYS_BPF, nil, eperm},
		{"socket", archX8664, unix.SYS_SOCKET, []uint64{unix.AF_INET}, retAllow},
		{"socket AF_VSOCK", archX8664, unix.SYS_SOCKET, []uint64{unix.AF_VSOCK}, eperm},
		{"personality", archX8664, unix.SYS_PERSONALITY, []uint64{0}, retAllow},
		{"personality of a caller who hides", archX8664, unix.SYS_PERSONALITY, []uint64{0x40000}, eperm},
		{"fchmodat2, newer than libseccomp", archX8664, 452, nil, retAllow},
		{"the same of x86", archI386, 452, nil, retAllow},
		{"mount_setattr", archX8664, unix.SYS_MOUNT_SETATTR, nil, eperm},
		{"open_tree_attr, newer and not allowed", archX8664, 467, nil, retErrno | uint32(unix.ENOSYS)},
		{"a call of the future", archX8664, 700, nil, retErrno | uint32(unix.ENOSYS)},
		{"another architecture", archMIPS, 3, nil, 0}, // killed
	} {
		if got := verdict(t, program, c.arch, c.nr, c.args...); got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, got, c.want)
		}
	}
}

// Capabilities widen the default profile.
func TestCapabilitiesCount(t *testing.T) {
	needAMD64(t)
	program, err := Compile(nil, append(dockerCaps, "CAP_SYS_ADMIN"))
	if err != nil {
		t.Fatal(err)
	}
	for _, nr := range []uint32{unix.SYS_MOUNT, unix.SYS_UNSHARE, unix.SYS_BPF, unix.SYS_CLONE3, unix.SYS_OPEN_TREE} {
		if got := verdict(t, program, archX8664, nr); got != retAllow {
			t.Errorf("call %d with CAP_SYS_ADMIN: %#x", nr, got)
		}
	}
	program, err = Compile(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, program, archX8664, unix.SYS_CHROOT); got != eperm {
		t.Errorf("chroot without capabilities: %#x", got)
	}
}

func TestOwnProfile(t *testing.T) {
	needAMD64(t)
	program, err := Compile([]byte(`{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
		"syscalls":[{"names":["read","no_such_call_yet"],"action":"SCMP_ACT_ALLOW"},
		{"names":["write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]},
		{"names":["mkdir"],"action":"SCMP_ACT_ALLOW","args":[{"index":1,"value":511,"valueTwo":448,"op":"SCMP_CMP_MASKED_EQ"}]},
		{"name":"kill","action":"SCMP_ACT_ERRNO","errnoRet":5},{"names":["getpid"],"action":"SCMP_ACT_KILL_PROCESS"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		nr   uint32
		args []uint64
		want uint32
	}{
		{unix.SYS_READ, nil, retAllow}, {unix.SYS_OPEN, nil, retErrno | 38},
		{unix.SYS_WRITE, []uint64{1}, retAllow}, {unix.SYS_WRITE, []uint64{2}, retAllow}, {unix.SYS_WRITE, []uint64{3}, retErrno | 38},
		{unix.SYS_WRITE, []uint64{1 << 32}, retErrno | 38},
		{unix.SYS_MKDIR, []uint64{0, 0o1700}, retAllow}, {unix.SYS_MKDIR, []uint64{0, 0o755}, retErrno | 38},
		{unix.SYS_KILL, nil, retErrno | 5}, {unix.SYS_GETPID, nil, 0x80000000},
	} {
		if got := verdict(t, program, archX8664, c.nr, c.args...); got != c.want {
			t.Errorf("call %d %v: %#x, want %#x", c.nr, c.args, got, c.want)
		}
	}
	// Allowed by default: nothing is added, not even ENOSYS for the future.
	program, err = Compile([]byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := verdict(t, program, archX8664, 700); got != retAllow {
		t.Errorf("a call of the future: %#x", got)
	}
	if got := verdict(t, program, archX8664, unix.SYS_MKDIR); got != eperm {
		t.Errorf("mkdir: %#x", got)
	}
}

func TestBadProfilesNameTheField(t *testing.T) {
	for text, want := range map[string]string{
		"{\n\"defaultAction\":\n oops}": "line 3",
		`{"defaultAction":5}`:           "defaultAction: is a number",
		`{"defaultAction":"DENY"}`:      `defaultAction: unknown action "DENY"`,
		`{}`:                            "defaultAction: is missing",
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"NO"}]}`:                                                    `syscalls[0] (read): action: unknown action "NO"`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":9,"op":"SCMP_CMP_EQ"}]}]}`: "args[0].index: 9",
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":0,"op":"=="}]}]}`:          `args[0].op: unknown operator "=="`,
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":99999}]}`:                       "errno 99999 is out of range",
		`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_Z80"],"syscalls":[]}`:                                                  "architectures: SCMP_ARCH_Z80",
		`{"defaultAction":"SCMP_ACT_NOTIFY","syscalls":[]}`:                                                                                   "SCMP_ACT_NOTIFY is not supported",
		`{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x","syscalls":[]}`:                                                            "listenerPath",
		`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":{"names":[]}}`:                                                                          "syscalls: is a object",
	} {
		_, err := Compile([]byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s\ngave %v, want %q", text, err, want)
		}
	}
}

// The real kernel loads the default program and obeys it.
func TestTheKernelTakesTheProgram(t *testing.T) {
	if os.Getenv("RC_TEST_LOAD") != "" {
		loadAndTry(t)
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestTheKernelTakesTheProgram$", "-test.v")
	cmd.Env = append(os.Environ(), "RC_TEST_LOAD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// loadAndTry filters one thread of this process for good.
func loadAndTry(t *testing.T) {
	program, err := Compile(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(program)/8 > 4096 {
		t.Fatalf("%d instructions, and the kernel takes 4096 (BPF_MAXINSNS)", len(program)/8)
	}
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	prog := unix.SockFprog{Len: uint16(len(program) / 8), Filter: (*unix.SockFilter)(unsafe.Pointer(&program[0]))}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, 1, 0, uintptr(unsafe.Pointer(&prog))); errno != 0 {
		t.Fatalf("seccomp(SET_MODE_FILTER): %v", errno)
	}
	if _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false); err != unix.EPERM {
		t.Errorf("keyctl: %v, want EPERM", err)
	}
	if _, _, errno := unix.Syscall(700, 0, 0, 0); errno != unix.ENOSYS {
		t.Errorf("call 700: %v, want ENOSYS", errno)
	}
	if unix.Getppid() == 0 {
		t.Error("getppid")
	}
}

func TestNumbersAgreeWithTheSystem(t *testing.T) {
	for name, nr := range map[string]uint32{"cachestat": unix.SYS_CACHESTAT, "fchmodat2": unix.SYS_FCHMODAT2, "mseal": unix.SYS_MSEAL, "landlock_create_ruleset": unix.SYS_LANDLOCK_CREATE_RULESET,
		"futex_requeue": unix.SYS_FUTEX_REQUEUE, "statmount": unix.SYS_STATMOUNT, "lsm_list_modules": unix.SYS_LSM_LIST_MODULES, "openat2": unix.SYS_OPENAT2} {
		if numbers[name] != nr {
			t.Errorf("%s is %d, not %d", name, nr, numbers[name])
		}
	}
}
