package shim

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/userns"
)

// The outline says of init's birth what the whole Config says.
func TestOutline(t *testing.T) {
	maps := []userns.IDMap{{Inside: 0, Outside: 0, Size: 1}, {Inside: 1, Outside: 1, Size: 65536}}
	whole := func() *start.Config {
		return &start.Config{Version: version.Version, ID: testID, Dir: "/d", Clone: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, UIDMap: maps, GIDMap: maps[:1],
			Cgroup: "/g", Inside: start.Inside{Stdin: true, Username: "nobody"}, Spec: boxSpec([]string{"true"}, maps, maps)}
	}
	for name, c := range map[string]struct {
		change func(*start.Config)
		early  bool
	}{
		"plain":                     {func(*start.Config) {}, true},
		"a terminal":                {func(c *start.Config) { c.Spec.Process.Terminal, c.Inside.Stdin = true, false }, true},
		"no cgroup":                 {func(c *start.Config) { c.Cgroup = "" }, true},
		"another build":             {func(c *start.Config) { c.Version += "x" }, false},
		"a missing feature":         {func(c *start.Config) { c.Without = "clone-into-cgroup" }, false},
		"a system container":        {func(c *start.Config) { c.Systemd = start.SystemdAlways }, false},
		"a unit":                    {func(c *start.Config) { c.Unit = &start.Unit{} }, false},
		"approximated limits":       {func(c *start.Config) { c.Again.Approx = &cgroup.Approximation{Nice: 3} }, false},
		"an id that is no id":       {func(c *start.Config) { c.ID = "short" }, false},
		"a string that is no UTF-8": {func(c *start.Config) { c.Spec.Process.Args = []string{"\xff"} }, false},
	} {
		cfg := whole()
		c.change(cfg)
		data, err := stage.Encode(cfg)
		must(t, err)
		var o outline
		if err := stage.Decode(data, &o); err != nil {
			if c.early {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		got, early := o.config()
		if early != c.early {
			t.Errorf("%s: %v", name, early)
		}
		if !early {
			continue
		}
		want := &start.Config{ID: cfg.ID, Clone: cfg.Clone, UIDMap: cfg.UIDMap, GIDMap: cfg.GIDMap, Cgroup: cfg.Cgroup,
			Inside: start.Inside{Stdin: cfg.Inside.Stdin}, Spec: &specs.Spec{Process: &specs.Process{Terminal: cfg.Spec.Process.Terminal}}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
		var ofOutline, ofWhole userns.Program // and what is made of it is the same
		(&shim{cfg: got}).plan(&ofOutline)
		(&shim{cfg: cfg}).plan(&ofWhole)
		if !reflect.DeepEqual(ofOutline, ofWhole) {
			t.Errorf("%s: %+v, want %+v", name, ofOutline, ofWhole)
		}
	}
}

// noInit fails when an init of the container lives on.
func noInit(t *testing.T) {
	t.Helper()
	want := []byte("rc-boot\x00" + testID[:12])
	var found string
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		found = ""
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		for _, path := range lines {
			if text, err := os.ReadFile(path); err == nil && bytes.HasPrefix(text, want) {
				found = path
			}
		}
		if found == "" {
			return
		}
	}
	t.Errorf("an init lives on: %s", found)
}

// Whatever goes wrong while init comes to life is said, and ends it.
func TestRealBirthGoesWrong(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*start.Config)
		says   string
	}{
		"its ids are nobody's":  {func(c *start.Config) { c.UIDMap = []userns.IDMap{{Outside: 1 << 30, Size: 9}} }, "user map"},
		"its root is not there": {func(c *start.Config) { c.RootfsDir += "/no" }, "root file system"},
		"a source is not there": {func(c *start.Config) { c.Spec.Mounts = append(c.Spec.Mounts, bind("/no/such", "/x")) }, "/no/such"},
	} {
		for _, fresh := range []bool{true, false} {
			box := newContainer(t, "true")
			c.change(&box.cfg)
			if box.cfg.Fresh = fresh; !fresh {
				must(t, record.SaveState(box.cfg.Dir, &record.State{Status: record.Exited, ExitCode: 3}, false))
			}
			m := box.create()
			if m.Kind != start.KindFailed || !strings.Contains(m.Fail.Error().Error(), c.says) {
				t.Errorf("%s: %+v %+v", name, m, m.Fail)
			}
			_ = box.conn.Close()
			within(t, "the shim's end", func() { _, _ = box.shim.Wait() })
			noInit(t)
			if st, _ := box.store.LoadState(testID); !fresh && (st == nil || !strings.Contains(st.Error, c.says) || st.PID != 0) {
				t.Errorf("%s: the record says %+v", name, st)
			}
		}
	}
}

// An init whose shim is killed before it was told anything ends by itself.
func TestRealShimGoneAtBirth(t *testing.T) {
	box := newContainer(t, "true")
	fifo := t.TempDir() + "/fifo"
	must(t, unix.Mkfifo(fifo, 0o600))
	box.cfg.Spec.Mounts = append(box.cfg.Spec.Mounts, bind(fifo+"/x", "/x")) // it fails late enough
	box.conn, box.shim = inU0(t, shimRole, &box.cfg, box.files)
	must(t, box.shim.Signal(unix.SIGKILL))
	within(t, "the shim's end", func() { _, _ = box.shim.Wait() })
	noInit(t)
}

// The record is read again when it is another.
func TestPolicyIsReadAnew(t *testing.T) {
	store, err := record.Open(t.TempDir())
	must(t, err)
	s := &shim{store: store, cfg: &start.Config{ID: testID, Dir: store.ContainerDir(testID)}}
	must(t, os.Mkdir(s.cfg.Dir, 0o700))
	if p := s.policy(); p.Name != "" {
		t.Errorf("of no record: %+v", p)
	}
	rec := &record.Container{ID: testID, Name: "one", MachineID: record.MachineID(), Restart: record.RestartPolicy{Name: "always"}}
	must(t, store.SaveContainer(rec))
	if p := s.policy(); p.Name != "always" || s.known.Name != "one" {
		t.Errorf("%+v %+v", p, s.known)
	}
	s.known.Name = "from memory"
	if s.policy(); s.known.Name != "from memory" {
		t.Error("the same record was read twice")
	}
	rec.Name, rec.Restart.Name = "two", "no"
	must(t, store.SaveContainer(rec))
	if p := s.policy(); p.Name != "no" || s.name() != "two" {
		t.Errorf("%+v %+v", p, s.known)
	}
	must(t, os.Rename(s.cfg.Dir, s.cfg.Dir+".away"))
	if p := s.policy(); p.Name != "" {
		t.Errorf("of a container that was removed: %+v", p)
	}
}

// What shows no cgroup for a simple reason is not asked of the mount table.
func TestPlain(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/file", nil, 0o600))
	type row struct {
		path    string
		options []string
		want    bool
	}
	rows := []row{{dir + "/file", []string{"rbind"}, true}, {dir, []string{"bind"}, true}, {dir, []string{"rbind", "ro"}, false}}
	for _, at := range cgroupMounts() {
		rows = append(rows, row{at, []string{"bind"}, false}, row{at + "/cgroup.procs", []string{"bind"}, false})
	}
	for _, r := range rows {
		f, err := os.OpenFile(r.path, unix.O_PATH, 0)
		must(t, err)
		if got := plain(f, &specs.Mount{Options: r.options}); got != r.want {
			t.Errorf("%s %v: %v", r.path, r.options, got)
		}
		_ = f.Close()
		if plain(f, &specs.Mount{Options: r.options}) {
			t.Errorf("%s: plain, though it cannot be looked at", r.path)
		}
	}
}

// The mounts outlive the payload only where nothing of the user's is among them.
func TestHoldMounts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*shim)
		held   bool
	}{
		"--rm":             {func(*shim) {}, true},
		"kept":             {func(s *shim) { s.cfg.AutoRemove = false }, false},
		"a volume":         {func(s *shim) { s.cfg.Spec.Mounts = append(s.cfg.Spec.Mounts, bind("/root/volumes/v/_data", "/v")) }, false},
		"--rootfs":         {func(s *shim) { s.cfg.RootfsDir = "/r" }, false},
		"fuse-overlayfs":   {func(s *shim) { s.servant = &servant{} }, false},
		"a tmpfs":          {func(s *shim) { s.cfg.Spec.Mounts = append(s.cfg.Spec.Mounts, specs.Mount{Type: "tmpfs"}) }, true},
		"below its folder": {func(s *shim) { s.cfg.Spec.Mounts = append(s.cfg.Spec.Mounts, bind("/dir/x/y", "/v")) }, false},
	} {
		s := &shim{init: &userns.Process{PID: os.Getpid()}, cfg: &start.Config{AutoRemove: true, Dir: "/dir", Spec: &specs.Spec{Mounts: []specs.Mount{bind("/dir/hosts", "/etc/hosts")}}}}
		c.change(s)
		s.holdMounts()
		if (s.mounts != nil) != c.held {
			t.Errorf("%s: held %v", name, s.mounts != nil)
		}
		s.dropMounts()
		s.dropMounts()
		if s.mounts != nil {
			t.Errorf("%s: held for ever", name)
		}
	}
}

// After takeAway nobody finds the container, and its name can be given away; what is
// left is in the trash, where the next command finds it.
func TestTakeAway(t *testing.T) {
	store, err := record.Open(t.TempDir())
	must(t, err)
	const image = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, dir := range []string{"containers/" + testID + "/upper/deep", "volumes/anon/_data/deep", "images/" + image + "/users"} {
		must(t, os.MkdirAll(store.Path(dir), 0o700))
	}
	must(t, os.WriteFile(store.Path("images", image, "users", testID), nil, 0o600))
	must(t, store.ClaimName("box", testID))
	trees, err := takeAway(store, testID, "box", image, []string{"anon", "gone"})
	if err != nil || len(trees) != 2 {
		t.Fatalf("%q %v", trees, err)
	}
	must(t, store.ClaimName("box", strings.Repeat("b", 64)))
	for _, path := range []string{store.ContainerDir(testID), store.Path("volumes/anon"), store.Path("images", image, "users", testID)} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	for _, tree := range trees {
		if st, err := os.Lstat(tree); err != nil || !st.IsDir() || filepath.Dir(tree) != store.Path("trash") {
			t.Errorf("%s: %v", tree, err)
		}
	}
	must(t, removeTrees(append(trees, store.Path("trash/never-there"))))
	if left, _ := os.ReadDir(store.Path("trash")); len(left) > 0 {
		t.Errorf("the trash holds %v", left)
	}
	if err := removeTrees([]string{store.Path("nowhere/x")}); err == nil {
		t.Error("a tree in no folder was removed")
	}
}

// The clone of our program is in no mount namespace before anything foreign runs,
// and it stays usable.
func TestSettleProgram(t *testing.T) {
	program, tree, err := ownProgram()
	if errors.Is(err, unix.EPERM) || tree == nil {
		t.Skipf("uid %d cannot clone a mount here: %v", os.Getuid(), err)
	}
	must(t, err)
	defer program.Close()
	s := &shim{loose: tree}
	s.settleProgram()
	s.settleProgram()
	if _, err := tree.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it is open: %v", err)
	}
	if st, err := program.Stat(); err != nil || st.Size() == 0 {
		t.Errorf("%v %v", st, err)
	}
}
