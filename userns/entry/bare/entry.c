// The constructors of rc-init without a C library around them: glibc's start asks
// the processor some forty times what it can, which is a trap to the hypervisor
// each in a virtual machine, and cgo makes every thread of Go's with pthreads.
// Makefile compiles this one file to ../entry_linux_amd64.syso.
#define _GNU_SOURCE
#define RC_BARE
#define constructor unused // nobody walks .init_array here
#include "../../nsjoin/nsjoin.c"
#include "../../park/park.c"

// entry_constructors gets the stack as the kernel left it: argc, argv, NULL, envp
// (System V ABI, AMD64 supplement, 3.4.1). It returns what park.Terminated tells.
__attribute__((section(".text.first"))) int entry_constructors(long *stack)
{
	char **argv = (char **)(stack + 1);
	nsjoin();
	return park_or_terminated(argv, argv + *stack + 1);
}
