package engine

import (
	"io/fs"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

func mode(k spec.NamespaceKind) spec.NamespaceMode { return spec.NamespaceMode{Kind: k} }

func TestCloneFlags(t *testing.T) {
	const always = unix.CLONE_NEWNS // boot makes the cgroup namespace itself
	const all = always | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWNET
	for _, c := range []struct {
		net, pid, ipc, uts spec.NamespaceKind
		joins              bool
		want               int
	}{
		{spec.KindSlirp, spec.KindPrivate, spec.KindPrivate, spec.KindPrivate, false, all},
		{spec.KindNone, spec.KindPrivate, spec.KindPrivate, spec.KindPrivate, false, all},
		{spec.KindHost, spec.KindPrivate, spec.KindPrivate, spec.KindPrivate, false, all &^ unix.CLONE_NEWNET},
		{spec.KindHost, spec.KindHost, spec.KindHost, spec.KindHost, false, always | unix.CLONE_NEWUSER},
		{spec.KindContainer, spec.KindPrivate, spec.KindContainer, spec.KindPrivate, true, always | unix.CLONE_NEWPID | unix.CLONE_NEWUTS},
	} {
		l := &launch{plan: &spec.Plan{Network: mode(c.net), PID: mode(c.pid), IPC: mode(c.ipc), UTS: mode(c.uts)}}
		if c.joins {
			l.joins = &sandbox{}
		}
		if got := l.cloneFlags(); got != c.want {
			t.Errorf("%+v: %#x, want %#x", c, got, c.want)
		}
	}
}

// The keyring's owner is a mapped id, never the caller's own where there is
// another, and differs between containers: the quota is per id.
func TestKeyringOwner(t *testing.T) {
	one := []userns.IDMap{{Inside: 0, Outside: 0, Size: 1}}
	many := []userns.IDMap{{Inside: 0, Outside: 0, Size: 1}, {Inside: 1, Outside: 1, Size: 65535}}
	few := []userns.IDMap{{Inside: 0, Outside: 0, Size: 3}}
	owners := map[uint32]bool{}
	for i := range 200 {
		id := string(rune('a'+i%16)) + ident('b')[:62] + string(rune('0'+i/20))
		l := &launch{id: id, plan: &spec.Plan{UIDMap: many}}
		got := l.keyringOwner()
		if got < 1 || got > 65535 {
			t.Fatalf("%d is not mapped", got)
		}
		owners[got] = true
		l.plan.UIDMap = few
		if got := l.keyringOwner(); got < 1 || got > 2 {
			t.Fatalf("%d is not among three", got)
		}
		l.plan.UIDMap = one
		if got := l.keyringOwner(); got != 0 {
			t.Fatalf("%d of one id", got)
		}
	}
	if len(owners) < 100 {
		t.Errorf("%d owners for 200 containers", len(owners))
	}
}

func TestMapsCaller(t *testing.T) {
	if !mapsCaller([]userns.IDMap{{Inside: 5, Outside: 1, Size: 2}, {Inside: 1000, Outside: 0, Size: 1}}) {
		t.Error("--userns=keep-id has the caller's id")
	}
	if mapsCaller([]userns.IDMap{{Inside: 0, Outside: 1, Size: 65536}}) || mapsCaller(nil) {
		t.Error("--userns=auto has not")
	}
}

// What the shim is told is what was decided.
func TestConfigure(t *testing.T) {
	w := newWorkshop(t)
	null, err := os.Open("/dev/null")
	must(t, err)
	defer null.Close()
	l := w.launch(&spec.Options{Remove: true, Interactive: true, GroupAdd: []string{"x"}})
	l.image = &record.Image{ID: ident('9'), Layers: []string{"/top", "/bottom"}}
	l.rec = record.Container{Name: "web", Image: ident('9'), Volumes: []record.VolumeUse{{Name: "anon", Anonymous: true}, {Name: "named"}}}
	l.files["seccomp"] = null
	p := l.plan
	p.Network, p.UTS, p.PID, p.IPC = mode(spec.KindSlirp), mode(spec.KindPrivate), mode(spec.KindPrivate), mode(spec.KindPrivate)
	p.Ports = []slirp.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}}
	p.UIDMap, p.GIDMap = []userns.IDMap{{Inside: 0, Outside: 1, Size: 10}}, []userns.IDMap{{Inside: 0, Outside: 2, Size: 10}}
	p.Shifted, p.Init, p.HomeSet, p.GroupAdd = true, true, true, []string{"x"}
	p.StopSignal, p.StopAfter, p.HostLoop = 2, 3*time.Second, true
	p.Spec.Process.User.Username = "web"
	t.Setenv("RC_TEST_WITHOUT", "lowerdir+")
	must(t, l.configure())
	c, dir := l.cfg, w.Store.ContainerDir(l.id)
	runtime, _ := w.Store.Runtime()
	if c.Version != version.Version || c.ID != l.id || c.Name != "web" || c.Root != w.Store.Root || c.Runtime != runtime || c.Dir != dir || c.Image != ident('9') || c.Without != "lowerdir+" {
		t.Errorf("%+v", c)
	}
	if !slices.Equal(c.Rootfs.Layers, l.image.Layers) || c.Rootfs.Upper != dir+"/upper" || c.Rootfs.Work != dir+"/work" || !c.Rootfs.Volatile || len(c.Rootfs.UIDMap) != 1 || c.Rootfs.GIDMap[0].Outside != 2 {
		t.Errorf("%+v", c.Rootfs)
	}
	if c.Network != "slirp4netns" || len(c.Attach.Ports) != 1 || !c.Attach.HostLoopback || c.Attach.ID != l.id || c.StopSignal != 2 || c.StopAfter != 3*time.Second {
		t.Errorf("%+v", c.Attach)
	}
	if !c.AutoRemove || c.Detach || !slices.Equal(c.Anonymous, []string{"anon"}) || c.Clone&unix.CLONE_NEWUSER == 0 {
		t.Errorf("%+v", c)
	}
	in := c.Inside
	if in.Username != "web" || in.Groups[0] != "x" || !in.Init || !in.Stdin || !in.HomeSet || !in.OwnNet || !in.OwnUTS || in.HostNet || !in.Seccomp || in.Keyring == 0 {
		t.Errorf("%+v", in)
	}
}

// sendConfig: the shim gets the sealed value and each file under its name.
func TestSendConfig(t *testing.T) {
	a, b, err := stage.Pair()
	must(t, err)
	defer a.Close()
	defer b.Close()
	r, wr, err := os.Pipe()
	must(t, err)
	defer r.Close()
	defer wr.Close()
	must(t, sendConfig(a, &start.Config{ID: "x", Spec: &specs.Spec{Hostname: "h"}}, map[string]*os.File{"stdin": r, "stdout": wr}))
	var m start.Message
	list, err := b.Recv(&m)
	must(t, err)
	if m.Kind != start.KindConfig || len(m.Files) != 3 || len(list) != 3 || m.Files[0] != "config" {
		t.Fatalf("%+v", m)
	}
	var c start.Config
	if err := stage.Unseal(list[0], &c); err != nil || c.ID != "x" || c.Spec.Hostname != "h" {
		t.Errorf("%+v %v", c, err)
	}
	got := map[string]*os.File{m.Files[1]: list[1], m.Files[2]: list[2]}
	defer stage.CloseFiles(list[1:])
	if _, err := got["stdout"].WriteString("z"); err != nil {
		t.Errorf("names and descriptors are mixed up: %v", err)
	}
	if n, err := got["stdin"].Read(make([]byte, 1)); n != 1 {
		t.Error(err)
	}
}

func TestUsedIDs(t *testing.T) {
	w := newWorkshop(t)
	w.put(&record.Container{ID: ident('a'), OwnIDs: []userns.IDMap{{Outside: 5, Size: 6}}}, &record.State{Status: record.Exited})
	w.put(&record.Container{ID: ident('b')}, &record.State{Status: record.Exited})
	must(t, os.Mkdir(w.Store.ContainerDir(ident('c')), 0o700))
	if got := w.usedIDs(); len(got) != 1 || got[0].Outside != 5 {
		t.Errorf("%+v", got)
	}
}

func TestSmallThings(t *testing.T) {
	env := replaceKey([]string{"A=1", "RC_ROOT=x", "RC_ROOTS=y", "RC_ROOT="}, "RC_ROOT", "new")
	if !slices.Equal(env, []string{"A=1", "RC_ROOTS=y", "RC_ROOT=new"}) {
		t.Errorf("%q", env)
	}
	if got := quoteList([]string{"a", "b\n"}); got != `"a", "b\n"` {
		t.Error(got)
	}
	if shortID("abc") != "abc" || shortID(ident('a')) != ident('a')[:12] {
		t.Error("shortID")
	}
	for err, has := range map[error]bool{unix.ENOSPC: true, unix.EDQUOT: true, unix.EROFS: true, unix.EACCES: true, unix.EIO: false} {
		if fix := diskFix(&fs.PathError{Err: err}); (fix != "") != has {
			t.Errorf("%v: %q", err, fix)
		}
	}
	t.Chdir(t.TempDir())
	must(t, os.Mkdir("gone", 0o700))
	must(t, os.Chdir("gone"))
	must(t, os.Remove("../gone"))
	if dir := workingDir(); dir == "" || dir[0] != '/' { // a folder that is gone must not stop us
		t.Errorf("%q", dir)
	}
	must(t, os.Chdir("/"))
}

// Bad options are refused before anything is made, pulled or started.
func TestRunRefusesFirst(t *testing.T) {
	w := newWorkshop(t)
	w.programs = t.TempDir()
	for name, o := range map[string]spec.Options{
		"network": {Network: []string{"nowhere"}}, "memory": {Memory: "lots"}, "user namespace": {Userns: "mine"}, "pull": {Pull: "sometimes"}, "name": {Name: "-x"},
	} {
		if _, err := w.Engine.Run(&o, "alpine", Streams{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	for _, dir := range []string{"containers", "container-names", "volumes"} {
		if left, _ := os.ReadDir(w.Store.Path(dir)); len(left) > 0 {
			t.Errorf("%s holds %v", dir, left)
		}
	}
}
