#include "textflag.h"

#define SYS_prctl 157
#define PR_SET_TIMERSLACK 29
#define SLACK 1000000 // nanoseconds

// rc_patient is where the kernel enters rc (go tool link -E, in the Makefile), so
// that Go's monitor, a thread that inherits this, may be late from its first sleep on
// (patient.go). The kernel leaves RCX and R11 spoilt, which it has left to chance
// already; the stack is as Go's runtime wants it.
TEXT rc_patient(SB),NOSPLIT|NOFRAME,$0
	MOVQ $SYS_prctl, AX
	MOVQ $PR_SET_TIMERSLACK, DI
	MOVQ $SLACK, SI
	XORQ DX, DX
	XORQ R10, R10
	XORQ R8, R8
	SYSCALL
	JMP  _rt0_amd64_linux(SB)
