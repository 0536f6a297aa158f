package boot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/trace"
)

// identity is who the payload runs as, in the container's ids.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// maxDatabase bounds what is read of the image's passwd and group files, bytes.
const maxDatabase = 16 << 20

// resolveUser looks the user up in the image's own files. It runs after
// pivot_root, so whatever /etc/passwd links to is inside the container.
func (b *box) resolveUser() error {
	defer trace.Begin("resolve the user").End()
	passwd, err := openDatabase("/etc/passwd")
	if err != nil {
		return err
	}
	group, err := openDatabase("/etc/group")
	if err != nil {
		return err
	}
	spec := b.cfg.Inside.Username
	if u := b.cfg.Spec.Process.User; spec == "" {
		spec = fmt.Sprintf("%d:%d", u.UID, u.GID)
	}
	found, err := user.GetExecUser(spec, &user.ExecUser{Home: "/"}, passwd, group)
	if err != nil {
		return hint.New(fmt.Sprintf("find user %q", spec), err, "name a user of the image's /etc/passwd, or give numbers: --user UID[:GID]")
	}
	b.who = identity{found.Uid, found.Gid, found.Sgids, found.Home}
	if b.who.home == "" { // an entry with the field left empty, as runc has it
		b.who.home = "/"
	}
	if len(b.cfg.Inside.Groups) > 0 {
		again, err := openDatabase("/etc/group")
		if err != nil {
			return err
		}
		more, err := user.GetAdditionalGroups(b.cfg.Inside.Groups, again)
		if err != nil {
			return hint.New("find --group-add "+strings.Join(b.cfg.Inside.Groups, ","), err, "name groups of the image's /etc/group, or give numbers")
		}
		b.who.groups = append(b.who.groups, more...)
	}
	return b.checkMapped()
}

// openDatabase reads a regular file; a missing one reads as empty. A FIFO or a
// device there must not hold us up, hence O_NONBLOCK and the type check. Raw calls: an
// os.File that does not block would set up Go's poller for one read.
func openDatabase(name string) (io.Reader, error) {
	fd, err := linux.Open(name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
			return bytes.NewReader(nil), nil
		}
		return nil, hint.New("read the image's "+name, err, "")
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return bytes.NewReader(nil), nil
	}
	data, err := linux.ReadAll(fd, int(min(st.Size, maxDatabase))+512, maxDatabase) // more than the size: it may be a file of /proc
	if err != nil {
		return nil, hint.New("read the image's "+name, err, "")
	}
	return bytes.NewReader(data), nil
}

// checkMapped refuses an id that this user namespace does not have, before
// setresuid answers EINVAL without a word.
func (b *box) checkMapped() error {
	lin := b.cfg.Spec.Linux
	if len(lin.UIDMappings) == 0 { // an exec has not been told: setresuid refuses what is not mapped
		return nil
	}
	uids, gids := 0, 0
	okUID, okGID := false, false
	for _, m := range lin.UIDMappings {
		uids += int(m.Size)
		okUID = okUID || inside(b.who.uid, m.ContainerID, m.Size)
	}
	for _, m := range lin.GIDMappings {
		gids += int(m.Size)
		okGID = okGID || inside(b.who.gid, m.ContainerID, m.Size)
	}
	fix := "use a lower id, or get a larger range: sudo usermod --add-subuids FIRST-LAST --add-subgids FIRST-LAST USER"
	if !okUID {
		return hint.Newf(fmt.Sprintf("become uid %d", b.who.uid), fix, "the container has %d user ids", uids)
	}
	if !okGID {
		return hint.Newf(fmt.Sprintf("become gid %d", b.who.gid), fix, "the container has %d group ids", gids)
	}
	return nil
}

func inside(id int, first, size uint32) bool {
	return id >= int(first) && id < int(first)+int(size)
}

// enterWorkdir makes the working directory if it is missing, as Docker does, and
// enters it. It stays entered across the execve.
func (b *box) enterWorkdir() error {
	defer trace.Begin("working folder").End()
	dir := b.workdir()
	err := unix.Chdir(dir)
	if errors.Is(err, unix.ENOENT) {
		if err = os.MkdirAll(dir, 0o755); err == nil {
			err = unix.Chdir(dir)
		}
	}
	if err != nil {
		return hint.New("enter the working directory "+dir, hint.Errno(err), "name a folder: --workdir DIR")
	}
	return checkWorkdir(dir)
}

// enterOldWorkdir is enterWorkdir of an exec, which makes none, with the exit
// codes of Docker: 127 for one that is not there, else 126.
func (b *box) enterOldWorkdir() error {
	dir := b.workdir()
	if err := unix.Chdir(dir); err != nil {
		e := hint.New("enter the working directory "+dir, err, "name a folder of the container: --workdir DIR")
		if e.Code = hint.ExitNotRunnable; err == unix.ENOENT {
			e.Code = hint.ExitNotFound
		}
		return e
	}
	return checkWorkdir(dir)
}

func (b *box) workdir() string {
	if dir := b.cfg.Spec.Process.Cwd; dir != "" {
		return dir
	}
	return "/"
}

// checkWorkdir refuses a descriptor of the host that slipped in and became the
// working directory (CVE-2024-21626): the kernel marks such a path.
func checkWorkdir(dir string) error {
	if wd, err := unix.Getwd(); err != nil || !path.IsAbs(wd) {
		return hint.Newf("enter the working directory "+dir, "", "it lies outside the container (%q, %v)", wd, err)
	}
	return nil
}

// findCommand resolves the command like execvp(3), before the container is
// reported as made, so that an unknown one is exit code 127 with nothing run.
func (b *box) findCommand() error {
	defer trace.Begin("find the command").End()
	p := b.cfg.Spec.Process
	b.setHome()
	name := p.Args[0]
	op := fmt.Sprintf("run %q", name)
	if strings.Contains(name, "/") {
		if err := checkCommand(name); err != nil {
			return commandError(op, err)
		}
		b.exe = name
		return nil
	}
	var denied error
	for dir := range strings.SplitSeq(envValue(p.Env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		candidate := path.Join(dir, name)
		if !path.IsAbs(candidate) {
			candidate = "./" + candidate
		}
		switch err := checkCommand(candidate); {
		case err == nil:
			b.exe = candidate
			return nil
		case errors.Is(err, unix.EACCES): // a folder (EISDIR) is no command at all, as for Docker
			denied = err
		}
	}
	if denied != nil {
		return commandError(op, denied)
	}
	return hint.New(op, errors.New("command not found in the image's PATH"), "check the name, or what the image holds").WithCode(hint.ExitNotFound)
}

// checkCommand needs the file to be regular and somebody's to execute; whether
// it is the payload's user's, execve says.
func checkCommand(name string) error {
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		return err
	}
	switch {
	case st.Mode&unix.S_IFMT == unix.S_IFDIR:
		return unix.EISDIR
	case st.Mode&unix.S_IFMT != unix.S_IFREG || st.Mode&0o111 == 0:
		return unix.EACCES
	}
	return nil
}

// commandError gives Docker's exit codes: 127 not found, 126 not runnable.
func commandError(op string, err error) error {
	e := hint.New(op, hint.Errno(err), "")
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ELOOP):
		e.Code, e.Fix = hint.ExitNotFound, "check the path, or the interpreter that the file names"
	case errors.Is(err, unix.ENOEXEC):
		e.Code, e.Fix = hint.ExitNotRunnable, "the file is no program for this machine, or a script without #!"
	case errors.Is(err, unix.E2BIG): // execve(2), "Limits on size of arguments and environment"
		e.Code, e.Fix = hint.ExitNotRunnable, "shorten them: one argument or variable holds 128 KiB, all together a quarter of --ulimit stack=BYTES"
	default:
		e.Code, e.Fix = hint.ExitNotRunnable, "the file must be a program that the container's user may execute"
	}
	return e
}

func (b *box) setHome() {
	p := b.cfg.Spec.Process
	if !b.cfg.Inside.HomeSet {
		p.Env = append(p.Env, "HOME="+b.who.home)
	}
}

func envValue(env []string, key string) string {
	value := ""
	for _, kv := range env {
		if k, v, _ := strings.Cut(kv, "="); k == key {
			value = v
		}
	}
	return value
}
