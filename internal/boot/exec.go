package boot

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// Exec runs as rc-exec: one more process in a container that runs already. The
// constructor has joined the container's namespaces, non-dumpable since before
// the first of them, so that nobody inside traces it, reads its memory or takes
// its descriptors (CVE-2016-9962); it was born in the payload's cgroup.
//
//	shim                         rc-exec
//	Init (config, seccomp)  ───►
//	                             terminal · user, workdir, command
//	                        ◄─── Ready (+terminal), of a terminal only
//	                             then as init: keyring, limits, seccomp, ids, execve
//	                        ◄─── end of file: it runs, or died: the wait status says
//	                        ◄─── Failed
//
// What init finds as the image made it, the payload may have changed by now:
// every file that is looked at here is hostile. It returns only on failure.
func Exec(conv *stage.Conn) int {
	runtime.LockOSThread()
	b, err := receiveExec(conv)
	steps := []func() error{
		b.newTerminal(conv), b.resolveUser, b.enterOldWorkdir, b.findCommand,
	}
	for _, step := range steps {
		if err == nil {
			err = step()
		}
	}
	if err == nil {
		_, err = b.enter(conv)
	}
	_ = conv.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)})
	return hint.ExitCode(err)
}

// receiveExec makes of an exec's configuration a container that is built.
func receiveExec(conv *stage.Conn) (*box, error) {
	b := &box{cfg: new(start.InitConfig), files: map[string]*os.File{}}
	var m start.Message
	files, err := conv.Recv(&m)
	if err != nil {
		return b, fmt.Errorf("receive the configuration: %w", err)
	}
	if m.Kind != start.KindInit || len(files) != len(m.Files) {
		return b, fmt.Errorf("receive the configuration: unexpected message %q with %d files", m.Kind, len(files))
	}
	for i, name := range m.Files {
		b.files[name] = files[i]
	}
	trace.Join(b.files["trace"], trace.Exec)
	delete(b.files, "trace")
	defer trace.Begin("decode the configuration").End()
	var c start.ExecConfig
	if b.files["config"] == nil {
		return b, errors.New("receive the configuration: it did not come")
	}
	if err := stage.Unseal(b.files["config"], &c); err != nil {
		return b, err
	}
	delete(b.files, "config")
	if c.Process == nil || c.Process.Capabilities == nil || len(c.Process.Args) == 0 {
		return b, hint.Newf("run a command in the container", "", "its configuration is not complete")
	}
	c.Inside.Init = false // of the container; an exec is nobody's reaper
	b.cfg.Inside = c.Inside
	b.cfg.Spec = &specs.Spec{Process: c.Process, Linux: &specs.Linux{}}
	if without := c.Inside.Without; without != "" {
		_ = os.Setenv("RC_TEST_WITHOUT", without)
	}
	if !c.Inside.Seccomp { // --privileged: the container's filter came with it
		delete(b.files, "seccomp")
	}
	return b, nil
}

// newTerminal makes the terminal in the container's devpts and gives its master
// to the shim before anything else can fail.
func (b *box) newTerminal(conv *stage.Conn) func() error {
	return func() error {
		if !b.cfg.Spec.Process.Terminal {
			return nil
		}
		master, err := b.openMaster()
		if err != nil {
			return err
		}
		defer master.Close()
		if err := connectPeer(master); err != nil {
			return err
		}
		return conv.Send(&start.Message{Kind: start.KindReady, Files: []string{"terminal"}}, master)
	}
}

// ptmxNumber is that of /dev/pts/ptmx (devices.txt of the kernel: TTYAUX_MAJOR 5,
// minor 2); devptsMagic that of its file system (linux/magic.h).
const devptsMagic = 0x1cd1

var ptmxNumber = unix.Mkdev(5, 2)

// openMaster checks what it opened: by now the payload may have mounted or linked
// another thing there, whose ioctls mean something else (CVE-2025-52565).
func (b *box) openMaster() (*os.File, error) {
	const op = "open a terminal in the container"
	master, err := os.OpenFile("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, hint.New(op, hint.Errno(err), "leave out -t, or leave /dev/pts to rc")
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	fd := int(master.Fd())
	err = errors.Join(unix.Fstat(fd, &st), unix.Fstatfs(fd, &fs))
	if err != nil || fs.Type != devptsMagic || st.Rdev != ptmxNumber || st.Mode&unix.S_IFMT != unix.S_IFCHR {
		_ = master.Close()
		return nil, hint.Newf(op, "leave out -t, or leave /dev/pts to rc", "/dev/pts/ptmx is not a terminal's")
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		_ = master.Close()
		return nil, hint.New("unlock the terminal", err, "")
	}
	if b.cfg.Inside.Rows > 0 {
		_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: b.cfg.Inside.Rows, Col: b.cfg.Inside.Cols})
	}
	return master, nil
}

// connectPeer opens the other end without a path (TIOCGPTPEER, ioctl_tty(2)).
func connectPeer(master *os.File) error {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, master.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return hint.New("open the terminal", errno, "")
	}
	slave := int(fd)
	defer unix.Close(slave)
	for std := range 3 {
		if err := unix.Dup3(slave, std, 0); err != nil {
			return hint.New("connect the terminal", err, "")
		}
	}
	return nil
}
