//go:build !cgo

#include "textflag.h"

// rc_start is where the kernel enters rc-init (go tool link -E): the constructors
// first, then Go, both with the stack as the kernel made it. BX is the callee's to
// preserve; the stack is aligned by the ABI (3.4.1), and what the kernel left in DX
// (0, or a function for atexit) no static program looks at.
TEXT rc_start(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, DI
	LEAQ ·limit(SB), SI
	MOVQ SP, BX
	CALL entry_constructors(SB)
	MOVL AX, ·terminated(SB)
	MOVQ BX, SP
	JMP  _rt0_amd64_linux(SB)

// func giveBack(slack uintptr)
// prctl(PR_SET_TIMERSLACK, slack) and prlimit64(0, RLIMIT_NOFILE, &limit, NULL).
TEXT ·giveBack(SB),NOSPLIT,$0-8
	MOVQ $29, DI
	MOVQ slack+0(FP), SI
	XORL DX, DX
	XORL R10, R10
	XORL R8, R8
	MOVQ $157, AX
	SYSCALL
	CMPQ ·limit+8(SB), $0
	JEQ  none
	XORL DI, DI
	MOVQ $7, SI
	LEAQ ·limit(SB), DX
	XORL R10, R10
	MOVQ $302, AX
	SYSCALL
none:
	RET

// func room()
// What it does is its frame: Go makes the stack large enough for that (entry.go).
TEXT ·room(SB),0,$24576-0
	RET
