package cgroup

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A payload that manages its own groups: further processes are born beside them.
func TestRealExecLeaf(t *testing.T) {
	g := realGroup(t)
	for range 2 { // made, and found
		leaf, err := g.ExecFD()
		must(t, err)
		if flags, err := unix.FcntlInt(leaf.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_PATH == 0 {
			t.Errorf("flags %#x %v", flags, err)
		}
		cmd := exec.Command("sleep", "1000")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(leaf.Fd())}
		must(t, cmd.Start())
		text, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/cgroup")
		must(t, err)
		if !strings.Contains(string(text), "/payload/rc-exec\n") {
			t.Errorf("born in %s", text)
		}
		must(t, cmd.Process.Kill())
		_ = cmd.Wait()
		must(t, leaf.Close())
	}
}

// The payload decides what is in its group: nothing there leads out of it.
func TestExecLeafIsNoLink(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "rc-abc")
	must(t, os.MkdirAll(dir+"/payload", 0o755))
	must(t, os.Symlink("/tmp", dir+"/payload/rc-exec"))
	if f, err := Open(dir).ExecFD(); err == nil {
		t.Errorf("opened %s", f.Name())
	}
	if _, err := Open(filepath.Join(t.TempDir(), "rc-gone")).ExecFD(); err == nil {
		t.Error("a group that is gone has a leaf")
	}
}

// Give hands over what the kernel lists as safe, and no limit.
func TestGive(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files away")
	}
	dir := filepath.Join(t.TempDir(), "rc-abc")
	must(t, os.MkdirAll(dir+"/payload/below", 0o755))
	files := []string{procsFile, "cgroup.threads", controlFile, "memory.max", "cgroup.freeze", "cgroup.max.depth"}
	for _, name := range files {
		must(t, os.WriteFile(dir+"/payload/"+name, nil, 0o644))
	}
	must(t, Open(dir).Give(7, 8))
	for i, name := range append([]string{"."}, files...) {
		var st unix.Stat_t
		must(t, unix.Stat(dir+"/payload/"+name, &st))
		if given := st.Uid == 7 && st.Gid == 8; given != (i <= 3) {
			t.Errorf("%s belongs to %d:%d", name, st.Uid, st.Gid)
		}
	}
	var st unix.Stat_t
	must(t, unix.Stat(dir, &st))
	if st.Uid != 0 {
		t.Error("the group above was given away: its limits are there")
	}
	must(t, os.Remove(dir+"/payload/cgroup.threads")) // an older kernel
	must(t, Open(dir).Give(7, 8))
}
