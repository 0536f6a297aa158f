package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// The kernel's own answer to handing down controllers from a group with
// processes in it, by the one controller that a hybrid host leaves to version 2.

const helperVariable = "RC_CGROUP_TEST_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "" {
		os.Exit(m.Run())
	}
	if err := helper(os.Getenv(helperVariable)); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// helper is rc in a unit of its own: it finds its group and hands hugetlb down.
func helper(want string) error {
	s, err := Find()
	if err != nil {
		return err
	}
	if s.Path != want {
		// The subtree that a busy group forces to is the one above; insist on this one.
		s.Path, s.chain, s.within = want, append([]string{want}, s.chain...), true
	}
	shim, err := s.HostFD()
	if err != nil {
		return err
	}
	shim.Close()
	if !strings.HasSuffix(shim.Name(), "/rc-host") {
		return fmt.Errorf("the shim would be born in %s", shim.Name())
	}
	top, err := s.handDown([]string{"hugetlb"})
	if err != nil {
		return err
	}
	defer top.close()
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil || !strings.HasSuffix(string(text), "/rc-host\n") {
		return fmt.Errorf("stands in %s, %v", text, err)
	}
	g, err := s.Create("inner", Resources{})
	if err != nil {
		return err
	}
	if _, err := os.Stat(g.Path + "/hugetlb.2MB.max"); err != nil {
		return err
	}
	return g.Remove()
}

// unit makes a group beside the tests' and runs the helper in it, alone or not.
func unit(t *testing.T, name string, alone bool) (string, error) {
	t.Helper()
	s := real(t)
	if !strings.Contains(strings.Join(s.Controllers, " "), "hugetlb") {
		t.Skip("the hugetlb controller is not delegated; the rig does it: RIG_CONTROLLERS=hugetlb")
	}
	base := s.chain[len(s.chain)-1]
	if s.within && len(s.chain) == 1 || len(s.others(base)) > 0 {
		t.Skip("needs a subtree without processes of its own; the rig makes one: RIG_LEAF=tests")
	}
	path := filepath.Join(base, name)
	must(t, unix.Mkdir(path, 0o755))
	fd, err := os.Open(path)
	must(t, err)
	defer fd.Close()
	in := func(bin string, args ...string) *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
		return cmd
	}
	t.Cleanup(func() {
		d, err := openDir(path)
		must(t, err)
		defer d.close()
		must(t, d.write(killFile, "1"))
		_, err = d.waitEmpty(removeWait)
		must(t, err)
		must(t, d.walk(func(*dir) error { return nil }, (*dir).rmdir))
		must(t, unix.Rmdir(path))
	})
	if !alone {
		other := in("sleep", "1000")
		must(t, other.Start())
		t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	}
	cmd := in(os.Args[0])
	cmd.Env = append(os.Environ(), helperVariable+"="+path)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestRealStepAside(t *testing.T) {
	out, err := unit(t, "alone", true)
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRealOthersInTheWay(t *testing.T) {
	out, err := unit(t, "shared", false)
	if err == nil {
		t.Fatalf("controllers were handed down beside a process: %s", out)
	}
	says(t, errors.New(strings.TrimSpace(out)), "apply a hugetlb limit", "shared cannot hand controllers down while processes stand in it", "device or resource busy", "/shell")
}
