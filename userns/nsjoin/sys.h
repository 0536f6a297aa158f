// sys() is a raw system call that returns what the kernel does: a negative errno on
// failure. With a C library it goes by syscall(2); without one (RC_BARE) there is no
// errno, since a process has no thread pointer yet.
#ifndef RC_SYS_H
#define RC_SYS_H
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RC_BARE

#define sys(...) ({ long sys_ret = syscall(__VA_ARGS__); sys_ret < 0 ? -(long)errno : sys_ret; })

#else

static inline long sys_six(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return ret;
}

// Missing arguments are 0.
#define sys(...) SYS_PADDED(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
#define SYS_PADDED(n, a, b, c, d, e, f, ...) \
	sys_six(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif

// is_sealed tells whether fd is a memory file that nobody can change any more, which
// is how a plan comes. Anything but a memory file gives EINVAL or EBADF.
static inline int is_sealed(int fd)
{
	const long all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	const long may = 0x30; // F_SEAL_FUTURE_WRITE, F_SEAL_EXEC
	return (sys(SYS_fcntl, fd, F_GET_SEALS) & ~may) == all;
}

#endif
