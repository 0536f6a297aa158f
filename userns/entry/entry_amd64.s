#include "textflag.h"

// How late a timer may be by default, in nanoseconds (kernel's init/init_task.c). Not
// what we came with: a thread of rc's that may be late has perhaps started us.
#define SLACK 50000

// rc_start is where the kernel enters rc-init (go tool link -E): the constructors
// first, then Go (internal/patient), both with the stack as the kernel made it. BX is
// the callee's to preserve; the stack is aligned by the ABI (3.4.1), and what the kernel
// left in DX (0, or a function for atexit) no static program looks at.
TEXT rc_start(SB),NOSPLIT|NOFRAME,$0
	MOVQ SP, DI
	MOVQ SP, BX
	CALL entry_constructors(SB)
	MOVL AX, ·terminated(SB)
	MOVQ BX, SP
	MOVQ $SLACK, BX
	JMP  rc_patient_then(SB)
