// The constructors of rc-init without a C library around them: glibc's start asks
// the processor some forty times what it can, which is a trap to the hypervisor
// each in a virtual machine, and cgo makes every thread of Go's with pthreads.
// Makefile compiles this one file to ../entry_linux_amd64.syso.
#define _GNU_SOURCE
#define RC_BARE
#define constructor unused // nobody walks .init_array here
#include "../../nsjoin/nsjoin.c"
#include "../../park/park.c"
#include <sys/resource.h>

// Go's monitor (runtime.sysmon) sleeps 20 microseconds at a time as long as a program
// works, and takes the processor from whoever is in a system call for longer: in a
// program that lives for milliseconds, on one processor, that is a wake-up in a dozen
// microseconds of work, and threads started for nothing. Its thread inherits from
// ours how late a timer may be (prctl(2), PR_SET_TIMERSLACK); main takes it back for
// itself, and so for what it executes (init in ../entry.go).
enum { SLACK = 1000000 }; // nanoseconds

// Go's start reads in /proc/self/mountinfo where the cgroup's quota of processors is,
// in order to choose a GOMAXPROCS that ours has in its environment (runtime.defaultGOMAXPROCSInit;
// no GODEBUG leaves that out). Where no descriptor is to be had it goes on without, after
// one system call instead of nine and the mounts of the host. Those below 3 may be
// opened: Go opens /dev/null there for streams that are closed (runtime.checkfds).
static void no_descriptors(struct rlimit *was)
{
	if (sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, was) < 0 || was->rlim_cur <= 3)
		return;
	struct rlimit few = { 3, was->rlim_max };
	sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &few, NULL);
}

// entry_constructors gets the stack as the kernel left it: argc, argv, NULL, envp
// (System V ABI, AMD64 supplement, 3.4.1). It returns what park.Terminated tells, and
// in limit what Go's first package gives back (init in ../entry.go).
__attribute__((section(".text.first"))) int entry_constructors(long *stack, struct rlimit *limit)
{
	char **argv = (char **)(stack + 1);
	nsjoin();
	sys(SYS_prctl, PR_SET_TIMERSLACK, SLACK, 0, 0, 0);
	int term = park_or_terminated(argv, argv + *stack + 1);
	no_descriptors(limit); // last: what waits or joins needs some
	return term;
}
