package seccomp

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// interesting are arguments that some profile asks about, and their neighbours.
var interesting = []uint64{0, 1, 2, 8, 16, 39, 40, 41, 0x20000, 0x20008, 0xffffffff, 0x100000000, 0x1ffffffff,
	unix.CLONE_NEWUSER, unix.CLONE_NEWNS, unix.CLONE_NEWUSER | unix.CLONE_NEWNET, 0x7e020000, ^uint64(0), 1 << 63}

// same compares two programs for all calls that exist, on all architectures, with
// what lies beyond, and with such arguments in every place.
func same(t *testing.T, long, short []byte) {
	t.Helper()
	bad := 0
	before, after := machine(t, long), machine(t, short)
	try := func(arch, nr uint32, args ...uint64) {
		if bad > 5 {
			return
		}
		if a, b := before(arch, nr, args...), after(arch, nr, args...); a != b {
			bad++
			t.Errorf("arch %#x, call %#x %x: %#x, once %#x", arch, nr, args, b, a)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, arch := range []uint32{archX8664, archI386, archMIPS, 0, ^uint32(0)} {
		for nr := range uint32(700) {
			for _, n := range []uint32{nr, nr | x32Bit} {
				try(arch, n)
				for range 6 {
					args := make([]uint64, 6)
					for i := range args {
						args[i] = interesting[random.IntN(len(interesting))]
					}
					try(arch, n, args...)
				}
			}
		}
		for range 500 {
			try(arch, random.Uint32(), random.Uint64())
		}
		for _, nr := range []uint32{x32Bit - 1, ^uint32(0), 1 << 31} {
			try(arch, nr)
		}
	}
}

// The profiles of these tests, and Docker's for several sets of capabilities, decide
// as before, in less than half of the instructions where there were many.
func TestShrunkProgramsDecideTheSame(t *testing.T) {
	needAMD64(t)
	defer func(was func([]byte) []byte) { shorten = was }(shorten)
	var long []byte
	shorten = func(program []byte) []byte {
		long = program
		return shrink(program)
	}
	own := func(text string) []byte { return []byte(text) }
	for name, c := range map[string]struct {
		profile []byte
		caps    []string
	}{
		"default":         {nil, dockerCaps},
		"no capability":   {nil, nil},
		"many":            {nil, append([]string{"CAP_SYS_ADMIN", "CAP_BPF", "CAP_SYS_PTRACE", "CAP_SYS_MODULE"}, dockerCaps...)},
		"one call":        {own(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir"],"action":"SCMP_ACT_ERRNO"}]}`), nil},
		"masked argument": {own(`{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86"],"syscalls":[{"names":["clone","read","write"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["dup2"],"action":"SCMP_ACT_KILL"}]}`), nil},
		"ranges":          {own(`{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["personality","socket"],"action":"SCMP_ACT_ERRNO","errnoRet":7,"args":[{"index":0,"value":40,"op":"SCMP_CMP_GT"},{"index":1,"value":8,"op":"SCMP_CMP_LE"}]}]}`), nil},
	} {
		short, err := Compile(c.profile, c.caps)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d instructions, once %d", name, len(short)/8, len(long)/8)
		if len(long) > 8*1000 && len(short) > len(long)/2 {
			t.Errorf("%s: %d instructions are left of %d", name, len(short)/8, len(long)/8)
		}
		same(t, long, short)
	}
}

// What is not like libseccomp's comes back unchanged.
func TestForeignProgramsStay(t *testing.T) {
	load := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: opLoad, K: k} }
	ret := unix.SockFilter{Code: opRet, K: retAllow}
	for name, prog := range map[string][]unix.SockFilter{
		"an argument first":          {load(16), ret},
		"arithmetic on the number":   {load(offNumber), {Code: opAnd, K: 1}, {Code: opEq, K: 1, Jf: 1}, ret, {Code: opRet}},
		"bits of the number":         {load(offNumber), {Code: opSet, K: 1, Jf: 1}, ret, {Code: opRet}},
		"an order of architectures":  {load(offArch), {Code: opGt, K: archX8664, Jf: 1}, ret, {Code: opRet}},
		"the number after arguments": {load(offNumber), {Code: opEq, K: 3, Jt: 1}, ret, load(16), load(offNumber), ret, ret, ret, ret},
		"scratch memory":             {{Code: unix.BPF_ST}, ret},
		"no end":                     {load(offNumber)},
		"a jump out of it":           {load(offNumber), {Code: opJump, K: 1 << 31}, ret},
		"nothing":                    {},
	} {
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, prog); err != nil {
			t.Fatal(err)
		}
		if got := shrink(b.Bytes()); !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%s: became %d instructions of %d", name, len(got)/8, len(prog))
		}
	}
}

// Programs as libseccomp writes them, but of any numbers and sizes: long jumps, too.
func TestShrunkRandomPrograms(t *testing.T) {
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), 1))
	for range 30 {
		var prog []unix.SockFilter
		add := func(in ...unix.SockFilter) { prog = append(prog, in...) }
		add(unix.SockFilter{Code: opLoad, K: offArch}, unix.SockFilter{Code: opEq, K: archX8664, Jt: 1}, unix.SockFilter{Code: opRet},
			unix.SockFilter{Code: opLoad, K: offNumber})
		for range 1 + random.IntN(900) {
			nr := random.Uint32N(700)
			switch random.IntN(8) {
			case 0: // by an argument
				add(unix.SockFilter{Code: opEq, K: nr, Jf: 4}, unix.SockFilter{Code: opLoad, K: 16 + 4*random.Uint32N(12)},
					unix.SockFilter{Code: opEq, K: uint32(interesting[random.IntN(len(interesting))]), Jf: 1},
					unix.SockFilter{Code: opRet, K: retAllow}, unix.SockFilter{Code: opRet, K: retErrno | random.Uint32N(9)})
			default:
				add(unix.SockFilter{Code: opEq, K: nr, Jf: 1}, unix.SockFilter{Code: opRet, K: retErrno | random.Uint32N(9)})
			}
		}
		add(unix.SockFilter{Code: opRet, K: retAllow})
		var b bytes.Buffer
		if err := binary.Write(&b, binary.NativeEndian, prog); err != nil {
			t.Fatal(err)
		}
		short := shrink(b.Bytes())
		before, after := machine(t, b.Bytes()), machine(t, short)
		for range 2000 {
			arch, nr, arg := []uint32{archX8664, archI386}[random.IntN(2)], random.Uint32N(720), interesting[random.IntN(len(interesting))]
			if a, c := before(arch, nr, arg, arg, arg, arg, arg, arg), after(arch, nr, arg, arg, arg, arg, arg, arg); a != c {
				t.Fatalf("%d instructions of %d: call %d %#x: %#x, once %#x", len(short)/8, len(prog), nr, arg, c, a)
			}
		}
	}
}
