#include "textflag.h"

#define SYS_prctl 157
#define SYS_prlimit64 302
#define PR_SET_TIMERSLACK 29
#define RLIMIT_NOFILE 7
#define SLACK 1000000 // nanoseconds

// RLIMIT_NOFILE, soft and hard: as it was before Go started (0, 0 where nobody touched
// it), and while Go starts, with the hard one of the first.
GLOBL limit<>(SB), NOPTR, $16
DATA few<>+0(SB)/8, $3
GLOBL few<>(SB), NOPTR, $16

// How late timers may be when Go has started, in nanoseconds; 0: as late as they might
// when this program was executed (prctl(2), PR_SET_TIMERSLACK).
GLOBL slack<>(SB), NOPTR, $8

// rc_patient is where the kernel enters rc (go tool link -E, in the Makefile).
TEXT rc_patient(SB),NOSPLIT|NOFRAME,$0
	XORL BX, BX
	JMP  rc_patient_then(SB)

// rc_patient_then goes on into Go's runtime, with BX as the slack to give back. The
// kernel leaves RCX and R11 spoilt, which it has left to chance already; the stack is as
// Go's runtime wants it. Whatever is refused here is done without.
TEXT rc_patient_then(SB),NOSPLIT|NOFRAME,$0
	MOVQ BX, slack<>(SB)
	MOVQ $SYS_prctl, AX
	MOVQ $PR_SET_TIMERSLACK, DI
	MOVQ $SLACK, SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	SYSCALL
	// prlimit64(0, RLIMIT_NOFILE, NULL, &limit)
	MOVQ $SYS_prlimit64, AX
	XORQ DI, DI
	MOVQ $RLIMIT_NOFILE, SI
	LEAQ limit<>(SB), R10
	SYSCALL
	TESTQ AX, AX
	JNE  start
	CMPQ limit<>(SB), $3
	JLS  start
	// few[1] = limit[1]; prlimit64(0, RLIMIT_NOFILE, &few, NULL)
	MOVQ limit<>+8(SB), DX
	MOVQ DX, few<>+8(SB)
	MOVQ $SYS_prlimit64, AX
	LEAQ few<>(SB), DX
	XORQ R10, R10
	SYSCALL
start:
	XORQ DX, DX
	JMP  _rt0_amd64_linux(SB)

// func giveBack()
// prctl(PR_SET_TIMERSLACK, slack) and prlimit64(0, RLIMIT_NOFILE, &limit, NULL).
TEXT ·giveBack(SB),NOSPLIT,$0-0
	MOVQ $SYS_prctl, AX
	MOVQ $PR_SET_TIMERSLACK, DI
	MOVQ slack<>(SB), SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	SYSCALL
	CMPQ limit<>+8(SB), $0
	JEQ  none
	MOVQ $SYS_prlimit64, AX
	XORQ DI, DI
	MOVQ $RLIMIT_NOFILE, SI
	LEAQ limit<>(SB), DX
	XORQ R10, R10
	SYSCALL
none:
	RET

// func room()
// What it does is its frame: Go makes the stack large enough for that (patient_amd64.go).
TEXT ·room(SB),0,$24576-0
	RET
