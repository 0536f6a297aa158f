// The order of this file's nsjoin() is the order of userns.Plan. Raw system
// calls only: glibc's setresuid signals "all threads" under a lock, which
// deadlocks in a child of a raw clone, and its fork runs handlers.
//
// There is no datum of its own outside the stack: userns/entry compiles this file
// without a C library, too, for a linker that knows no relocations.
#define _GNU_SOURCE
#include "sys.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>

#define PLAN_MAGIC 0x316e616c702d6372ULL // "rc-plan1"
#define INTO_CGROUP 0x200000000ULL
#define PLAN_FD 3

enum { DENY_SETGROUPS = 1, BECOME_ROOT = 2, SETSID = 4, NON_DUMPABLE = 8, FORK = 16, ORPHAN = 32, PREPARE = 64 };

struct plan {
	uint64_t magic, unshare, clone;
	uint32_t flags, njoin;
	int32_t report, cgroup;
	struct { int32_t fd, type; } join[12];
	uint32_t uid_len, gid_len;
	char uid_map[4096], gid_map[4096];
	int32_t child, unused; // the child, as the intermediate sees it; 0 in the file
};
_Static_assert(sizeof(struct plan) == 24 + 16 + 96 + 8 + 8192 + 8, "same layout as userns.planWire");

// What the parent reads; the numbers are named in userns/report.go.
enum { READY, NEED_MAPS, CLONED, SETNS, UNSHARE, OPEN_PROC, CLONE, SETGROUPS, GID_MAP, UID_MAP, SETGID, SETUID, NEWSID, DUMPABLE, GATE };

static void report(const struct plan *p, int step, int err, int arg)
{
	int32_t msg[4] = { step, err, p->child, arg };
	if (sys(SYS_write, p->report, msg, sizeof msg) != sizeof msg)
		sys(SYS_exit_group, 125); // whoever started us is gone
}

static long must(const struct plan *p, long result, int step, int arg)
{
	if (result >= 0)
		return result;
	report(p, step, -result, arg);
	sys(SYS_exit_group, 125);
	return result;
}

// Waits for the parent, which writes our maps or does what it wants with our pid, or
// for the intermediate. The end of either is ours.
static void wait_for(int fd)
{
	char go;
	long n;
	while ((n = sys(SYS_read, fd, &go, 1)) == -EINTR)
		;
	if (n != 1)
		sys(SYS_exit_group, 125);
}

static void non_dumpable(const struct plan *p)
{
	if (p->flags & NON_DUMPABLE)
		must(p, sys(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), DUMPABLE, 0);
}

static void put(const struct plan *p, int proc, const char *name, const char *text, uint32_t len, int step)
{
	char path[32], digits[12], *to = path;
	int n = 0;
	for (int32_t v = p->child; v > 0; v /= 10)
		digits[n++] = '0' + v % 10;
	while (n > 0)
		*to++ = digits[--n];
	for (*to++ = '/'; (*to = *name); to++, name++)
		;
	int fd = must(p, sys(SYS_openat, proc, path, O_WRONLY | O_CLOEXEC), step, 0);
	must(p, sys(SYS_write, fd, text, len), step, 0);
	sys(SYS_close, fd);
}

// Returns in the child. The intermediate writes its maps, says its pid, and ends.
// The child waits for that, or, with PREPARE, for the parent.
static void clone_child(struct plan *p, int proc)
{
	int gate[2] = { -1, -1 };
	if (!(p->flags & PREPARE))
		must(p, sys(SYS_pipe2, gate, O_CLOEXEC), GATE, 0);
	// CLONE_PARENT: the child belongs to whoever called userns.Start, which
	// reaps it like any other. The exit signal is then inherited (clone(2)).
	uint64_t parent = p->flags & ORPHAN ? 0 : CLONE_PARENT;
	uint64_t args[11] = { p->clone | parent | (p->cgroup > 0 ? INTO_CGROUP : 0), [4] = parent ? 0 : SIGCHLD, [10] = p->cgroup };
	long pid = must(p, sys(SYS_clone3, args, sizeof args), CLONE, 0);
	if (pid == 0) {
		sys(SYS_close, gate[1]); // so that the intermediate's death is seen
		wait_for(p->flags & PREPARE ? p->report : gate[0]);
		sys(SYS_close, gate[0]);
		return;
	}
	p->child = pid;
	if (p->clone & CLONE_NEWUSER) {
		if (p->flags & DENY_SETGROUPS)
			put(p, proc, "setgroups", "deny", 4, SETGROUPS);
		put(p, proc, "gid_map", p->gid_map, p->gid_len, GID_MAP);
		put(p, proc, "uid_map", p->uid_map, p->uid_len, UID_MAP);
	}
	report(p, CLONED, 0, 0);
	sys(SYS_write, gate[1], "", 1); // after our report: the child's come later
	sys(SYS_exit_group, 0);
}

// A cgroup namespace comes after the clone into a cgroup: with nsdelegate nobody
// moves into or out of what lies outside of its own (ENOENT; cgroup-v2.rst).
static int late(const struct plan *p, uint32_t i) { return p->cgroup > 0 && p->join[i].type == CLONE_NEWCGROUP; }

static void join(const struct plan *p, int born)
{
	for (uint32_t i = 0; i < p->njoin; i++) {
		if (late(p, i) != born)
			continue;
		must(p, sys(SYS_setns, p->join[i].fd, p->join[i].type), SETNS, p->join[i].type);
		sys(SYS_close, p->join[i].fd);
	}
}

static void carry_out(struct plan *p)
{
	int proc = -1;
	// What the caller itself inherited without close-on-exec goes no further.
	if (sys(SYS_close_range, p->report + 1, ~0U, 0) < 0) // an old seccomp filter
		for (int fd = p->report + 1; fd < 65536; fd++)
			sys(SYS_close, fd);
	if (!((p->clone | p->unshare) & CLONE_NEWUSER))
		non_dumpable(p);
	else // before the joins: a joined mount namespace has another's /proc
		proc = must(p, sys(SYS_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), OPEN_PROC, 0);
	join(p, 0);
	if (p->unshare)
		must(p, sys(SYS_unshare, p->unshare), UNSHARE, 0);
	if (p->unshare & CLONE_NEWUSER) {
		report(p, NEED_MAPS, 0, 0);
		wait_for(p->report);
	}
	if (p->flags & FORK)
		clone_child(p, proc);
	join(p, 1);
	non_dumpable(p);
	if (p->flags & BECOME_ROOT) {
		must(p, sys(SYS_setresgid, 0, 0, 0), SETGID, 0);
		must(p, sys(SYS_setresuid, 0, 0, 0), SETUID, 0);
	}
	non_dumpable(p); // again: other ids reset it to fs.suid_dumpable (prctl(2))
	if (p->flags & SETSID)
		must(p, sys(SYS_setsid), NEWSID, 0);
	for (int fd = PLAN_FD + 1; fd < p->report; fd++)
		sys(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
	report(p, READY, 0, 0);
	sys(SYS_close, proc);
	sys(SYS_close, p->cgroup > 0 ? p->cgroup : -1);
	sys(SYS_close, p->report);
	sys(SYS_close, PLAN_FD);
}

// Not into the caller's frame: a start without a plan shall not touch three pages of
// stack for it.
__attribute__((noinline)) static void nsjoin_sealed(void)
{
	struct plan p;
	if (sys(SYS_pread64, PLAN_FD, &p, sizeof p, 0) == sizeof p && p.magic == PLAN_MAGIC &&
	    p.njoin <= 12 && p.uid_len <= sizeof p.uid_map && p.gid_len <= sizeof p.gid_map)
		carry_out(&p);
}

__attribute__((constructor)) static void nsjoin(void)
{
	if (is_sealed(PLAN_FD))
		nsjoin_sealed();
}
