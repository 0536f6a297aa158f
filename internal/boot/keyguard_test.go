package boot

import (
	"runtime"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter, run by an interpreter: every table's three calls are ENOSYS, their
// neighbours and other tables go on.
func TestKeyGuard(t *testing.T) {
	tables := keyTables[runtime.GOARCH]
	if tables == nil {
		t.Fatalf("no system call table for %s", runtime.GOARCH)
	}
	var raw []bpf.RawInstruction
	for _, f := range keyGuard(tables) {
		raw = append(raw, bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K})
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("not a BPF program")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	ask := func(arch, number uint32) uint32 {
		data := make([]byte, 64) // the interpreter reads big endian, the kernel the machine's
		for i := range 4 {
			data[i], data[4+i] = byte(number>>(24-8*i)), byte(arch>>(24-8*i))
		}
		n, err := vm.Run(data)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	denied := uint32(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS))
	for _, table := range tables {
		for _, n := range table.number {
			if got := ask(table.arch, n); got != denied {
				t.Errorf("arch %#x call %d: %#x", table.arch, n, got)
			}
			if got := ask(table.arch, n|x32Bit); got != denied {
				t.Errorf("arch %#x x32 call %d: %#x", table.arch, n, got)
			}
		}
		for _, n := range []uint32{0, 1, table.number[0] - 1, table.number[2] + 1, 1 << 20} {
			if got := ask(table.arch, n); got != unix.SECCOMP_RET_ALLOW {
				t.Errorf("arch %#x call %d: %#x", table.arch, n, got)
			}
		}
	}
	if got := ask(1, nativeKeyCalls[0]); got != unix.SECCOMP_RET_ALLOW {
		t.Errorf("an unknown table: %#x", got)
	}
}
