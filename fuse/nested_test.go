package fuse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const envRoot = "RC_FUSE_TEST_ROOT"

// playRole is the test binary as another process: a container that receives its
// root file system as descriptor 3, a set-uid program in it, or a shim.
func playRole(role string) int {
	var err error
	switch role {
	case "suid", "write", "device":
		err = container(role)
	case "report":
		fmt.Printf("%d %d", os.Geteuid(), os.Getegid())
	case "shim":
		err = shim()
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// container attaches descriptor 3 in its own mount namespace, makes it its root
// and acts there.
func container(act string) error {
	root := os.Getenv(envRoot)
	err := errors.Join(
		unix.MoveMount(3, "", unix.AT_FDCWD, root, unix.MOVE_MOUNT_F_EMPTY_PATH),
		os.Chdir(root), unix.PivotRoot(".", "."), unix.Unmount(".", unix.MNT_DETACH), os.Chdir("/"))
	if err != nil {
		return err
	}
	switch act {
	case "suid":
		// The caller dropped to uid 1000 by syscall on every thread; the set-uid
		// bit of /prog must bring 0 back.
		if err := errors.Join(syscall.Setgid(1000), syscall.Setuid(1000)); err != nil {
			return err
		}
		return syscall.Exec("/prog", []string{"/prog"}, []string{envRole + "=report"})
	case "device":
		// A device made inside would be the host's: neither may be possible.
		if err := unix.Mknod("/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err == nil {
			return errors.New("mknod of a device worked")
		}
		return nil
	}
	if err := os.WriteFile("/written", []byte("inside"), 0o640); err != nil {
		return err
	}
	return os.Chown("/written", 1000, 1000)
}

// shim mounts what its environment says and waits to be killed.
func shim() error {
	dir := os.Getenv(envRoot)
	m, err := Mount(Driver(os.Getenv("RC_FUSE_TEST_DRIVER")), Rootfs{
		Layers: strings.Split(os.Getenv("RC_FUSE_TEST_LAYERS"), ":"), Upper: dir + "/upper", Work: dir + "/work"})
	if err != nil {
		return err
	}
	pid := 0
	if m.Helper != nil {
		pid = m.Helper.PID
	}
	fmt.Println(pid)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// nested runs the test binary in a user and mount namespace below this one, as
// the shim runs a container.
func nested(t *testing.T, m *Mounted, role, root string) string {
	t.Helper()
	identity := []syscall.SysProcIDMap{{Size: 1}, {ContainerID: 1, HostID: 1, Size: 65535}}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{envRole + "=" + role, envRoot + "=" + root}
	cmd.ExtraFiles = []*os.File{m.FD}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		UidMappings: identity, GidMappings: identity, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", role, err, out)
	}
	return string(out)
}

func TestNestedContainer(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	forEachDriver(t, func(t *testing.T, d Driver) {
		l := newLayer(t, kernelFormat).file("prog", string(self)).mode("prog", 0o6755)
		b := newBox(t, d, l.dir)
		run := func(role string) string {
			m, err := Mount(d, b.Rootfs)
			must(t, err)
			out := nested(t, m, role, b.root)
			must(t, m.Close())
			if m.Helper != nil {
				if err := m.Helper.Wait(); err != nil {
					t.Errorf("after the container: %v", err)
				}
			}
			return out
		}
		if got := run("suid"); got != "0 0" {
			t.Errorf("the set-uid program ran as %q, want root", got)
		}
		run("device")
		run("write")
		if st := statFile(t, b.Upper+"/written"); st.Uid != 1000 || st.Gid != 1000 || st.Mode&0o777 != 0o640 {
			t.Errorf("written is %o of %d:%d on disk", st.Mode, st.Uid, st.Gid)
		}
	})
}

// startShim starts a process that mounts; the mount and its helper are the
// process's own, as in a real start.
func startShim(t *testing.T, d Driver, dir string, layers ...string) (*exec.Cmd, io.Reader) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), envRole+"=shim", envRoot+"="+dir,
		"RC_FUSE_TEST_DRIVER="+string(d), "RC_FUSE_TEST_LAYERS="+strings.Join(layers, ":"))
	_, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd, out
}

// dies says whether the process of pidfd ends within ten seconds.
func dies(pidfd int) bool {
	for range 100 {
		if n, _ := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 100); n == 1 {
			return true
		}
	}
	return false
}

func TestKilledShim(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).file("f", "").dir)
	cmd, out := startShim(t, FuseOverlayfs, b.root+"/..", b.Layers...)
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil || pid == 0 {
		t.Fatalf("helper %d, %v", pid, err)
	}
	helper, err := unix.PidfdOpen(pid, 0)
	must(t, err)
	defer unix.Close(helper)
	must(t, cmd.Process.Kill())
	if !dies(helper) {
		t.Fatal("the helper outlives a killed shim whose mount nobody took")
	}
	b.start() // and the next start works
}

func TestKilledHelper(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).file("f", "").dir).start()
	h := b.live.Helper
	must(t, unix.PidfdSendSignal(int(h.PidFD.Fd()), unix.SIGKILL, nil, 0))
	if !dies(int(h.PidFD.Fd())) {
		t.Fatal("its pidfd does not tell")
	}
	if err := h.Wait(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
		t.Errorf("Wait says %v", err)
	}
	if _, err := os.ReadFile(b.path("f")); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("a read from the dead mount says %v", err)
	}
	b.live.Helper = nil
	b.restart()
	b.read("f")
}

// TestHelperHoldsNothing looks at the helper's descriptors: none of the
// caller's, and no stdio.
func TestHelperHoldsNothing(t *testing.T) {
	needDriver(t, FuseOverlayfs)
	var pipe [2]int
	must(t, unix.Pipe(pipe[:])) // forgotten close-on-exec
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	leak, err := os.Readlink(fdPath(pipe[0]))
	must(t, err)
	b := newBox(t, FuseOverlayfs, newLayer(t, kernelFormat).file("f", "").dir).start()
	proc := fmt.Sprintf("/proc/%d", b.live.Helper.PID)
	fds, err := os.ReadDir(proc + "/fd")
	must(t, err)
	for _, fd := range fds {
		to, _ := os.Readlink(proc + "/fd/" + fd.Name())
		if to == leak {
			t.Errorf("fd %s is the caller's pipe", fd.Name())
		}
		if n := fd.Name(); (n == "0" || n == "1") && to != "/dev/null" || n == "2" && !strings.HasPrefix(to, "/memfd:") {
			t.Errorf("stdio %s is %s", n, to)
		}
	}
	env, err := os.ReadFile(proc + "/environ")
	must(t, err)
	if bytes.Count(env, []byte{0}) != 1 {
		t.Errorf("its environment is %q", env)
	}
	if cwd, _ := os.Readlink(proc + "/cwd"); cwd != "/" {
		t.Errorf("its folder is %s", cwd)
	}
}

// TestCopyKilled kills a copy at several moments; the next start must redo it.
func TestCopyKilled(t *testing.T) {
	needDriver(t, Copy)
	l := newLayer(t, kernelFormat)
	for i := range 800 {
		l.file(fmt.Sprintf("d%d/f%d", i%40, i), strings.Repeat("x", i))
	}
	partial := 0
	for _, ms := range []int{1, 10, 20, 40, 80} {
		b := newBox(t, Auto, l.dir)
		cmd, _ := startShim(t, Copy, b.root+"/..", l.dir)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		cmd.Process.Kill()
		cmd.Wait()
		if mark, _ := os.ReadFile(b.Upper + ".driver"); strings.TrimSpace(string(mark)) == markPartial {
			partial++
		}
		b.driver = Copy
		b.start()
		n := 0
		for i := range 800 {
			if st := b.stat(fmt.Sprintf("d%d/f%d", i%40, i)); st.Size == int64(i) {
				n++
			}
		}
		if n != 800 {
			t.Errorf("killed after %d ms: %d files", ms, n)
		}
		b.stop()
	}
	if partial == 0 {
		t.Log("no kill met a copy in the middle")
	}
}
