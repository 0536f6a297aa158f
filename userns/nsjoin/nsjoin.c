// The order of this file's nsjoin() is the order of userns.Plan. Raw system
// calls only: glibc's setresuid signals "all threads" under a lock, which
// deadlocks in a child of a raw clone, and its fork runs handlers.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAGIC 0x316e616c702d6372ULL // "rc-plan1"
#define INTO_CGROUP 0x200000000ULL
#define SEALS 0xf // F_SEAL_SEAL | SHRINK | GROW | WRITE
#define PLAN_FD 3

enum { DENY_SETGROUPS = 1, BECOME_ROOT = 2, SETSID = 4, NON_DUMPABLE = 8, FORK = 16, ORPHAN = 32 };

static struct plan {
	uint64_t magic, unshare, clone;
	uint32_t flags, njoin;
	int32_t report, cgroup;
	struct { int32_t fd, type; } join[12];
	uint32_t uid_len, gid_len;
	char uid_map[4096], gid_map[4096];
} p;
_Static_assert(sizeof p == 24 + 16 + 96 + 8 + 8192, "same layout as userns.planWire");

// What the parent reads; the numbers are named in userns/report.go.
enum { READY, NEED_MAPS, CLONED, SETNS, UNSHARE, OPEN_PROC, CLONE, SETGROUPS, GID_MAP, UID_MAP, SETGID, SETUID, NEWSID, DUMPABLE };

static int32_t child; // of clone3, as the intermediate sees it

static void report(int step, int err, int arg)
{
	int32_t msg[4] = { step, err, child, arg };
	if (syscall(SYS_write, p.report, msg, sizeof msg) != sizeof msg)
		syscall(SYS_exit_group, 125); // whoever started us is gone
}

static void must(long result, int step, int arg)
{
	if (result >= 0)
		return;
	report(step, errno, arg);
	syscall(SYS_exit_group, 125);
}

// Waits until the parent wrote our maps, or did what it wanted with our pid.
static void wait_for_parent(void)
{
	char go;
	long n;
	while ((n = syscall(SYS_read, p.report, &go, 1)) < 0 && errno == EINTR)
		;
	if (n != 1)
		syscall(SYS_exit_group, 125);
}

static void non_dumpable(void)
{
	if (p.flags & NON_DUMPABLE)
		must(syscall(SYS_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0), DUMPABLE, 0);
}

static void put(int proc, const char *name, const char *text, uint32_t len, int step)
{
	char path[32], digits[12], *to = path;
	int n = 0;
	for (int32_t v = child; v > 0; v /= 10)
		digits[n++] = '0' + v % 10;
	while (n > 0)
		*to++ = digits[--n];
	for (*to++ = '/'; (*to = *name); to++, name++)
		;
	int fd = syscall(SYS_openat, proc, path, O_WRONLY | O_CLOEXEC);
	must(fd, step, 0);
	must(syscall(SYS_write, fd, text, len), step, 0);
	syscall(SYS_close, fd);
}

// Returns in the child. The intermediate writes its maps, says its pid, and ends.
static void clone_child(int proc)
{
	// CLONE_PARENT: the child belongs to whoever called userns.Start, which
	// reaps it like any other. The exit signal is then inherited (clone(2)).
	uint64_t parent = p.flags & ORPHAN ? 0 : CLONE_PARENT;
	uint64_t args[11] = { p.clone | parent | (p.cgroup > 0 ? INTO_CGROUP : 0), [4] = parent ? 0 : SIGCHLD, [10] = p.cgroup };
	long pid = syscall(SYS_clone3, args, sizeof args);
	must(pid, CLONE, 0);
	if (pid == 0) {
		wait_for_parent();
		return;
	}
	child = pid;
	if (p.clone & CLONE_NEWUSER) {
		if (p.flags & DENY_SETGROUPS)
			put(proc, "setgroups", "deny", 4, SETGROUPS);
		put(proc, "gid_map", p.gid_map, p.gid_len, GID_MAP);
		put(proc, "uid_map", p.uid_map, p.uid_len, UID_MAP);
	}
	report(CLONED, 0, 0);
	syscall(SYS_exit_group, 0);
}

// A cgroup namespace comes after the clone into a cgroup: with nsdelegate nobody
// moves into or out of what lies outside of its own (ENOENT; cgroup-v2.rst).
static int late(uint32_t i) { return p.cgroup > 0 && p.join[i].type == CLONE_NEWCGROUP; }

static void join(int born)
{
	for (uint32_t i = 0; i < p.njoin; i++) {
		if (late(i) != born)
			continue;
		must(syscall(SYS_setns, p.join[i].fd, p.join[i].type), SETNS, p.join[i].type);
		syscall(SYS_close, p.join[i].fd);
	}
}

__attribute__((constructor)) static void nsjoin(void)
{
	int proc = -1;
	// Anything but a sealed memory file gives EINVAL or EBADF here.
	if ((syscall(SYS_fcntl, PLAN_FD, F_GET_SEALS) & ~0x30) != SEALS ||
	    syscall(SYS_pread64, PLAN_FD, &p, sizeof p, 0) != sizeof p || p.magic != MAGIC ||
	    p.njoin > 12 || p.uid_len > sizeof p.uid_map || p.gid_len > sizeof p.gid_map)
		return;
	// What the caller itself inherited without close-on-exec goes no further.
	if (syscall(SYS_close_range, p.report + 1, ~0U, 0) < 0) // an old seccomp filter
		for (int fd = p.report + 1; fd < 65536; fd++)
			syscall(SYS_close, fd);
	if (!((p.clone | p.unshare) & CLONE_NEWUSER))
		non_dumpable();
	else // before the joins: a joined mount namespace has another's /proc
		must(proc = syscall(SYS_openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), OPEN_PROC, 0);
	join(0);
	if (p.unshare)
		must(syscall(SYS_unshare, p.unshare), UNSHARE, 0);
	if (p.unshare & CLONE_NEWUSER) {
		report(NEED_MAPS, 0, 0);
		wait_for_parent();
	}
	if (p.flags & FORK)
		clone_child(proc);
	join(1);
	non_dumpable();
	if (p.flags & BECOME_ROOT) {
		must(syscall(SYS_setresgid, 0, 0, 0), SETGID, 0);
		must(syscall(SYS_setresuid, 0, 0, 0), SETUID, 0);
	}
	non_dumpable(); // again: other ids reset it to fs.suid_dumpable (prctl(2))
	if (p.flags & SETSID)
		must(syscall(SYS_setsid), NEWSID, 0);
	for (int fd = PLAN_FD + 1; fd < p.report; fd++)
		syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
	report(READY, 0, 0);
	syscall(SYS_close, proc);
	syscall(SYS_close, p.cgroup > 0 ? p.cgroup : -1);
	syscall(SYS_close, p.report);
	syscall(SYS_close, PLAN_FD);
}
