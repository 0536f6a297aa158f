package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

func TestOpenReadsTheEnvironment(t *testing.T) {
	root := t.TempDir() + "/new"
	t.Setenv("RC_ROOT", root)
	t.Setenv("RC_STORAGE_DRIVER", "copy")
	e, err := Open("")
	must(t, err)
	defer e.Close()
	if e.Store.Root != root || e.Driver != "copy" || e.CheckDriver() != nil {
		t.Errorf("%s %s", e.Store.Root, e.Driver)
	}
	if e.Driver = "zfs"; e.CheckDriver() == nil || !strings.Contains(e.CheckDriver().Error(), "fuse-overlayfs") {
		t.Errorf("%v", e.CheckDriver())
	}
	if _, err := Open("/proc/x"); err == nil {
		t.Error("a root in /proc")
	}
}

// Each program is found beside the running one or in ../libexec/rc, and only
// where rc-init is: one folder, one version.
func TestProgram(t *testing.T) {
	e := &Engine{programs: t.TempDir()}
	_, err := e.program("rc-net")
	var h *hint.Error
	if !errors.As(err, &h) || !strings.Contains(err.Error(), "rc-net") || !strings.Contains(h.Fix, "make install") {
		t.Errorf("%v", err)
	}
	must(t, os.WriteFile(e.programs+"/rc-net", nil, 0o644))
	if _, err := e.program("rc-net"); err == nil {
		t.Error("a file that is no program")
	}
	must(t, os.Chmod(e.programs+"/rc-net", 0o755))
	if path, err := e.program("rc-net"); err != nil || path != e.programs+"/rc-net" {
		t.Errorf("%s %v", path, err)
	}
	if _, err := (&Engine{}).program("rc-init"); err == nil { // beside the test binary there is none
		t.Error("found rc-init beside the test")
	}
}

func TestClaimName(t *testing.T) {
	w := newWorkshop(t)
	id := w.put(&record.Container{ID: ident('a'), Name: "web"}, &record.State{Status: record.Exited})
	if name, err := w.claimName("db", ident('b')); err != nil || name != "db" {
		t.Errorf("%q %v", name, err)
	}
	_, err := w.claimName("web", ident('c'))
	if !errors.Is(err, errNameTaken) || !strings.Contains(err.Error(), id[:12]) || !strings.Contains(err.Error(), "rc rm web") || hint.ExitCode(err) != 125 {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"-x", "a/b", "..", ".x", "a b", strings.Repeat("x", 300)} {
		if _, err := w.claimName(name, ident('d')); err == nil {
			t.Errorf("%q was taken as a name", name)
		}
	}
	seen := map[string]bool{}
	for i := range 50 {
		name, err := w.claimName("", fmt.Sprintf("%064x", i+100))
		if err != nil || seen[name] || spec.CheckName(name) != nil {
			t.Errorf("%q %v", name, err)
		}
		seen[name] = true
	}
}

// A shim that was forked ahead is called by a name that nobody had claimed yet.
func TestNameOfAShimAhead(t *testing.T) {
	w := newWorkshop(t)
	ahead := func() *forming { return &forming{} } // without a conversation: nothing to end
	l := w.launch(&spec.Options{})
	if !l.candidate() || l.rec.Name == "" {
		t.Fatalf("%q", l.rec.Name)
	}
	l.ahead = ahead()
	called := l.rec.Name
	must(t, l.claimName())
	if holder, err := w.Store.NameHolder(called); err != nil || holder != l.id || l.rec.Name != called || l.ahead == nil {
		t.Errorf("%q for %q: %s %v", l.rec.Name, called, holder, err)
	}
	other := w.launch(&spec.Options{})
	other.id, other.rec.Name, other.ahead = ident('e'), called, ahead()
	must(t, other.claimName())
	if other.rec.Name == called || other.ahead != nil {
		t.Errorf("%q, and its shim stays", other.rec.Name)
	}
	asked := w.launch(&spec.Options{Name: "web"})
	asked.id, asked.ahead = ident('f'), ahead()
	if !asked.candidate() || asked.rec.Name != "web" {
		t.Errorf("%q", asked.rec.Name)
	}
	must(t, asked.claimName())
	if asked.ahead == nil {
		t.Error("the shim of a container that got its name was called off")
	}
	if bad := w.launch(&spec.Options{Name: "a/b"}); bad.candidate() {
		t.Error("a shim is called a/b")
	}
}

// Where it was found ahead, nobody looks for a place again; and a container without a
// group has no shim among the shims.
func TestPlaceOfAShimAhead(t *testing.T) {
	w := newWorkshop(t)
	l := w.launch(&spec.Options{})
	l.where = &look{err: errNoUnit}
	if _, err := l.subtree(cgroup.Place{}); err != errNoUnit {
		t.Error(err)
	}
	l.ahead = &forming{}
	must(t, l.limit())
	if l.ahead == nil || l.cfg.Cgroup != "" {
		t.Errorf("a shim without a place was called off, or got the group %q", l.cfg.Cgroup)
	}
	if l.stand != nil {
		t.Error("the shim of a container without a group is to stand among the others")
	}
	l.plan.Resources.Memory = 1 << 30
	if err := l.limit(); !errors.Is(err, errNoUnit) {
		t.Errorf("a limit without a place: %v", err)
	}
}

// A name whose holder was killed before it made anything is free again; one of a
// container in the making is not.
func TestStaleName(t *testing.T) {
	w := newWorkshop(t)
	must(t, w.Store.ClaimName("stale", ident('a')))
	if name, err := w.claimName("stale", ident('b')); err != nil || name != "stale" {
		t.Errorf("%q %v", name, err)
	}
	if holder, _ := w.Store.NameHolder("stale"); holder != ident('b') {
		t.Errorf("held by %.6s", holder)
	}
	must(t, w.Store.ClaimName("young", ident('c')))
	lock, err := w.Store.TakeLife(ident('c'))
	must(t, err)
	if _, err := w.claimName("young", ident('d')); !errors.Is(err, errNameTaken) {
		t.Errorf("%v", err)
	}
	must(t, lock.Close())
	must(t, os.Mkdir(w.Store.ContainerDir(ident('e')), 0o700)) // half-made
	must(t, w.Store.ClaimName("half", ident('e')))
	if _, err := w.claimName("half", ident('f')); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(w.Store.ContainerDir(ident('e'))); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the half-made container is left")
	}
}

func TestClaimNameRace(t *testing.T) {
	w := newWorkshop(t)
	must(t, w.Store.ClaimName("web", ident('a'))) // stale: all of them find that out
	var wg sync.WaitGroup
	won := make(chan string, 50)
	for i := range 50 {
		id := fmt.Sprintf("%064x", i)
		lock, err := w.Store.TakeLife(id) // as claim does, first
		must(t, err)
		defer lock.Close()
		wg.Go(func() {
			if _, err := w.claimName("web", id); err == nil {
				won <- id
			} else if !errors.Is(err, errNameTaken) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(won)
	var winners []string
	for id := range won {
		winners = append(winners, id)
	}
	if holder, err := w.Store.NameHolder("web"); len(winners) != 1 || winners[0] != holder {
		t.Errorf("%d winners, %v", len(winners), err)
	}
}

func TestRandomNames(t *testing.T) {
	seen := map[string]int{}
	for range 2000 {
		name := randomName()
		if spec.CheckName(name) != nil || len(name) > 30 {
			t.Fatalf("%q", name)
		}
		seen[name]++
	}
	if len(seen) < 1900 {
		t.Errorf("only %d of 2000 differ", len(seen))
	}
}

func (w *workshop) launch(o *spec.Options) *launch {
	return &launch{e: w.Engine, opts: o, id: ident('a'), files: map[string]*os.File{},
		plan: &spec.Plan{Spec: &specs.Spec{Hostname: "box", Process: &specs.Process{Args: []string{"true"}}}, ShmMount: -1}}
}

// A refusal after any step takes back what the steps before it made.
func TestClaimAndRecordUndo(t *testing.T) {
	w := newWorkshop(t)
	cid := t.TempDir() + "/cid"
	l := w.launch(&spec.Options{Name: "web", CIDFile: cid})
	l.plan.Spec.Mounts = make([]specs.Mount, 3)
	l.plan.Volumes = []spec.Volume{{Name: "named", MountIndex: 0, Destination: "/n"}, {Anonymous: true, MountIndex: 1, Destination: "/a"}, {Name: "named", MountIndex: 2, Subpath: "../../deep"}}
	must(t, l.claim())
	must(t, l.record())
	must(t, l.configure())
	must(t, l.writeNetworkFiles())
	if text, _ := os.ReadFile(cid); string(text) != l.id {
		t.Errorf("--cidfile holds %q", text)
	}
	c, err := w.Store.LoadContainer(l.id)
	if err != nil || c.Name != "web" || len(c.Volumes) != 3 || c.MachineID != record.MachineID() || c.Command[0] != "true" {
		t.Errorf("%+v %v", c, err)
	}
	if alive, _ := w.Store.Alive(l.id); !alive {
		t.Error("a container in the making looks abandoned")
	}
	for name, mode := range map[string]fs.FileMode{"": fs.ModeDir | 0o700, "upper": fs.ModeDir | 0o755, "work": fs.ModeDir | 0o700, "hosts": 0o644, "resolv.conf": 0o644, "hostname": 0o644} {
		if st, err := os.Stat(filepath.Join(w.Store.ContainerDir(l.id), name)); err != nil || st.Mode() != mode {
			t.Errorf("%s: %v %v", name, st, err)
		}
	}
	if src := l.plan.Spec.Mounts[0].Source; src != w.Store.Path("volumes/named/_data") {
		t.Errorf("%s", src)
	}
	if src := l.plan.Spec.Mounts[2].Source; src != w.Store.Path("volumes/named/_data/deep") { // never out of the volume
		t.Errorf("%s", src)
	}
	if fmt.Sprint(l.cfg.Inside.CopyUp) != "[0 1]" {
		t.Errorf("copied up into %v", l.cfg.Inside.CopyUp)
	}
	anon := filepath.Dir(l.plan.Spec.Mounts[1].Source)
	l.undo.Run()
	w.gone(l.id, "web")
	for _, path := range []string{cid, anon} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left", path)
		}
	}
	if _, err := os.Stat(w.Store.Path("volumes/named/_data")); err != nil {
		t.Error("a named volume stays")
	}
}

func TestVolumesInUse(t *testing.T) {
	w := newWorkshop(t)
	must(t, os.MkdirAll(w.Store.Path("volumes/v/_data/x"), 0o700))
	l := w.launch(&spec.Options{})
	if fresh, err := l.makeVolume(&record.Volume{Name: "v"}); fresh || err != nil {
		t.Errorf("a used volume is fresh: %v", err)
	}
	if os.Getuid() != 0 {
		must(t, os.Chmod(w.Store.Path("volumes"), 0o500))
		defer os.Chmod(w.Store.Path("volumes"), 0o700)
		_, err := l.makeVolume(&record.Volume{Name: "new"})
		if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "rc --root DIR") {
			t.Errorf("%v", err)
		}
	}
}

func TestCIDFile(t *testing.T) {
	w := newWorkshop(t)
	path := t.TempDir() + "/cid"
	must(t, os.WriteFile(path, []byte("another's"), 0o600))
	err := w.launch(&spec.Options{CIDFile: path}).writeCIDFile()
	if !errors.Is(err, unix.EEXIST) || !strings.Contains(err.Error(), "does not exist yet") {
		t.Errorf("%v", err)
	}
	if text, _ := os.ReadFile(path); string(text) != "another's" {
		t.Error("another container's id was overwritten")
	}
	if err := w.launch(&spec.Options{CIDFile: path + "/x"}).writeCIDFile(); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("%v", err)
	}
}

func TestObtain(t *testing.T) {
	w := newWorkshop(t)
	id := ident('9')
	must(t, w.Store.SaveImage(&record.Image{ID: id, Architecture: runtime.GOARCH, OS: "linux", Layers: []string{"/l"}}))
	must(t, w.Store.SetName("docker.io/library/alpine:latest", id))
	for _, pull := range []string{"missing", "never", ""} {
		if img, err := w.obtain("alpine", &spec.Options{Pull: pull}); err != nil || img.ID != id {
			t.Errorf("--pull=%s: %v", pull, err)
		}
	}
	_, err := w.obtain("busybox", &spec.Options{Pull: "never"})
	if !errors.Is(err, record.ErrNoImage) || !strings.Contains(err.Error(), "rc pull busybox") {
		t.Errorf("%v", err)
	}
	if img, err := w.obtain("alpine", &spec.Options{Pull: "never", Platform: "linux/mips"}); err != nil || img.ID != id {
		t.Errorf("the platform's own refusal follows: %v", err)
	}
	w.programs = t.TempDir() // a pull is tried, and says that a program is missing
	for _, o := range []spec.Options{{Pull: "always"}, {Platform: "linux/mips"}} {
		if _, err := w.obtain("alpine", &o); err == nil || !strings.Contains(err.Error(), "rc-image") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if !Reported(fmt.Errorf("x: %w", errReported)) || Reported(unix.EPERM) {
		t.Error("Reported")
	}
}

func TestFilterCache(t *testing.T) {
	w := newWorkshop(t)
	w.programs = t.TempDir()
	p := spec.SeccompProfile{Caps: []string{"CAP_CHOWN"}}
	if _, err := w.filter(p); err == nil || !strings.Contains(err.Error(), "rc-image") {
		t.Errorf("%v", err)
	}
	key, err := spec.SeccompKey(p, runtime.GOARCH)
	must(t, err)
	must(t, os.MkdirAll(w.Store.Path("cache/seccomp"), 0o700))
	must(t, os.WriteFile(w.Store.Path("cache/seccomp", key+".bpf"), []byte("filter"), 0o600))
	f, err := w.filter(p)
	must(t, err)
	defer f.Close()
	text := make([]byte, 6)
	if _, err := f.Read(text); err != nil || string(text) != "filter" {
		t.Errorf("%q %v", text, err)
	}
	if _, err := w.filter(spec.SeccompProfile{Path: "/nonexistent.json"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestBorrowAndJoin(t *testing.T) {
	w := newWorkshop(t)
	cmd, shim := w.holder(ident('b'))
	defer cmd.Process.Kill()
	id := w.put(&record.Container{ID: ident('b'), Name: "web"}, running(deadProcess(t), shim))
	names := []string{"u0", "user", "net", "ipc", "uts", "pid"}
	w.shimOn(id, func(q control.Request) (*control.Reply, []*os.File) {
		r := &control.Reply{Files: names, UIDMap: []userns.IDMap{{Size: 5}}, Hostname: "web"}
		var files []*os.File
		for range names {
			f, _ := os.Open("/proc/self/ns/user")
			files = append(files, f)
		}
		return r, files
	})
	before := openFiles(t)
	l := w.launch(&spec.Options{Network: []string{"container:web"}, IPC: "container:" + id[:12]})
	l.home = &home{}
	in := &spec.Input{}
	must(t, l.joinSandbox(in))
	if in.Sandbox == nil || in.Sandbox.UIDMap[0].Size != 5 || in.Sandbox.Hostname != "web" {
		t.Errorf("%+v", in.Sandbox)
	}
	if l.home.userns != l.joins.files["u0"] {
		t.Error("not in the home of the one that is joined")
	}
	l.plan.Network, l.plan.IPC = spec.NamespaceMode{Kind: spec.KindContainer}, spec.NamespaceMode{Kind: spec.KindContainer}
	l.takeJoins()
	for name, want := range map[string]bool{"join-user": true, "join-net": true, "join-ipc": true, "join-uts": false, "join-pid": false} {
		if (l.files[name] != nil) != want {
			t.Errorf("%s: %v", name, l.files[name])
		}
	}
	l.undo.Run()
	if after := atLeastFiles(t, before); after != before {
		t.Errorf("%d descriptors leaked", after-before)
	}
	if u0, _ := w.survivingHome(); u0 == nil {
		t.Error("a live shim has U0")
	} else {
		_ = u0.Close()
	}
	names = []string{"net"} // a broken shim
	if _, err := w.borrow(id); err == nil || atLeastFiles(t, before) != before {
		t.Errorf("%v", err)
	}
}

// atLeastFiles gives the stand-in for a shim, which is in this process, a moment to
// close its own.
func atLeastFiles(t *testing.T, want int) int {
	t.Helper()
	n := openFiles(t)
	for end := time.Now().Add(2 * time.Second); n > want && time.Now().Before(end); n = openFiles(t) {
		time.Sleep(time.Millisecond)
	}
	return n
}

func TestJoinRefusals(t *testing.T) {
	w := newWorkshop(t)
	w.put(&record.Container{ID: ident('b'), Name: "ended"}, &record.State{Status: record.Exited})
	for network, text := range map[string]string{"container:nope": "see `rc ps`", "container:ended": "start it first"} {
		l := w.launch(&spec.Options{Network: []string{network}})
		l.home = &home{}
		if err := l.joinSandbox(&spec.Input{}); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", network, err)
		}
	}
	for id, text := range map[string]string{ident('b'): "start it first", ident('9'): "it was removed"} {
		l := w.launch(&spec.Options{})
		l.home = &home{}
		l.cfg.Again.Join = id
		if err := l.joinAgain(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", id[:12], err)
		}
	}
	if u0, _ := w.survivingHome(); u0 != nil {
		t.Error("nobody lives")
	}
}

func TestNetworkTexts(t *testing.T) {
	w := newWorkshop(t)
	l := w.launch(&spec.Options{})
	l.plan.Network.Kind = spec.KindSlirp
	must(t, l.configure())
	texts, err := l.networkTexts()
	must(t, err)
	if !strings.Contains(texts["hosts"], slirp.Address) || !strings.Contains(texts["hosts"], "box") || texts["hostname"] != "box\n" || !strings.Contains(texts["resolv.conf"], slirp.Resolver) {
		t.Errorf("%q", texts)
	}
	id := w.put(&record.Container{ID: ident('b'), Name: "web"}, &record.State{Status: record.Exited})
	l.plan.Network = spec.NamespaceMode{Kind: spec.KindContainer, Container: "web"}
	l.joins = &sandbox{id: id}
	must(t, l.configure())
	if _, err := l.networkTexts(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"hosts", "resolv.conf"} {
		must(t, os.WriteFile(filepath.Join(w.Store.ContainerDir(id), name), []byte("its "+name), 0o644))
	}
	texts, err = l.networkTexts()
	if err != nil || texts["hosts"] != "its hosts" || texts["resolv.conf"] != "its resolv.conf" || texts["hostname"] != "box\n" {
		t.Errorf("%q %v", texts, err)
	}
	if got := gatewayAddress(&start.Config{Attach: slirp.Attach{HostLoopback: true}}); got != slirp.Gateway {
		t.Errorf("%s", got)
	}
	pasta := start.Config{Network: string(spec.KindPasta), Attach: slirp.Attach{HostLoopback: true, PastaOptions: []string{"-g", "192.0.2.99"}}}
	if got := gatewayAddress(&pasta); got != "192.0.2.99" { // 10.0.2.2 is slirp4netns's
		t.Errorf("%s", got)
	}
}
