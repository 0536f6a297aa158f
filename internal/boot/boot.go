// Package boot is the inside of a container: what PID 1 does between its clone
// and the payload's execve. It links neither storage nor network code and is
// meant to be audited in one sitting.
//
// Order, each step with its reason beside it:
//
//	attach the root file system · host name, lo, sysctls · mounts · /dev ·
//	masks · read-only root · pivot_root · terminal · user, command, workdir ·
//	Ready … Exec · keyring, Landlock, limits · seccomp · capabilities, ids · execve
//
// Everything before pivot_root resolves paths with openat2(RESOLVE_IN_ROOT)
// against a descriptor of the new root: the image may hold any symbolic link.
// No process of the container runs yet, but a shared volume or a joined
// container may change files under our feet.
package boot

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
)

// box is the container as far as it is built.
type box struct {
	cfg   *start.InitConfig
	files map[string]*os.File // received descriptors by name
	root  *os.File            // the mounted root file system
	pty   *os.File            // master end, once made
	who   identity
	exe   string // resolved path of the command, inside

	nullPlaced bool // "dev-null" is attached: a detached mount cannot be cloned
}

// Main runs as the container's first process; conv is the conversation with the
// shim. It returns only on failure, after telling the shim, or as the reaper of
// --init, with the payload's exit code.
func Main(conv *stage.Conn) int {
	// Credentials, keyring and filters belong to one thread: the one that execs.
	runtime.LockOSThread()
	b, err := receive(conv)
	if err == nil {
		err = b.build()
	}
	if err == nil {
		err = b.ready(conv)
	}
	if err == nil {
		var code int
		if code, err = b.enter(conv); err == nil {
			return code
		}
	}
	_ = conv.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)})
	return hint.ExitCode(err)
}

func receive(conv *stage.Conn) (*box, error) {
	var m start.Message
	files, err := conv.Recv(&m)
	if err != nil {
		return nil, fmt.Errorf("receive the configuration: %w", err)
	}
	var order start.Order
	if err := order.Next(start.Shim, m.Kind); err != nil || m.Kind != start.KindInit || len(files) != len(m.Files) {
		return nil, fmt.Errorf("receive the configuration: unexpected message %q with %d files: %v", m.Kind, len(files), err)
	}
	b := &box{cfg: new(start.InitConfig), files: map[string]*os.File{}}
	for i, name := range m.Files {
		b.files[name] = files[i]
	}
	trace.Join(b.files["trace"], trace.Init)
	delete(b.files, "trace")
	defer trace.Begin("decode the configuration").End()
	if err := stage.Unseal(b.files["config"], b.cfg); err != nil {
		return nil, err
	}
	if without := b.cfg.Inside.Without; without != "" {
		_ = os.Setenv("RC_TEST_WITHOUT", without)
	}
	return b, nil
}

// build makes everything that can be made before the caller says Start.
func (b *box) build() error {
	steps := []func() error{
		newCgroupNamespace, b.attachRoot, b.identifyHost, b.mountAll, b.writeSysctls,
		b.maskPaths, b.prepareMachineID, b.sealRoot, b.pivot, b.openTerminal,
		b.resolveUser, b.enterWorkdir, b.findCommand,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// newCgroupNamespace comes here and not with the clone: its root is the cgroup
// that we stand in now (cgroup_namespaces(7)), and where clone3 cannot place a
// child into a cgroup, the shim has moved us since.
func newCgroupNamespace() error {
	defer trace.Begin("cgroup namespace").End()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return hint.New("make the cgroup namespace", err, "")
	}
	return nil
}

// attachRoot puts the detached root file system on an existing folder of our own
// mount namespace. First everything inherited is cut from the host's peer
// groups: pivot_root(2) refuses a shared parent, and nothing that we mount may
// travel out.
func (b *box) attachRoot() error {
	defer trace.Begin("attach the root file system").End()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return hint.New("make the mount namespace private", err, "")
	}
	b.root = b.files["rootfs"]
	at, err := openAnchor()
	if err != nil {
		return err
	}
	defer unix.Close(at)
	if err := unix.MoveMount(int(b.root.Fd()), "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH); err != nil {
		return hint.New("attach the root file system", hint.Errno(err), "")
	}
	return nil
}

// openAnchor finds a folder to mount on. What it holds is covered in our own
// mount namespace only, and every path that the container needs of the host is
// open by now. It must be one that everybody may enter: with --userns=auto this
// process has no right in the user's folders.
func openAnchor() (int, error) {
	var last error
	for _, dir := range []string{"/tmp", "/var", "/usr", "/etc"} {
		fd, err := linux.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil {
			return fd, nil
		}
		last = err
	}
	return -1, hint.New("find a folder to attach the root file system to", last, "the host must have a /tmp")
}

func (b *box) identifyHost() error {
	defer trace.Begin("host name, lo").End()
	if b.cfg.Inside.OwnUTS {
		if err := unix.Sethostname([]byte(b.cfg.Spec.Hostname)); err != nil {
			return hint.New(fmt.Sprintf("set the host name %q", b.cfg.Spec.Hostname), err, "use a shorter --hostname (64 bytes at most)")
		}
		if d := b.cfg.Spec.Domainname; d != "" {
			if err := unix.Setdomainname([]byte(d)); err != nil {
				return hint.New(fmt.Sprintf("set the domain name %q", d), err, "")
			}
		}
	}
	if b.cfg.Inside.OwnNet {
		if err := linux.LoopbackUp(); err != nil {
			return hint.New("set up the network namespace", err, "")
		}
	}
	return nil
}

// writeSysctls runs after /proc is mounted and before it is masked.
func (b *box) writeSysctls() error {
	defer trace.Begin("sysctls").End()
	for key, value := range b.cfg.Spec.Linux.Sysctl {
		path := "/proc/sys/" + strings.ReplaceAll(key, ".", "/")
		f, err := linux.OpenInRoot(int(b.root.Fd()), path, unix.O_WRONLY|unix.O_NOFOLLOW, 0)
		if err == nil {
			_, err = f.WriteString(value)
			_ = f.Close()
		}
		if errors.Is(err, unix.EROFS) && everybodys(key, value) {
			continue // inside a container, with --pid=host: that /proc is the outer one's
		}
		if err != nil {
			return hint.New(fmt.Sprintf("set --sysctl %s=%s", key, value), hint.Errno(err), "check the name and value with `sysctl` on the host; only namespaced settings can be set")
		}
	}
	return nil
}

// everybodys are the two settings that each container has and nobody typed: without
// them its users do not ping, and only its root listens below 1024.
func everybodys(key, value string) bool {
	return key == "net.ipv4.ip_unprivileged_port_start" && value == "0" || key == "net.ipv4.ping_group_range" && strings.HasPrefix(value, "0 ")
}

// sealRoot makes the root itself read-only, not what is mounted below it.
func (b *box) sealRoot() error {
	defer trace.Begin("read-only root").End()
	if b.cfg.Spec.Root == nil || !b.cfg.Spec.Root.Readonly {
		return nil
	}
	if err := linux.SetMountAttr(b.root, unix.MOUNT_ATTR_RDONLY, 0, false); err != nil {
		return hint.New("make the root file system read-only", err, "")
	}
	return nil
}

// pivot leaves the host's tree. pivot_root(".", ".") stacks the old root over
// the new one and the unmount drops it (pivot_root(2), NOTES): no folder for the
// old root is needed in the image.
func (b *box) pivot() error {
	defer trace.Begin("pivot_root").End()
	if err := unix.Fchdir(int(b.root.Fd())); err != nil {
		return hint.New("enter the root file system", err, "")
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return hint.New("pivot_root", err, "")
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return hint.New("leave the host's file system", err, "")
	}
	if err := unix.Chdir("/"); err != nil {
		return hint.New("enter /", err, "")
	}
	return nil
}

// ready reports that the container is built and waits for the order to run.
func (b *box) ready(conv *stage.Conn) error {
	defer trace.Wait("Ready sent, until Exec").End()
	m := start.Message{Kind: start.KindReady}
	var files []*os.File
	if b.pty != nil {
		m.Files, files = []string{"terminal"}, []*os.File{b.pty}
	}
	if err := conv.Send(&m, files...); err != nil {
		return fmt.Errorf("report ready: %w", err)
	}
	if b.pty != nil {
		_ = b.pty.Close() // the payload must not hold its own terminal's master
	}
	var reply start.Message
	extra, err := conv.Recv(&reply)
	stage.CloseFiles(extra)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the start was called off")
	case err != nil:
		return fmt.Errorf("wait for the order to run: %w", err)
	case reply.Kind != start.KindExec:
		return fmt.Errorf("unexpected message %q", reply.Kind)
	}
	return nil
}
