package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The kernel is the judge of what it boots; here GNU cpio is, where it is installed.
func TestCpio(t *testing.T) {
	var c cpio
	c.add("dir", 0o040755, nil)
	c.add("dir/odd", 0o100644, []byte("12345"))
	c.add("init", 0o100755, []byte("1234"))
	b := c.end()
	if len(b)%4 != 0 || !bytes.HasPrefix(b, []byte("070701")) {
		t.Errorf("%d bytes beginning with %q", len(b), b[:6])
	}
	if n := bytes.Count(b, []byte("070701")); n != 4 {
		t.Errorf("%d entries, want 3 and the trailer", n)
	}
	program, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("no cpio to read it with: " + err.Error())
	}
	cmd := exec.Command(program, "-i", "-t", "--quiet")
	cmd.Stdin = bytes.NewReader(b)
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "dir\ndir/odd\ninit\n" {
		t.Errorf("cpio lists %q, %v", out, err)
	}
}

func TestBaseFollowsItsInputs(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "tree")
	guest := filepath.Join(tree, "tests", "guest")
	if err := os.MkdirAll(guest, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(tree, "go.mod"), "module x\n")
	for _, name := range inputs {
		write(filepath.Join(guest, name), name)
	}
	t.Chdir(guest)
	t.Setenv("RC_GUEST_CACHE", "")
	first, err := find()
	if err != nil || filepath.Dir(first.dir) != filepath.Join(tree, "tests", ".cache", "guest") {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := find(); err != nil || *again != *first {
		t.Errorf("the same inputs gave %v, %v", again, err)
	}
	write(filepath.Join(guest, "packages"), "podman\n")
	t.Setenv("RC_GUEST_CACHE", "/elsewhere")
	second, err := find()
	if err != nil || filepath.Base(second.dir) == filepath.Base(first.dir) || filepath.Dir(second.dir) != "/elsewhere" {
		t.Errorf("other inputs gave %v, %v", second, err)
	}
	if second.exists() {
		t.Error("it exists")
	}
	t.Chdir("/")
	if _, err := find(); err == nil {
		t.Error("found a tree in /")
	}
}

// A QEMU that cannot start or ends at once is an error with what it said, not a wait.
func TestQEMUThatEnds(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "qemu")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho no such machine >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]string{script: "no such machine", dir + "/none": "start QEMU"} {
		t.Setenv("RC_GUEST_QEMU", program)
		g := &Guest{dir: dir, running: map[uint32]*running{}}
		begin := time.Now()
		err := g.power(context.Background(), nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || time.Since(begin) > 10*time.Second {
			t.Errorf("%s: %v after %s, want %q", program, err, time.Since(begin), want)
		}
	}
	// A guest that never says anything ends with its context.
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("RC_GUEST_QEMU", script)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g := &Guest{dir: dir, running: map[uint32]*running{}}
	if err := g.power(ctx, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a mute guest: %v", err)
	}
}

func TestDisks(t *testing.T) {
	if _, err := look("mke2fs"); err != nil {
		t.Skip("no mke2fs: install e2fsprogs")
	}
	dir := t.TempDir()
	disk := filepath.Join(dir, "d.ext4")
	if err := NewDisk(disk, 16); err != nil {
		t.Fatal(err)
	}
	if err := Check(disk); err != nil {
		t.Errorf("a new disk: %v", err)
	}
	from := filepath.Join(dir, "from")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := range 50 {
		if err := os.WriteFile(fmt.Sprintf("%s/%d", from, n), make([]byte, 1000*n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	share := filepath.Join(dir, "share.ext4")
	for range 2 { // the second replaces the first
		if err := writeShare(map[string]string{"a/b": from}, share); err != nil {
			t.Fatal(err)
		}
	}
	if err := Check(share); err != nil {
		t.Errorf("the disk of shared files: %v", err)
	}
	if err := writeShare(map[string]string{"x": dir + "/none"}, share); err == nil {
		t.Error("a file that does not exist was shared")
	}
	// A disk that is no disk any more.
	if err := os.WriteFile(disk, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Check(disk); err == nil {
		t.Error("a disk of zeros is sound")
	}
}
