package seccomp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// shrink writes a program anew that decides the same with a third of the
// instructions. libseccomp compares with each number that a profile names, for each
// architecture: 1258 instructions for the default profile, which the kernel checks,
// converts and compiles at every start and every exec (bpf_prepare_filter in
// net/core/filter.c: 0.3 of 8 ms). But calls that are decided alike lie side by side.
//
// The program is run for every number at which its decision could change, once for
// each architecture that it asks about and once for all others; numbers between two
// of those are decided like the lower. What depends on arguments is copied, from the
// load of the first on. A program that does anything else than libseccomp's do comes
// back as it was.
func shrink(program []byte) []byte {
	old := make([]unix.SockFilter, len(program)/8)
	if binary.Read(bytes.NewReader(program), binary.NativeEndian, old) != nil {
		return program
	}
	w := &writer{old: old, copied: map[int]int{}, returns: map[uint32]int{}}
	short, err := w.write()
	if err != nil || len(short) >= len(old) {
		return program
	}
	var b bytes.Buffer
	if binary.Write(&b, binary.NativeEndian, short) != nil {
		return program
	}
	return b.Bytes()
}

// Instructions that libseccomp and prepend use (linux/bpf_common.h).
const (
	opLoad = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd  = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opJump = unix.BPF_JMP | unix.BPF_JA
	opEq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opGt   = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	opGe   = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opSet  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	opRet  = unix.BPF_RET | unix.BPF_K

	offNumber, offArch, offPointer = 0, 4, 8 // of struct seccomp_data (linux/seccomp.h)
)

var errForeign = errors.New("not a program like libseccomp's")

// outcome is what a program decides for one call: value, or what the code at the
// instruction pc decides, which looks at arguments.
type outcome struct {
	value uint32
	pc    int // 0: value counts; the first instruction loads no argument
}

// decide follows the program for a call as far as its arguments do not matter. seen,
// if not nil, hears what the architecture is compared with.
func decide(prog []unix.SockFilter, arch, nr uint32, seen func(uint32)) (outcome, error) {
	var a uint32
	isArch, known := false, false
	for pc := 0; pc < len(prog); pc++ {
		in := prog[pc]
		switch {
		case in.Code == opRet:
			return outcome{value: in.K}, nil
		case in.Code == opJump:
			pc += int(in.K)
		case in.Code == opLoad && in.K == offNumber:
			a, isArch, known = nr, false, true
		case in.Code == opLoad && in.K == offArch:
			a, isArch, known = arch, true, true
		case in.Code == opLoad && pc > 0:
			return outcome{pc: pc}, nil
		case !known || isArch && in.Code != opEq:
			return outcome{}, errForeign
		case in.Code == opEq || in.Code == opGt || in.Code == opGe:
			if isArch && seen != nil {
				seen(in.K)
			}
			if in.Code == opEq && a == in.K || in.Code == opGt && a > in.K || in.Code == opGe && a >= in.K {
				pc += int(in.Jt)
			} else {
				pc += int(in.Jf)
			}
		default:
			return outcome{}, errForeign
		}
	}
	return outcome{}, errForeign
}

// span is a range of numbers that are decided alike, up to the next one's first.
type span struct {
	first uint32
	outcome
}

// spans finds them for one architecture. changes are all numbers at which the
// decision could be another than for the number before.
func spans(prog []unix.SockFilter, arch uint32, changes []uint32, seen func(uint32)) ([]span, error) {
	var list []span
	for _, nr := range changes {
		o, err := decide(prog, arch, nr, seen)
		if err != nil {
			return nil, err
		}
		if len(list) == 0 || list[len(list)-1].outcome != o {
			list = append(list, span{nr, o})
		}
	}
	return list, nil
}

// changes of a program that compares a number only as decide allows.
func changes(prog []unix.SockFilter) []uint32 {
	list := []uint32{0}
	for _, in := range prog {
		switch in.Code {
		case opEq, opGt, opGe:
			if list = append(list, in.K); in.K != ^uint32(0) {
				list = append(list, in.K+1)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// writer makes a program from its end to its beginning: all jumps of a filter lead
// forward, so a target is there before the jump. A place is counted from the end.
type writer struct {
	old, code []unix.SockFilter // code is reversed
	copied    map[int]int       // where what begins at an instruction of old was copied to
	returns   map[uint32]int    // the latest return of a value
}

// write makes the program: the architecture's part is found, then the number's span.
func (w *writer) write() ([]unix.SockFilter, error) {
	at := changes(w.old)
	const other = 0 // no architecture's (linux/audit.h); compared with, it would only be one more
	arches := []uint32{other}
	var parts [][]span
	for i := 0; i < len(arches); i++ { // grows as more are heard of
		list, err := spans(w.old, arches[i], at, func(arch uint32) {
			if !slices.Contains(arches, arch) {
				arches = append(arches, arch)
			}
		})
		if err != nil {
			return nil, err
		}
		parts = append(parts, list)
	}
	places := make([]int, len(parts))
	for i := len(parts) - 1; i >= 0; i-- { // that of all others comes first
		var err error
		if places[i], err = w.part(parts[i]); err != nil {
			return nil, err
		}
	}
	next := places[0]
	for i := len(parts) - 1; i > 0; i-- {
		next = w.branch(unix.SockFilter{Code: opEq, K: arches[i]}, places[i], next)
	}
	w.before(unix.SockFilter{Code: opLoad, K: offArch}, next)
	slices.Reverse(w.code)
	return w.code, nil
}

func (w *writer) part(list []span) (int, error) {
	tree, err := w.tree(list)
	if err != nil || len(list) == 1 {
		return tree, err
	}
	return w.before(unix.SockFilter{Code: opLoad, K: offNumber}, tree), nil
}

// tree finds the span of a number in the accumulator, by halves.
func (w *writer) tree(list []span) (int, error) {
	if len(list) == 1 {
		if list[0].pc > 0 {
			return w.copy(list[0].pc)
		}
		return w.ret(list[0].value), nil
	}
	middle := len(list) / 2
	above, err := w.tree(list[middle:])
	if err != nil {
		return 0, err
	}
	below, err := w.tree(list[:middle])
	if err != nil {
		return 0, err
	}
	return w.branch(unix.SockFilter{Code: opGe, K: list[middle].first}, above, below), nil
}

// copy takes over what depends on arguments.
func (w *writer) copy(pc int) (int, error) {
	if place, ok := w.copied[pc]; ok {
		return place, nil
	}
	if pc >= len(w.old) {
		return 0, errForeign
	}
	in, place := w.old[pc], 0
	switch {
	case in.Code == opRet:
		place = w.ret(in.K)
	case in.Code == opJump:
		next, err := w.copy(pc + 1 + int(in.K))
		if err != nil {
			return 0, err
		}
		place = next
	case in.Code == opEq || in.Code == opGt || in.Code == opGe || in.Code == opSet:
		yes, err := w.copy(pc + 1 + int(in.Jt))
		if err != nil {
			return 0, err
		}
		no, err := w.copy(pc + 1 + int(in.Jf))
		if err != nil {
			return 0, err
		}
		place = w.branch(in, yes, no)
	case in.Code == opAnd || in.Code == opLoad && in.K >= offPointer:
		next, err := w.copy(pc + 1)
		if err != nil {
			return 0, err
		}
		place = w.before(in, next)
	default:
		return 0, errForeign
	}
	w.copied[pc] = place
	return place, nil
}

// near is how far a conditional jump may lead, with room for those between.
const near = 200

// ret is the place of a return, a new one where the last is far away.
func (w *writer) ret(value uint32) int {
	if place, ok := w.returns[value]; ok && len(w.code)-place < near {
		return place
	}
	w.returns[value] = w.emit(unix.SockFilter{Code: opRet, K: value})
	return w.returns[value]
}

// emit puts an instruction before all others and says where.
func (w *writer) emit(in unix.SockFilter) int {
	w.code = append(w.code, in)
	return len(w.code) - 1
}

// before emits an instruction after which next follows.
func (w *writer) before(in unix.SockFilter, next int) int {
	w.reach(next, 0)
	return w.emit(in)
}

// branch emits a conditional jump. A jump of 8 bits that is too short goes by a long one.
func (w *writer) branch(in unix.SockFilter, yes, no int) int {
	yes = w.reach(yes, 254) // one less: another long jump may come between
	no = w.reach(no, 255)
	in.Jt, in.Jf = uint8(len(w.code)-1-yes), uint8(len(w.code)-1-no)
	return w.emit(in)
}

// reach gives a place at most far instructions behind the next one emitted, from
// which it goes on at place.
func (w *writer) reach(place, far int) int {
	distance := len(w.code) - 1 - place
	if distance <= far {
		return place
	}
	return w.emit(unix.SockFilter{Code: opJump, K: uint32(distance)})
}
