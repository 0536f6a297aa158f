package layers

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containers/storage"
	"github.com/containers/storage/pkg/reexec"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
)

// noNamespace says why the tests of the store do not run.
var noNamespace string

func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	if os.Getuid() != 0 {
		enter()
	}
	_ = os.Setenv("_CONTAINERS_USERNS_CONFIGURED", "done")
	_ = os.Setenv("CONTAINERS_STORAGE_CONF", "/dev/null")
	logrus.SetLevel(logrus.PanicLevel)
	os.Exit(m.Run())
}

// enter runs this program again where many ids are mapped, as rc-image runs:
// unpacking gives files to owners and makes a folder the root of a process.
func enter() {
	args := []string{"unshare", "--map-users=auto", "--map-groups=auto", "--map-root-user", "--mount"}
	if out, err := exec.Command(args[0], append(args[1:], "true")...).CombinedOutput(); err != nil {
		noNamespace = fmt.Sprintf("unshare with subordinate ids: %v: %s", err, out)
		return
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(path, append(args, os.Args...), os.Environ())
	}
	noNamespace = err.Error()
}

func openStore(t *testing.T) *Store {
	t.Helper()
	if noNamespace != "" {
		t.Skip("needs a user namespace with subordinate ids: ", noNamespace)
	}
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(t *testing.T, s *Store, parent string, in []byte) string {
	t.Helper()
	l, _, err := s.PutLayer("", parent, nil, "", false, &storage.LayerOptions{}, bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	return l.ID
}

func TestLayersAreFoldersAndComeBackAsTheyWere(t *testing.T) {
	s := openStore(t)
	lower := archiveOf(t, &tar.Header{Name: "d/", Typeflag: tar.TypeDir, Mode: 0o750}, &tar.Header{Name: "d/f", Size: 3000, Mode: 0o4711, Uid: 7})
	upper := archiveOf(t, &tar.Header{Name: "d/.wh.f"}, &tar.Header{Name: "d/.wh..wh..opq"},
		&tar.Header{Name: "x", Size: 10, PAXRecords: map[string]string{xattrPrefix + "user.overlay.redirect": "/d"}},
		&tar.Header{Name: "dev", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3})
	a := put(t, s, "", lower)
	b := put(t, s, a, upper)
	folders, err := s.Folders(b)
	if err != nil || len(folders) != 2 {
		t.Fatal(folders, err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(filepath.Join(folders[1], "d/f"), &st); err != nil || st.Mode&0o7777 != 0o4711 || st.Uid != 7 {
		t.Errorf("d/f: %o of %d, %v", st.Mode, st.Uid, err)
	}
	if err := unix.Lstat(filepath.Join(folders[0], "d/f"), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != 0 {
		t.Errorf("the whiteout: %o, %v", st.Mode, err)
	}
	if n, _ := unix.Lgetxattr(filepath.Join(folders[0], "x"), "user.overlay.redirect", nil); n > 0 {
		t.Error("the layer's own mark is on the disk")
	}
	for id, want := range map[string][]byte{a: lower, b: upper} {
		r, err := s.Diff("", id, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || sha256.Sum256(got) != sha256.Sum256(want) {
			t.Errorf("layer %.12s comes back as %d bytes, was %d: %v", id, len(got), len(want), err)
		}
		_ = r.Close()
	}
}

// A push reads files through links as the unpacking wrote through them: below
// the layer's folder and nowhere else.
func TestReadingALayerStaysInside(t *testing.T) {
	s := openStore(t)
	secret := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(secret, []byte("secret key"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(secret)[1:]
	evil := archiveOf(t, &tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755},
		&tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "/" + dir}, &tar.Header{Name: "a/id", Size: 10})
	id := put(t, s, "", evil)
	r, err := s.Diff("", id, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if bytes.Contains(got, []byte("secret key")) || !bytes.Equal(got, evil) {
		t.Errorf("the layer came back with a file of the host (%v)", err)
	}
}

func TestCollect(t *testing.T) {
	s := openStore(t)
	began := time.Now()
	shared := put(t, s, "", archiveOf(t, &tar.Header{Name: "shared"}))
	top := put(t, s, shared, archiveOf(t, &tar.Header{Name: "top"}))
	orphan := put(t, s, shared, archiveOf(t, &tar.Header{Name: "orphan"}))
	id := strings.Repeat("a", 64)
	if _, err := s.CreateImage(id, nil, top, "", nil); err != nil {
		t.Fatal(err)
	}
	exists := func(want ...string) {
		t.Helper()
		for _, l := range []string{shared, top, orphan} {
			if got := s.Exists(l); got != strings.Contains(strings.Join(want, " "), l) {
				t.Errorf("layer %.8s: there %v", l, got)
			}
		}
	}
	yes, no := func(string) bool { return true }, func(string) bool { return false }
	collect := func(has func(string) bool, since time.Time, want bool) {
		t.Helper()
		if did, err := s.Collect(has, since); err != nil || did != want {
			t.Errorf("Collect: %v %v", did, err)
		}
	}
	collect(yes, time.Time{}, true) // young orphans may belong to a pull that goes on
	exists(shared, top, orphan)
	collect(yes, time.Now().Add(time.Hour), true) // nothing was made since
	exists(shared, top, orphan)
	other, err := record.LockFile(filepath.Join(filepath.Dir(s.GraphRoot()), "storage/lock"), unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	collect(no, began, false) // somebody else is at work
	exists(shared, top, orphan)
	_ = other.Close()
	collect(yes, began, true)
	exists(shared, top)
	collect(no, time.Time{}, true)
	exists()
	if left, _ := os.ReadDir(filepath.Join(s.GraphRoot(), driverName, "dir")); len(left) > 0 {
		t.Error(fmt.Sprint("folders are left: ", left))
	}
}

func TestDamagedFormatIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte("squashfs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storeFormat(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}
