package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The floor does what its row says: a command in namespaces and mounts of its own, its
// exit code, and nothing left.
func TestFloor(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skipf("needs a static busybox: %v", err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "floor")
	if out, err := exec.Command("cc", "-O2", "-static", "-Wall", "-Wextra", "-Werror", "-o", program, "floor/floor.c").CombinedOutput(); err != nil {
		t.Skipf("needs a C compiler: %v\n%s", err, out)
	}
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "dev", "etc", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/busybox"), text, 0o755); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, "store")
	script := "hostname; cat /etc/hosts; wc -l </proc/self/mountinfo; echo $$; exit 3"
	out, err := exec.Command(program, store, root, "/bin/busybox", "sh", "-c", script).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		if strings.Contains(string(out), "not permitted") {
			t.Skipf("needs user namespaces and overlay in them: %s", out)
		}
		t.Fatalf("%v\n%s", err, out)
	}
	words := strings.Fields(string(out))
	if len(words) != 4 || words[0] != "floor" || words[1] != "floor" || words[2] < "20" || words[3] != "1" {
		t.Errorf("host name, hosts, mounts, pid: %q", words)
	}
	if left, err := os.ReadDir(store); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
