// floor FOLDER ROOTFS COMMAND [ARG...]: what a start of rc asks of the kernel, and
// nothing else: its seven namespaces, its overlay, its mounts, its files, pivot_root and
// the command, and then all of it away again. Without a runtime, a configuration, a
// decision, a record that anybody reads, a log, a keeper or a seccomp profile; with one
// process less, and one user id instead of ranges. What a row of make bench says of rc
// less what it says of this is rc's own.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef FS_TOPDIR_FL
#define FS_TOPDIR_FL 0x00020000 // internal/record/spread.go says why
#endif

#define MUST(call) do { if ((call) < 0) { dprintf(2, "floor: %s: %s\n", #call, strerror(errno)); _exit(99); } } while (0)
#define NONE (MS_NOSUID | MS_NOEXEC | MS_NODEV)

static char **command, options[1024];
static int gate[2];

static void put(const char *path, const char *text, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);
	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void bind_on(const char *from, const char *to)
{
	int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	MUST(fd);
	close(fd);
	MUST(mount(from, to, NULL, MS_BIND, NULL));
}

static void devices(void)
{
	static const char *const names[] = { "null", "zero", "full", "tty", "random", "urandom" };
	static const char *const links[][2] = { { "/proc/self/fd", "dev/fd" }, { "/proc/self/fd/0", "dev/stdin" },
		{ "/proc/self/fd/1", "dev/stdout" }, { "/proc/self/fd/2", "dev/stderr" }, { "pts/ptmx", "dev/ptmx" } };
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char from[32], to[32];
		snprintf(from, sizeof from, "/dev/%s", names[i]);
		snprintf(to, sizeof to, "dev/%s", names[i]);
		bind_on(from, to);
	}
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		MUST(symlink(links[i][0], links[i][1]));
	MUST(mkdir("dev/pts", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", NONE, NULL));
	MUST(mkdir("dev/shm", 0755));
	MUST(mount("shm", "dev/shm", "tmpfs", NONE, "mode=1777,size=65536k"));
}

// What hosts lack of these is left out, as rc does.
static void cover(void)
{
	static const char *const folders[] = { "proc/acpi", "proc/scsi", "sys/firmware" };
	static const char *const files[] = { "proc/interrupts", "proc/keys", "proc/timer_list" };
	static const char *const fixed[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger" };
	for (size_t i = 0; i < 3; i++)
		(void)mount("tmpfs", folders[i], "tmpfs", MS_RDONLY, "size=0");
	for (size_t i = 0; i < 3; i++)
		(void)mount("/dev/null", files[i], NULL, MS_BIND, NULL);
	for (size_t i = 0; i < 5; i++)
		if (mount(fixed[i], fixed[i], NULL, MS_BIND | MS_REC, NULL) == 0)
			MUST(mount(NULL, fixed[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | NONE, NULL));
}

static int container(void *folder)
{
	char go;
	close(gate[1]);
	if (read(gate[0], &go, 1) != 1)
		_exit(98);
	MUST(setresgid(0, 0, 0));
	MUST(setresuid(0, 0, 0));
	MUST(mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(chdir(folder));
	MUST(mount("overlay", "root", "overlay", MS_NODEV, options));
	char *host = get_current_dir_name();
	MUST(chdir("root"));
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	MUST(ioctl(inet, SIOCSIFFLAGS, &lo));
	MUST(sethostname("floor", 5));
	MUST(mount("proc", "proc", "proc", NONE, NULL));
	devices();
	MUST(mount("sysfs", "sys", "sysfs", MS_RDONLY | NONE, NULL));
	MUST(mount("cgroup2", "sys/fs/cgroup", "cgroup2", MS_RDONLY | NONE, NULL));
	static const char *const files[] = { "hosts", "hostname", "resolv.conf" };
	for (int i = 0; i < 3; i++) {
		char from[512], to[32];
		snprintf(from, sizeof from, "%s/%s", host, files[i]);
		snprintf(to, sizeof to, "etc/%s", files[i]);
		bind_on(from, to);
	}
	cover();
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
	execve(command[0], command, (char *[]) { "PATH=/bin", NULL });
	_exit(97);
}

int main(int argc, char **argv)
{
	static const char *const files[] = { "hosts", "hostname", "resolv.conf", "container.json", "config.json", "state.json" };
	static const char *const folders[] = { "", "/upper", "/work", "/root" };
	static char stack[1 << 16] __attribute__((aligned(16)));
	char folder[256], path[320], map[32];
	if (argc < 4)
		return 125;
	command = argv + 3;
	if (mkdir(argv[1], 0700) == 0) {
		int flags = 0, fd = open(argv[1], O_RDONLY | O_CLOEXEC);
		if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
			flags |= FS_TOPDIR_FL;
			(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
		}
	}
	snprintf(folder, sizeof folder, "%s/%d", argv[1], getpid());
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s%s", folder, folders[i]);
		MUST(mkdir(path, 0755));
	}
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		put(path, "floor\n", O_CREAT | O_EXCL);
	}
	snprintf(options, sizeof options, "lowerdir=%s,upperdir=upper,workdir=work,userxattr,volatile", argv[2]);
	MUST(pipe2(gate, O_CLOEXEC));
	int pid = clone(container, stack + sizeof stack, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC |
		CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP | SIGCHLD, folder);
	MUST(pid);
	snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
	put(path, "deny", 0);
	snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
	snprintf(map, sizeof map, "0 %d 1", getgid());
	put(path, map, 0);
	snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
	snprintf(map, sizeof map, "0 %d 1", getuid());
	put(path, map, 0);
	MUST(write(gate[1], "", 1));
	int status;
	MUST(waitpid(pid, &status, 0));
	static const char *const away[] = { "/work/work/incompat/volatile/dirty", "/work/work/incompat/volatile", "/work/work/incompat",
		"/work/work", "/work", "/upper/etc/hosts", "/upper/etc/hostname", "/upper/etc/resolv.conf", "/upper/etc", "/upper", "/root" };
	for (int i = 3; i > 0; i--) { // overlay's own folders have no permissions at all
		snprintf(path, sizeof path, "%s%s", folder, away[i]);
		(void)chmod(path, 0700);
	}
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "%s/%s", folder, files[i]);
		MUST(unlink(path));
	}
	for (int i = 0; i < 11; i++) {
		snprintf(path, sizeof path, "%s%s", folder, away[i]);
		(void)remove(path);
	}
	MUST(rmdir(folder));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
