package boot

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// withDevices gives the box the host's device nodes, as the shim does.
func (b *box) withDevices(t *testing.T) {
	t.Helper()
	for _, name := range DeviceNodes {
		b.files["dev-"+name] = treeOf(t, "/dev/"+name)
	}
}

func TestPopulateDev(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	b.withDevices(t)
	b.cfg.Spec.Mounts = []specs.Mount{{Destination: "/dev", Type: "tmpfs", Options: []string{"nosuid", "mode=755"}}}
	must(t, b.mountAll())
	for _, name := range DeviceNodes {
		var here, host unix.Stat_t
		must(t, unix.Stat(root+"/dev/"+name, &here))
		must(t, unix.Stat("/dev/"+name, &host))
		if here.Rdev != host.Rdev || here.Mode&unix.S_IFMT != unix.S_IFCHR {
			t.Errorf("/dev/%s is %o %#x", name, here.Mode, here.Rdev)
		}
	}
	must(t, os.WriteFile(root+"/dev/null", []byte("gone"), 0))
	for link, want := range map[string]string{"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2", "ptmx": "pts/ptmx"} {
		if got, err := os.Readlink(root + "/dev/" + link); got != want {
			t.Errorf("/dev/%s is %q %v", link, got, err)
		}
	}
	entries, err := os.ReadDir(root + "/dev")
	must(t, err)
	if len(entries) != len(DeviceNodes)+len(devLinks) {
		t.Errorf("/dev holds %v", entries)
	}
	missing := newBox()
	missing.onTmpfs(t)
	missing.cfg.Spec.Mounts = b.cfg.Spec.Mounts
	wantErr(t, missing.mountAll(), nil, "make /dev/null: no descriptor came with it")
}

func TestMasks(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	b.withDevices(t)
	write(t, root, map[string]string{"secret/file": "text", "secret2/file": "text", "plain": "text", "lead": "-> /secret3", "secret3/f": "x",
		"ro/f": "text", "ro/sub/": "", "rofile": "text", "escape": "-> ../../../../etc"})
	must(t, unix.Mount("sub", root+"/ro/sub", "tmpfs", 0, ""))
	b.cfg.Spec.Linux.MaskedPaths = []string{"/secret", "/plain", "/missing", "/plain/below", "/secret2", "/lead"}
	b.cfg.Spec.Linux.ReadonlyPaths = []string{"/ro", "/rofile", "/missing", "/escape"}
	must(t, b.maskPaths())
	for _, dir := range []string{"/secret", "/secret2", "/secret3"} { // the last through a link
		if entries, err := os.ReadDir(root + dir); err != nil || len(entries) > 0 {
			t.Errorf("%s shows %v %v", dir, entries, err)
		}
		if err := os.WriteFile(root+dir+"/x", nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing into %s: %v", dir, err)
		}
	}
	if text, err := os.ReadFile(root + "/plain"); err != nil || len(text) > 0 {
		t.Errorf("a masked file reads %q %v", text, err)
	}
	for _, path := range []string{"/ro/f", "/ro/new", "/ro/sub/new", "/rofile"} {
		if err := os.WriteFile(root+path, nil, 0o600); !errors.Is(err, unix.EROFS) {
			t.Errorf("writing %s: %v", path, err)
		}
	}
	must(t, os.WriteFile(root+"/else", nil, 0o600))
	if flagsAt(t, "/etc")&unix.ST_RDONLY != 0 {
		t.Error("a link led the protection out of the root")
	}
}

func TestSealRoot(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	must(t, b.mountNew(&specs.Mount{Destination: "/tmp", Type: "tmpfs"}))
	must(t, b.sealRoot()) // not asked for
	must(t, os.WriteFile(root+"/f", nil, 0o600))
	b.cfg.Spec.Root = &specs.Root{Readonly: true}
	b.root = treeOf(t, root)
	must(t, b.sealRoot())
	at := openPath(t, t.TempDir())
	must(t, unix.MoveMount(int(b.root.Fd()), "", int(at.Fd()), "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	defer func() { must(t, unix.Unmount(at.Name(), unix.MNT_DETACH)) }()
	if err := os.WriteFile(at.Name()+"/f", nil, 0o600); !errors.Is(err, unix.EROFS) {
		t.Errorf("root: %v", err)
	}
	must(t, os.WriteFile(at.Name()+"/tmp/f", nil, 0o600)) // what is mounted below stays writable
}

// attachRoot and pivot: afterwards the old tree is out of reach, by path, by
// "..", and by /proc/self/mountinfo.
func TestPivotLeavesNothingOfTheHost(t *testing.T) {
	if !again(t, append([]string{"--pid", "--fork"}, ownKernel...)...) {
		return
	}
	b := newBox()
	dir := t.TempDir()
	must(t, unix.Mount("image", dir, "tmpfs", 0, "mode=755"))
	write(t, dir, map[string]string{"proc/": "", "marker": "x"})
	b.files["rootfs"] = treeOf(t, dir)
	must(t, b.attachRoot())
	if err := b.mountNew(&specs.Mount{Destination: "/proc", Type: "proc"}); errors.Is(err, unix.EPERM) {
		t.Skipf("something covers a part of this host's /proc: %v", err)
	} else {
		must(t, err)
	}
	must(t, b.pivot())
	if wd, err := unix.Getwd(); err != nil || wd != "/" {
		t.Errorf("%q %v", wd, err)
	}
	for _, path := range []string{"/marker", "/../marker", "/../../../marker"} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if n := strings.Count(string(mounts), "\n"); n != 2 {
		t.Errorf("%d mounts are left:\n%s", n, mounts)
	}
	if _, err := os.Stat("/usr"); err == nil {
		t.Error("the host's /usr is in sight")
	}
	leave(t)
}

func TestIdentifyHost(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	b := newBox()
	b.cfg.Inside.OwnUTS = true
	b.cfg.Spec.Hostname, b.cfg.Spec.Domainname = strings.Repeat("h", 64), "example"
	must(t, b.identifyHost())
	var u unix.Utsname
	must(t, unix.Uname(&u))
	if got := unix.ByteSliceToString(u.Nodename[:]); got != b.cfg.Spec.Hostname {
		t.Errorf("host name %q", got)
	}
	if got := unix.ByteSliceToString(u.Domainname[:]); got != "example" {
		t.Errorf("domain name %q", got)
	}
	b.cfg.Spec.Hostname += "h"
	wantErr(t, b.identifyHost(), unix.EINVAL, "use a shorter --hostname")
	b.cfg.Inside.OwnUTS = false // the host's stays as it is
	b.cfg.Inside.OwnNet = true
	must(t, b.identifyHost())
	if flags, err := os.ReadFile("/sys/class/net/lo/flags"); err == nil && !strings.HasSuffix(strings.TrimSpace(string(flags)), "9") {
		t.Logf("lo as sysfs sees it: %s", flags) // of the mounter's namespace: no evidence
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, err)
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Errorf("lo is down: %v", err)
	}
}

func TestSysctls(t *testing.T) {
	if !again(t, append([]string{"--pid", "--fork"}, ownKernel...)...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	if err := b.mountNew(&specs.Mount{Destination: "/proc", Type: "proc"}); errors.Is(err, unix.EPERM) {
		t.Skipf("something covers a part of this host's /proc: %v", err)
	} else {
		must(t, err)
	}
	b.cfg.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "9000"}
	must(t, b.writeSysctls())
	if text, _ := os.ReadFile(root + "/proc/sys/net/ipv4/ip_unprivileged_port_start"); string(text) != "77\n" {
		t.Errorf("%q", text)
	}
	for key, value := range map[string]string{"net.no.such": "1", "net.ipv4.ip_forward": "many", "kernel.hostname/../../x": "y"} {
		b.cfg.Spec.Linux.Sysctl = map[string]string{key: value}
		wantErr(t, b.writeSysctls(), nil, "set --sysctl "+key+"="+value)
	}
	// In a container whose engine has made it read-only.
	must(t, unix.Mount(root+"/proc/sys", root+"/proc/sys", "", unix.MS_BIND, ""))
	must(t, unix.Mount("", root+"/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	b.cfg.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 65535"}
	must(t, b.writeSysctls())
	b.cfg.Spec.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "80"}
	wantErr(t, b.writeSysctls(), unix.EROFS, "set --sysctl net.ipv4.ip_unprivileged_port_start=80")
}

func TestTerminal(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	b := newBox()
	root := b.onTmpfs(t)
	b.withDevices(t)
	b.cfg.Spec.Mounts = []specs.Mount{{Destination: "/dev", Type: "tmpfs", Options: []string{"mode=755"}},
		{Destination: "/dev/pts", Type: "devpts", Options: []string{"newinstance", "ptmxmode=0666", "mode=0620"}}}
	must(t, b.mountAll())
	must(t, unix.Chroot(root))
	out, err := unix.Dup(1) // the terminal takes 0, 1 and 2
	must(t, err)
	report := os.NewFile(uintptr(out), "report")
	b.cfg.Spec.Process.Terminal = true
	b.cfg.Inside.Rows, b.cfg.Inside.Cols = 33, 77
	if err := b.openTerminal(); err != nil {
		report.WriteString("--- FAIL: " + err.Error() + "\n")
		os.Exit(1)
	}
	complain := func(s string) { report.WriteString("--- FAIL: " + s + "\n"); os.Exit(1) }
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	if err != nil || size.Row != 33 || size.Col != 77 {
		complain("wrong size")
	}
	var console, slave unix.Stat_t
	if unix.Stat("/dev/console", &console) != nil || unix.Fstat(0, &slave) != nil || console.Rdev != slave.Rdev || console.Mode&unix.S_IFMT != unix.S_IFCHR {
		complain("/dev/console is not the terminal")
	}
	if _, err := b.pty.WriteString("typed\n"); err != nil {
		complain(err.Error())
	}
	buf := make([]byte, 20)
	if n, err := os.Stdin.Read(buf); err != nil || string(buf[:n]) != "typed\n" {
		complain("what is typed does not arrive")
	}
	leave(t)
}
