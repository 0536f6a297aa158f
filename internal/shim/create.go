package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/boot"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/userns"
)

// joinOrder is the order of setns(2): the user namespace first gives the rights
// over those that it owns.
var joinOrder = []struct {
	name string
	kind int
}{
	{"join-user", unix.CLONE_NEWUSER}, {"join-net", unix.CLONE_NEWNET}, {"join-ipc", unix.CLONE_NEWIPC},
	{"join-uts", unix.CLONE_NEWUTS}, {"join-pid", unix.CLONE_NEWPID},
}

// cloneInit makes the container's first process and sends it everything.
func (s *shim) cloneInit() error {
	message, files, err := s.initMessage()
	defer stage.CloseFiles(files)
	if err != nil {
		return err
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	s.conv = ours
	if err := ours.Send(message, files...); err != nil { // waits in the socket until init reads it
		return fmt.Errorf("send the configuration to the container's init: %w", err)
	}
	programs, err := protectedPrograms()
	if err != nil {
		return err
	}
	defer programs.Close()
	payload, err := s.streams.open(s.cfg.Spec.Process.Terminal, s.cfg.Inside.Stdin)
	if err != nil {
		return err
	}
	defer stage.CloseFiles(payload[:])
	p := &userns.Program{
		Path:  linux.ProcFD(programs) + "/rc-init",
		Args:  []string{"rc-boot", s.cfg.ID[:12]},
		Stdin: payload[0], Stdout: payload[1], Stderr: payload[2],
		Conn: theirs.File(), Setsid: true, Env: []string{"GOMAXPROCS=1"}, // the payload gets its own
	}
	s.plan(p)
	return s.spawn(p)
}

// plan says which namespaces are joined and which are new.
func (s *shim) plan(p *userns.Program) {
	p.Plan = userns.Plan{
		Clone: s.cfg.Clone, Fork: true, UIDMap: s.cfg.UIDMap, GIDMap: s.cfg.GIDMap,
		BecomeRoot: true, NonDumpable: true,
	}
	if len(s.cfg.UIDMap) == 1 && s.cfg.UIDMap[0].Size == 1 {
		p.Plan.DenySetgroups = true
	}
	add := func(f *os.File) int {
		p.Files = append(p.Files, f)
		return 4 + len(p.Files) // the first of Files is descriptor 5
	}
	for _, j := range joinOrder {
		if f := s.files[j.name]; f != nil {
			p.Plan.Join = append(p.Plan.Join, userns.Join{FD: add(f), Type: j.kind})
		}
	}
	if f := s.files["cgroup"]; f != nil && !linux.Without(linux.CloneIntoCgroup) {
		p.Plan.CgroupFD = add(f)
	}
}

// spawn starts init, into its cgroup at birth where the kernel allows, else by
// writing cgroup.procs before it goes on.
func (s *shim) spawn(p *userns.Program) error {
	move := func(pid int) error {
		if s.group == nil {
			return nil
		}
		return s.group.AddPayload(pid)
	}
	if p.Plan.CgroupFD == 0 {
		p.Prepare = move
	}
	proc, err := userns.Start(p)
	if err != nil && p.Plan.CgroupFD != 0 && cgroupRefused(err) {
		p.Plan.CgroupFD, p.Prepare = 0, move
		proc, err = userns.Start(p)
	}
	if err != nil {
		return err
	}
	s.init = proc
	s.undo.Push(s.killAll)
	began, _ := linux.StartTime(proc.PID)
	s.update(func(st *record.State) { st.PID, st.PIDStart = proc.PID, began })
	return nil
}

func cgroupRefused(err error) bool {
	for _, errno := range []error{unix.EACCES, unix.EBUSY, unix.EOPNOTSUPP, unix.EINVAL, unix.ENOSYS, unix.E2BIG} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// protectedPrograms is a read-only detached clone of the folder that holds
// rc-init: what runs from it cannot be overwritten through /proc/PID/exe
// (CVE-2019-5736).
func protectedPrograms() (*os.File, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	tree, err := linux.OpenTree(unix.AT_FDCWD, filepath.Dir(exe), unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return nil, hint.New("protect the runtime's programs", err, "")
	}
	if err := linux.SetMountAttr(tree, unix.MOUNT_ATTR_RDONLY, 0, true); err != nil {
		_ = tree.Close()
		return nil, hint.New("protect the runtime's programs", err, "")
	}
	return tree, nil
}

// initMessage gathers init's configuration and descriptors.
func (s *shim) initMessage() (*start.Message, []*os.File, error) {
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
		f, err := s.openMount(i)
		if err != nil {
			return nil, files, err
		}
		add("mount-"+strconv.Itoa(i), f)
		s.hideRuntime(f, mount.Source, mount.Destination)
	}
	for _, name := range boot.DeviceNodes {
		f, err := openDevice(name)
		if err != nil {
			return nil, files, err
		}
		add("dev-"+name, f)
	}
	if f := s.files["seccomp"]; f != nil {
		add("seccomp", f)
	}
	inside := s.cfg.Inside
	inside.Without, inside.Rows, inside.Cols = s.cfg.Without, s.cfg.Rows, s.cfg.Cols
	config, err := stage.Seal("rc-init", &start.InitConfig{Spec: s.cfg.Spec, Inside: inside})
	if err != nil {
		return nil, files, err
	}
	add("config", config)
	return m, files, nil
}

// openMount clones the tree of a bind mount in the caller's view of the host.
func (s *shim) openMount(i int) (*os.File, error) {
	mount := &s.cfg.Spec.Mounts[i]
	if i == s.cfg.ShmMount {
		return s.borrowShm()
	}
	flags := uint(unix.OPEN_TREE_CLONE | unix.OPEN_TREE_CLOEXEC)
	if slices.Contains(mount.Options, "rbind") {
		flags |= unix.AT_RECURSIVE
	}
	f, err := s.openSource(mount.Source, flags)
	if err == nil {
		return f, nil
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
	return nil, hint.New(op, unwrapErrno(err), fix)
}

// openSource resolves a path as the caller would, except inside a volume: its
// content is a container's, whose links must not lead out of it.
func (s *shim) openSource(source string, flags uint) (*os.File, error) {
	rel, inside := strings.CutPrefix(source, s.store.Path("volumes")+"/")
	parts := strings.SplitN(rel, "/", 3) // NAME/_data/SUBPATH
	if !inside || len(parts) < 3 {
		return linux.OpenTree(unix.AT_FDCWD, source, flags)
	}
	data, err := os.OpenFile(s.store.Path("volumes", parts[0], parts[1]), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	f, err := linux.OpenInRoot(int(data.Fd()), parts[2], unix.O_PATH, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return linux.OpenTree(int(f.Fd()), "", flags|unix.AT_EMPTY_PATH)
}

// hideRuntime covers the folder of our sockets where a bind mount would show it:
// whoever reaches them commands the keeper and other containers.
func (s *shim) hideRuntime(tree *os.File, source, dest string) {
	real, err := filepath.EvalSymlinks(source)
	if err != nil {
		return
	}
	for _, secret := range []string{s.cfg.Runtime} {
		where, err := filepath.EvalSymlinks(secret)
		if err != nil {
			where = secret
		}
		rel, err := filepath.Rel(real, where)
		if err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			s.cfg.Spec.Linux.MaskedPaths = append(s.cfg.Spec.Linux.MaskedPaths, filepath.Join(dest, rel))
		}
	}
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
		return nil, hint.New("open the host's /dev/"+name, unwrapErrno(err), "the host must have the standard device nodes")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != devNumbers[name] {
		_ = f.Close()
		return nil, hint.Newf("open the host's /dev/"+name, "restore the host's device nodes", "it is not the device that it should be")
	}
	return f, nil
}

func unwrapErrno(err error) error {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
