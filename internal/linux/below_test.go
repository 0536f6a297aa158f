package linux

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func peer(t *testing.T, pid int) Peer {
	t.Helper()
	f, err := OpenPidfd(pid)
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return Peer{PID: pid, UID: os.Getuid(), PidFD: f}
}

// sandboxed starts a process in a user namespace below ours.
func sandboxed(t *testing.T, maps []syscall.SysProcIDMap) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER, UidMappings: maps}
	if err := cmd.Start(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// Run once as the keeper stands, in a user namespace, and once outside of one.
func TestPeerBelow(t *testing.T) {
	inside := os.Getenv(insideVariable) != ""
	// Started by root, with one id, ours and a sandbox's map read the same.
	own, _ := os.ReadFile("/proc/self/uid_map")
	f := strings.Fields(string(own))
	clear := inside && len(f) == 3 && f[1] != "0"
	if peer(t, os.Getpid()).Below() {
		t.Error("we are below ourselves")
	}
	if inside && peer(t, os.Getppid()).Below() {
		t.Error("who started us is taken for a container")
	}
	for name, maps := range map[string][]syscall.SysProcIDMap{
		"mapped": {{HostID: os.Getuid(), Size: 1}}, "elsewhere": {{ContainerID: 7, HostID: os.Getuid(), Size: 1}}, "unmapped": nil,
	} {
		pid := sandboxed(t, maps)
		if !peer(t, pid).Below() {
			t.Errorf("%s: a sandbox is not seen to be below", name)
		}
		// What is asked of who made itself unreadable.
		if !idsBelow(pid) && inside {
			t.Errorf("%s: the ids of a sandbox are not ours", name)
		}
		ids, err := ReadFile(fmt.Sprintf("/proc/%d/uid_map", pid))
		must(t, err)
		if sameIDs(ids) && clear {
			t.Errorf("%s: a sandbox's map reads as ours does", name)
		}
	}
	if clear && idsBelow(os.Getppid()) {
		t.Error("the host's ids are taken for ours")
	}
	if !inside {
		again(t, unix.CLONE_NEWUSER)
	}
}

func TestPeerBelowWhenGone(t *testing.T) {
	cmd := sleeper(t)
	p := peer(t, cmd.Process.Pid)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if !p.Below() || !(Peer{PID: os.Getpid()}).Below() {
		t.Error("a peer that is gone was trusted")
	}
}
