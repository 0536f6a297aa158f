package transfer

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// mount puts an image's layers together as rc does.
func (w *world) mount(ref string) string {
	w.Helper()
	dir := w.TempDir()
	layers := w.image(ref).Layers
	if len(layers) == 1 {
		return layers[0]
	}
	// lowerdir is one page at most: relative names.
	base := filepath.Dir(layers[0])
	var short []string
	links := w.TempDir()
	for i, l := range layers {
		w.must(os.Symlink(l, filepath.Join(links, fmt.Sprint(i))))
		short = append(short, fmt.Sprint(i))
	}
	w.must(os.Chdir(links))
	defer func() { _ = os.Chdir(base) }()
	if err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, "userxattr,lowerdir="+strings.Join(short, ":")); err != nil {
		w.Skip("the kernel mounts no overlay here: ", err)
	}
	w.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// The same image, unpacked by podman and by us, is the same tree: every name,
// mode, owner, link, xattr, time and content.
func TestTreesAgreeWithPodman(t *testing.T) {
	w := newWorld(t)
	if _, err := exec.LookPath("podman"); err != nil {
		t.Skip("needs podman: ", err)
	}
	treecmp := filepath.Join(t.TempDir(), "treecmp")
	if out, err := exec.Command("go", "build", "-o", treecmp, "github.com/rc-containers/rc/tests/treecmp").CombinedOutput(); err != nil {
		if treecmp = os.Getenv("RC_TEST_TREECMP"); treecmp == "" {
			t.Skipf("needs go to build tests/treecmp, or RC_TEST_TREECMP: %v: %s", err, out)
		}
	}
	names := []string{"library/alpine", "test/app", "test/attributes", "test/whiteouts", "test/zstd", "test/plain", "test/docker", "test/multi", "evil/absolute", "test/layers128"}
	began := strconv.FormatInt(time.Now().Unix(), 10)
	addr := registry(t, names...)
	store := t.TempDir()
	t.Cleanup(func() { _ = unix.Unmount(store+"/root/overlay", unix.MNT_DETACH) })
	w.must(os.WriteFile(store+"/storage.conf", []byte(fmt.Sprintf("[storage]\ndriver = \"overlay\"\ngraphroot = %q\nrunroot = %q\n", store+"/root", store+"/run")), 0o600))
	podman := func(args ...string) string {
		cmd := exec.Command("podman", append([]string{"--root", store + "/root", "--runroot", store + "/run", "--storage-driver", "overlay", "--tmpdir", store + "/tmp", "--events-backend", "none"}, args...)...)
		cmd.Env = append(os.Environ(), "CONTAINERS_STORAGE_CONF="+store+"/storage.conf", "XDG_RUNTIME_DIR="+store, "_CONTAINERS_ROOTLESS_UID=1000")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("podman %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, name := range names {
		ref := addr + "/" + name
		w.must(w.pull(ref))
		podman("pull", "-q", "--tls-verify=false", ref)
		theirs := podman("image", "mount", ref)
		out, err := exec.Command(treecmp, "-since", began, theirs, w.mount(ref)).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		} else {
			t.Logf("%s: %s", name, out)
		}
		podman("image", "unmount", ref)
	}
}

// A layer's own marks for the kernel's overlay are gone from the disk.
func TestOverlayMarksOfALayer(t *testing.T) {
	w := newWorld(t)
	ref := registry(t, "evil/overlayxattr") + "/evil/overlayxattr"
	w.must(w.pull(ref))
	for _, dir := range w.image(ref).Layers {
		w.must(filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			list := make([]byte, 4096)
			if n, err := unix.Llistxattr(path, list); err == nil && strings.Contains(string(list[:n]), "user.overlay") {
				t.Errorf("%s has %q", path, list[:n])
			}
			return err
		}))
	}
}

// Where the file system holds no kernel marks, whiteouts stay .wh. files.
func TestFormatWithoutOverlayMarks(t *testing.T) {
	w := newWorld(t)
	t.Setenv("RC_TEST_STORE_FORMAT", record.FormatAufs)
	ref := registry(t, "test/whiteouts") + "/test/whiteouts"
	w.must(w.pull(ref))
	img := w.image(ref)
	if img.Format != record.FormatAufs {
		t.Errorf("format %q", img.Format)
	}
	for _, name := range []string{"w/.wh.gone", "w/opaque/.wh..wh..opq"} {
		if _, err := os.Lstat(filepath.Join(img.Layers[0], name)); err != nil {
			t.Error(err)
		}
	}
	t.Setenv("RC_TEST_STORE_FORMAT", "")
	w.must(w.rmi(false, ref))
	w.must(w.pull(ref)) // the store keeps to its format
	if w.image(ref).Format != record.FormatAufs {
		t.Error("the format changed")
	}
}

// With one id mapped, owners are kept in an xattr and nothing fails.
func TestSingleID(t *testing.T) {
	if os.Getenv("RC_TEST_SINGLE") == "" {
		newWorld(t) // skips without namespaces
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("unshare", "--map-root-user", "--mount", exe, "-test.run=^TestSingleID$", "-test.v")
		cmd.Env = append(os.Environ(), "RC_TEST_SINGLE=1", inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("in a namespace with one id: %v\n%s", err, out)
		}
		return
	}
	w := newWorld(t)
	addr := registry(t, "test/attributes", "evil/device", "test/whiteouts")
	for _, name := range []string{"test/attributes", "evil/device", "test/whiteouts"} {
		w.must(w.pull(addr + "/" + name))
	}
	img := w.image(addr + "/test/attributes")
	if !img.SingleID {
		t.Error("the record does not say single id")
	}
	value := make([]byte, 64)
	n, err := unix.Lgetxattr(filepath.Join(img.Layers[0], "a/owned"), "user.containers.override_stat", value)
	if err != nil || string(value[:n]) != "1234:4321:0640" {
		t.Errorf("the owner is recorded as %q, %v", value[:max(n, 0)], err)
	}
	w.must(w.rmi(true, addr+"/test/attributes"))
	w.clean()
}
