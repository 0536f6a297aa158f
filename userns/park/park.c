// A process that has nothing to do but to wait does so here, before Go's runtime
// starts: what that takes to be there (stacks, arenas, threads, its data pages) is
// ten times what waiting takes. Raw system calls only, and nothing of its own outside
// the stack, as in nsjoin.c.
#define _GNU_SOURCE
#include "../nsjoin/sys.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>

#define PARK_MAGIC 0x316b7261702d6372ULL // "rc-park1"
#define PARK_FD 63
#define MAX_FDS 8

struct park_plan {
	uint64_t magic, mask;
	struct timespec limit;
	uint64_t nfd;
	struct pollfd fd[MAX_FDS + 1]; // one place is for the signal
	char path[4096]; // ends with the file, at its NUL
};
_Static_assert(offsetof(struct park_plan, path) == 40 + 8 * (MAX_FDS + 1), "same layout as park.planWire");

static void wait_parked(struct park_plan *p, char **argv, char **envp)
{
	const uint64_t awaited = 1ULL << (SIGUSR2 - 1) | 1ULL << (SIGTERM - 1);
	sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	sys(SYS_prctl, PR_SET_NAME, "rc-init", 0, 0, 0); // as main does
	sys(SYS_close, PARK_FD); // the next program is not to find it
	// SIGUSR2 is blocked since before the execve, so one that came meanwhile is
	// pending, although it is ignored (kernel/signal.c, sig_ignored): reading it by
	// a descriptor needs no handler and leaves no moment at which it is missed.
	// SIGTERM stays blocked, and pending for the next program, where p->mask says so.
	p->fd[p->nfd].fd = sys(SYS_signalfd4, -1, &awaited, sizeof awaited, SFD_CLOEXEC);
	p->fd[p->nfd].events = POLLIN;
	// One that the program before us took and could not obey any more was sent
	// because our socket is gone.
	if (sys(SYS_faccessat, AT_FDCWD, p->path, F_OK) == 0)
		while (sys(SYS_ppoll, p->fd, p->nfd + 1, &p->limit, NULL, 0) == -EINTR)
			; // the limit is what is left of it
	sys(SYS_rt_sigprocmask, SIG_SETMASK, &p->mask, NULL, sizeof p->mask);
	for (;;) { // as long as there is no memory for it: the container runs on
		struct timespec second = { 1, 0 };
		sys(SYS_execve, "/proc/self/exe", argv, envp);
		sys(SYS_ppoll, NULL, 0, &second, NULL, 0);
	}
}

// Not into the caller's frame, see nsjoin.c.
__attribute__((noinline)) static void park_sealed(char **argv, char **envp)
{
	struct park_plan p;
	long n = sys(SYS_pread64, PARK_FD, &p, sizeof p, 0);
	if (n > (long)offsetof(struct park_plan, path) && n < (long)sizeof p && p.magic == PARK_MAGIC && p.nfd <= MAX_FDS)
		wait_parked(&p, argv, envp);
}

// Whoever executes this program again blocks SIGTERM in the thread that does: it is
// pending from then on and not the end of a program that has no handler yet. Go's
// runtime unblocks it at its start, so it is taken here. 1 when there was one.
static int park_or_terminated(char **argv, char **envp)
{
	const uint64_t term = 1ULL << (SIGTERM - 1), others = ~term;
	const struct timespec now = { 0, 0 };
	if (is_sealed(PARK_FD))
		park_sealed(argv, envp);
	int taken = sys(SYS_rt_sigtimedwait, &term, NULL, &now, sizeof term) == SIGTERM;
	// What whoever started rc had blocked would be so in the container: Go's runtime
	// gives the mask that it finds on to what it executes.
	sys(SYS_rt_sigprocmask, SIG_UNBLOCK, &others, NULL, sizeof others);
	return taken;
}

#ifndef RC_BARE
int park_terminated;

// Constructors get the arguments of main: glibc's own, and what we are linked with.
__attribute__((constructor)) static void park(int argc, char **argv, char **envp)
{
	(void)argc;
	park_terminated = park_or_terminated(argv, envp);
}
#endif
