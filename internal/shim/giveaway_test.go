package shim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// giveOrder is what the role of these tests is told; it runs where the shim does,
// in U0, which alone has power over subordinate ids.
type giveOrder struct {
	Dir      string
	UID, GID int
	Mount    string // a file system is mounted there first
}

func init() { roles["test-give"] = roleGive }

func roleGive(conv *stage.Conn) int {
	var o giveOrder
	n, err := 0, sealedConfig(conv, &o)
	if err == nil && o.Mount != "" {
		err = unix.Mount("tmpfs", o.Mount, "tmpfs", 0, "size=64k")
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(o.Dir, unix.O_PATH, 0)
	}
	if err == nil {
		defer f.Close()
		n, err = giveTree(f, o.Dir, o.UID, o.GID)
	}
	m := &start.Message{Kind: start.KindReady, PID: n}
	if err != nil {
		m = &start.Message{Kind: start.KindFailed, Fail: start.Fail(err)}
	}
	_ = conv.Send(m)
	return 0
}

// give has the role do it: how many files changed, or the refusal.
func give(t *testing.T, o giveOrder) (int, string) {
	t.Helper()
	conn, _ := inU0(t, "test-give", &o, nil)
	var m start.Message
	_, err := conn.Recv(&m)
	must(t, err)
	if m.Fail != nil {
		return 0, m.Fail.Error().Error()
	}
	return m.PID, ""
}

func owner(t *testing.T, path string) uint32 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return st.Uid
}

func TestGiveTree(t *testing.T) {
	base := t.TempDir()
	must(t, os.Chmod(base, 0o755))
	dir, outside := filepath.Join(base, "tree"), filepath.Join(base, "outside")
	must(t, os.MkdirAll(dir+"/a/b", 0o755))
	must(t, os.WriteFile(dir+"/a/b/file", nil, 0o600))
	must(t, os.WriteFile(outside, nil, 0o600))
	must(t, os.Symlink(outside, dir+"/link"))
	must(t, unix.Mkfifo(dir+"/fifo", 0o600))
	me := owner(t, dir)
	if n, said := give(t, giveOrder{Dir: dir, UID: 1000, GID: 1000}); n != 6 || said != "" {
		t.Fatalf("%d %s", n, said)
	}
	t.Cleanup(func() { give(t, giveOrder{Dir: dir}) }) // for the test's own cleaning
	for _, path := range []string{"", "/a", "/a/b", "/link", "/fifo"} {
		if owner(t, dir+path) == me {
			t.Errorf("%s is still the caller's", path)
		}
	}
	if owner(t, outside) != me {
		t.Error("a link led out of the tree")
	}
	// The second time there is nothing to say, and back again.
	if n, said := give(t, giveOrder{Dir: dir, UID: 1000, GID: 1000}); n != 0 || said != "" {
		t.Errorf("%d %s", n, said)
	}
	if n, said := give(t, giveOrder{Dir: dir}); n != 6 || said != "" || owner(t, dir+"/a/b/file") != me {
		t.Errorf("%d %s", n, said)
	}
	// A single file can be given, too.
	if n, said := give(t, giveOrder{Dir: dir + "/a/b/file", UID: 7, GID: 0}); n != 1 || said != "" {
		t.Errorf("%d %s", n, said)
	}
	give(t, giveOrder{Dir: dir})
}

// The container's nobody has the number by which the kernel shows ids that U0 does
// not have: the one can be given away, the other is refused before anything changes.
func TestGiveTreeRefusesForeignFiles(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("to root no file is foreign")
	}
	if _, said := give(t, giveOrder{Dir: "/etc", UID: 5, GID: 5}); !strings.Contains(said, "/etc: its owner or its group is neither yours") {
		t.Errorf("%s", said)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/f", nil, 0o600))
	if n, said := give(t, giveOrder{Dir: dir + "/f", UID: 65534, GID: 65534}); n != 1 || said != "" {
		t.Skipf("U0 has no id 65534: %s", said)
	}
	if n, said := give(t, giveOrder{Dir: dir + "/f"}); n != 1 || said != "" {
		t.Errorf("a file of the container's nobody: %d %s", n, said)
	}
}

func TestGiveTreeLeavesOtherMounts(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/below", 0o755))
	_, said := give(t, giveOrder{Dir: dir, UID: 3, GID: 3, Mount: dir + "/below"})
	if !strings.Contains(said, "another file system is mounted there") {
		t.Errorf("%s", said)
	}
	if owner(t, dir) != uint32(os.Getuid()) {
		t.Error("something was changed before the refusal")
	}
}

func TestGiveTreeOfAnyDepth(t *testing.T) {
	dir := t.TempDir()
	deep := dir + strings.Repeat("/d", maxGiveDepth+1)
	must(t, os.MkdirAll(deep, 0o755))
	if _, said := give(t, giveOrder{Dir: dir, UID: 3, GID: 3}); !strings.Contains(said, "folders deep") {
		t.Errorf("%s", said)
	}
}

func TestGiveKeepsTheStore(t *testing.T) {
	base := t.TempDir()
	for _, d := range []string{"home/store", "run"} {
		must(t, os.MkdirAll(filepath.Join(base, d), 0o700))
	}
	must(t, os.Symlink(base+"/home", base+"/alias"))
	s := &shim{cfg: &start.Config{Root: base + "/alias/store", Runtime: base + "/run"}}
	for _, real := range []string{"/", base, base + "/home", base + "/home/store", base + "/run"} {
		if err := s.refuseGive("./x", real); err == nil || !strings.Contains(err.Error(), "must stay yours") {
			t.Errorf("%s: %v", real, err)
		}
	}
	for _, real := range []string{base + "/home/store/volumes/v", base + "/home/other", base + "/homes", "/usr"} {
		if err := s.refuseGive("./x", real); err != nil {
			t.Error(err)
		}
	}
}

func TestMeasure(t *testing.T) {
	root := t.TempDir()
	must(t, os.MkdirAll(root+"/volumes/v/_data", 0o700))
	must(t, os.WriteFile(root+"/volumes/v/_data/f", []byte("12345"), 0o600))
	got, err := measure(&start.MeasureConfig{Root: root, Paths: []string{"volumes/v/_data", "volumes/none/_data", "none/x"}})
	if err != nil || len(got) != 3 || got[0] != 5 || got[1] != 0 || got[2] != 0 {
		t.Errorf("%v %v", got, err)
	}
	for _, path := range []string{"/etc", "../x", ""} {
		if _, err := measure(&start.MeasureConfig{Root: root, Paths: []string{path}}); err == nil {
			t.Errorf("%q was measured", path)
		}
	}
}
