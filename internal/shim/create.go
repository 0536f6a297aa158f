package shim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/boot"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// initMessage gathers init's configuration and descriptors.
func (s *shim) initMessage() (*start.Message, []*os.File, error) {
	defer trace.Begin("open mounts and devices").End()
	if err := s.prepareBinds(); err != nil {
		return nil, nil, err
	}
	m := &start.Message{Kind: start.KindInit}
	var files []*os.File
	add := func(name string, f *os.File) {
		m.Files, files = append(m.Files, name), append(files, f)
	}
	add("rootfs", s.rootfs.FD)
	s.rootfs.FD = nil // init's now: closed with the list
	for i := range s.cfg.Spec.Mounts {
		mount := &s.cfg.Spec.Mounts[i]
		if mount.Type != "bind" {
			continue
		}
		f, real, err := s.openMount(i)
		if err != nil {
			return nil, files, err
		}
		if f, err = s.withoutCgroups(f, real, mount); err != nil {
			return nil, files, err
		}
		add("mount-"+strconv.Itoa(i), f)
		if err := s.hideRuntime(real, mount); err != nil {
			return nil, files, err
		}
	}
	if err := s.mountNotify(add); err != nil {
		return nil, files, err
	}
	for _, name := range boot.DeviceNodes {
		f, err := openDevice(name)
		if err != nil {
			return nil, files, err
		}
		add("dev-"+name, f)
	}
	if f := s.files["seccomp"]; f != nil { // a copy: the shim's own is for execs
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, files, hint.New("hand on the seccomp filter", err, "")
		}
		add("seccomp", os.NewFile(uintptr(fd), "seccomp"))
	}
	inside := s.cfg.Inside
	inside.System = s.cfg.Systemd != ""
	inside.Without, inside.Rows, inside.Cols = s.cfg.Without, s.cfg.Rows, s.cfg.Cols
	init := &start.InitConfig{Spec: s.cfg.Spec, Inside: inside}
	if f := trace.File(); f != nil {
		add("trace", f)
	}
	s.serviceConfig(init)
	config, err := stage.Seal("rc-init", init)
	if err != nil {
		return nil, files, err
	}
	add("config", config)
	return m, files, nil
}

// openMount clones the tree of a bind mount in the caller's view of the host, and
// says where it really lies, "" for nowhere of interest.
func (s *shim) openMount(i int) (tree *os.File, real string, err error) {
	mount := &s.cfg.Spec.Mounts[i]
	if i == s.cfg.ShmMount {
		tree, err = s.borrowShm()
		return tree, "", err
	}
	if s.overlaid(i) {
		return s.openOverlay(i)
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if slices.Contains(mount.Options, "rbind") {
		flags |= unix.AT_RECURSIVE
	}
	if tree, real, err = s.openSource(mount.Source, flags); err == nil {
		return tree, real, nil
	}
	source := mount.Source
	op, fix := "mount "+source, ""
	switch {
	case errors.Is(err, unix.EINVAL) && flags&unix.AT_RECURSIVE == 0:
		fix = "the folder has mounts below it that this user may not uncover: leave out bind-recursive=disabled"
	case errors.Is(err, unix.ENOENT):
		fix = "make it first"
	case errors.Is(err, unix.EACCES):
		fix = "you must be able to enter every folder on the path"
	}
	return nil, "", hint.New(op, hint.Errno(err), fix)
}

// openSource resolves a path as the caller would, except inside a volume: its
// content is a container's, whose links must not lead out of it. The path is
// resolved once: what is cloned is what real names, whoever changes a link then.
func (s *shim) openSource(source string, flags uint) (tree *os.File, real string, err error) {
	at, err := s.resolve(source)
	if err != nil {
		return nil, "", err
	}
	defer at.Close()
	if real, err = os.Readlink(linux.ProcFD(at)); err != nil {
		return nil, "", err
	}
	tree, err = linux.OpenTree(int(at.Fd()), "", flags|unix.AT_EMPTY_PATH)
	return tree, real, err
}

func (s *shim) resolve(source string) (*os.File, error) {
	rel, inside := strings.CutPrefix(source, s.store.Path("volumes")+"/")
	parts := strings.SplitN(rel, "/", 3) // NAME/_data/SUBPATH
	if !inside || len(parts) < 3 {
		// open_tree, not open: it mounts what autofs(5) has waiting there.
		return linux.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLOEXEC)
	}
	data, err := os.OpenFile(s.store.Path("volumes", parts[0], parts[1]), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	return linux.OpenInRoot(int(data.Fd()), parts[2], unix.O_PATH, 0)
}

// hideRuntime covers the folder of our sockets where a bind mount would show it:
// whoever reaches them commands the keeper and other containers. A container with
// CAP_SYS_ADMIN can take the cover off, and another path may lead there (a bind
// mount of the host's): the sockets' owners ask who connects, too (linux.Peer).
func (s *shim) hideRuntime(real string, mount *specs.Mount) error {
	if real == "" {
		return nil
	}
	if s.hidden == "" {
		var err error
		if s.hidden, err = filepath.EvalSymlinks(s.cfg.Runtime); err != nil {
			s.hidden = s.cfg.Runtime
		}
	}
	where := s.hidden
	if real == where || strings.HasPrefix(real, where+"/") {
		return hint.Newf("mount "+mount.Source, "mount something else: whoever has rc's sockets commands all of your containers",
			"it belongs to rc's runtime folder %s", where)
	}
	if rel, err := filepath.Rel(real, where); err == nil && filepath.IsLocal(rel) {
		s.cfg.Spec.Linux.MaskedPaths = append(s.cfg.Spec.Linux.MaskedPaths, filepath.Join(mount.Destination, rel))
	}
	return nil
}

// devNumbers are those of mem(4) and tty(4): a regular file at /dev/null of a
// badly set-up host must not become the container's.
var devNumbers = map[string]uint64{
	"null": unix.Mkdev(1, 3), "zero": unix.Mkdev(1, 5), "full": unix.Mkdev(1, 7),
	"random": unix.Mkdev(1, 8), "urandom": unix.Mkdev(1, 9), "tty": unix.Mkdev(5, 0),
}

func openDevice(name string) (*os.File, error) {
	f, err := linux.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, hint.New("open the host's /dev/"+name, hint.Errno(err), "the host must have the standard device nodes")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != devNumbers[name] {
		_ = f.Close()
		return nil, hint.Newf("open the host's /dev/"+name, "restore the host's device nodes", "it is not the device that it should be")
	}
	return f, nil
}
