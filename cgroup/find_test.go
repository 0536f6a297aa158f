package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

const everything = "cpuset cpu io memory pids"

func TestFindsUnitWithDelegate(t *testing.T) {
	f := newFake(t, "/system.slice/job.service", everything)
	dir := f.group("/system.slice/job.service", selfPID)
	f.foreign("/system.slice")
	s := f.find()
	if s.Path != dir || !s.within {
		t.Errorf("found %+v, want %s, within", s, dir)
	}
	if !reflect.DeepEqual(s.Controllers, []string{"cpuset", "cpu", "io", "memory", "pids"}) {
		t.Errorf("controllers %v", s.Controllers)
	}
}

// A desktop's terminal, a plain user unit: the groups are ours to write, and the
// systemd's to manage.
func TestLeavesWhatSystemdManages(t *testing.T) {
	const user = "/user.slice/user-1000.slice/user@1000.service"
	for _, group := range []string{"/app.slice/app-term.scope", "/app.slice/job.service", "/app.slice/job.service/sub", "/init.scope"} {
		f := newFake(t, user+group, everything)
		f.group(user+group, 7, selfPID, 9)
		f.foreign("/user.slice", "/user.slice/user-1000.slice")
		_, err := find(f.view)
		says(t, err, group, "managed by systemd", "systemd-run --user --scope")
	}
	// To root everything is its own, and so nothing says that it is given away.
	f := newFake(t, "/system.slice/job.service", everything)
	f.group("/system.slice/job.service", selfPID)
	f.view.root = true
	_, err := find(f.view)
	says(t, err, "managed by systemd")
	f = newFake(t, "/mine", everything)
	f.group("/mine", selfPID)
	f.view.root = true
	if s := f.find(); s.Path != f.top+"/mine" {
		t.Errorf("found %s", s.Path)
	}
}

// The user's systemd leaves no mark on what it delegates: who asked it says so, or our
// leaf in the unit does.
func TestDelegatedUnitOfTheUser(t *testing.T) {
	const unit = "/user.slice/user-1000.slice/user@1000.service/app.slice/job.service"
	for stands, told := range map[string]string{unit: unit, unit + "/main": unit, unit + "/rc-host": ""} {
		f := newFake(t, stands, everything)
		f.group(unit, 7)
		f.group(stands, 8, selfPID)
		f.foreign("/user.slice", "/user.slice/user-1000.slice")
		f.view.told = told
		s := f.find()
		if s.Path != f.top+unit || s.apart != (told != "") {
			t.Errorf("from %s: found %+v", stands, s)
		}
		says(t, errors.New(s.How), "the unit job.service is delegated to us")
	}
}

func TestOwnUnit(t *testing.T) {
	const user = "/user.slice/user-1000.slice/user@1000.service"
	for group, want := range map[string]string{
		user + "/app.slice/job.service":            user + "/app.slice/job.service",
		user + "/app.slice/job.service/main/x":     user + "/app.slice/job.service",
		user + "/app.slice/app-a.slice/term.scope": user + "/app.slice/app-a.slice/term.scope",
		user + "/app.slice":                        "",
		user:                                       "",
		"/system.slice/job.service":                "",
		"/":                                        "",
	} {
		if got := ownUnit(group); got != want {
			t.Errorf("%s is in %q, want %q", group, got, want)
		}
	}
}

const scopeGroup = "/user.slice/user-1000.slice/user@1000.service/app.slice/" + ScopeName

// A shim makes its container's group again from where it stands.
func TestFindsScopeFromItsLeaf(t *testing.T) {
	f := newFake(t, scopeGroup+"/rc-host", everything)
	f.group(scopeGroup+"/rc-host", 7, selfPID)
	f.foreign("/user.slice", "/user.slice/user-1000.slice")
	s := f.find()
	if s.Path != f.top+scopeGroup || s.Far() || len(s.chain) != 1 {
		t.Errorf("found %+v", s)
	}
	says(t, errors.New(s.How), "scope of your systemd's")
}

func TestAt(t *testing.T) {
	for stands, far := range map[string]bool{
		"/user.slice/user-1000.slice/session-3.scope":                         true,
		"/system.slice/cron.service":                                          true,
		"/user.slice/user-1000.slice/user@1000.service/app.slice/job.service": false,
		scopeGroup + "/rc-host":                                               false,
	} {
		f := newFake(t, stands, everything)
		f.group(scopeGroup)
		f.group(stands, selfPID)
		f.foreign("/user.slice", "/user.slice/user-1000.slice")
		s, err := at(f.view, scopeGroup)
		must(t, err)
		if s.Path != f.top+scopeGroup || s.Far() != far || s.Within() {
			t.Errorf("from %s: %+v", stands, s)
		}
		host, err := s.HostFD()
		must(t, err)
		if host.Name() != f.top+scopeGroup+"/rc-host" {
			t.Errorf("from %s: who outlives us is born in %s", stands, host.Name())
		}
		must(t, host.Close())
		g, err := s.Create("abc", Resources{PidsLimit: 20})
		must(t, err)
		if g.Path != f.top+scopeGroup+"/rc-abc" || f.get(g.Path, "pids.max") != "20" {
			t.Errorf("made %s with %q", g.Path, f.get(g.Path, "pids.max"))
		}
	}
}

func TestAtRefuses(t *testing.T) {
	f := newFake(t, "/outer/job", everything)
	f.group("/outer/job", selfPID)
	_, err := at(f.view, "/nowhere/"+ScopeName)
	says(t, err, "may not be written", "ls -ld")
	if !errors.Is(err, unix.EACCES) {
		t.Errorf("%v", err)
	}
	f.mountinfo("/outer", f.top+"/outer", "rw")
	_, err = at(f.view, "/elsewhere/"+ScopeName)
	says(t, err, "--cgroupns=private")
	must(t, os.RemoveAll(f.proc))
	_, err = at(f.view, "/x")
	says(t, err, "mount -t proc")
}

func TestCommonAncestor(t *testing.T) {
	for _, c := range [][3]string{{"/a/b/c", "/a/b/d", "/a/b"}, {"/a", "/b", "/"}, {"/a/b", "/a/b/c", "/a/b"}, {"/a/b/c", "/a/b", "/a/b"}, {"/ab", "/a", "/"}, {"/", "/x", "/"}} {
		if got := commonAncestor(c[0], c[1]); got != c[2] {
			t.Errorf("%s and %s: %s", c[0], c[1], got)
		}
	}
}

func TestFindsHandMadeSubtree(t *testing.T) {
	f := newFake(t, "/rc-user-5/shell", everything)
	f.group("/rc-user-5/shell", 7, selfPID)
	if s := f.find(); s.Path != f.top+"/rc-user-5" {
		t.Errorf("found %s", s.Path)
	}
}

// The shell stands in the subtree itself: that is still the place, and a limit
// then says who is in the way.
func TestFindsSubtreeWithShellInIt(t *testing.T) {
	f := newFake(t, "/mine", everything)
	dir := f.group("/mine", 7, selfPID)
	s := f.find()
	if s.Path != dir {
		t.Errorf("found %s", s.Path)
	}
	says(t, s.whyNotEnabled(dir, []string{"pids"}, &os.PathError{Op: "write", Path: dir, Err: unix.EBUSY}), "pids limit", "stand in it (7)", "mkdir -p "+dir+"/shell")
}

func TestSkipsOwnLeaf(t *testing.T) {
	f := newFake(t, "/mine/rc-host", everything)
	f.group("/mine/rc-host", selfPID)
	if s := f.find(); s.Path != f.top+"/mine" {
		t.Errorf("found %s", s.Path)
	}
}

// A mount that shows only a part of the tree, at a folder with a blank, covered
// by nothing: a container without a cgroup namespace.
func TestFindsBelowPartialMount(t *testing.T) {
	f := newFake(t, "/outer/job", everything)
	part := filepath.Join(filepath.Dir(f.top), "a b")
	must(t, os.Rename(f.top, part))
	f.top = part
	f.group("/job", selfPID)
	f.mountinfo("/outer", part, "rw")
	if s := f.find(); s.Path != part+"/job" {
		t.Errorf("found %s", s.Path)
	}
	must(t, os.Chmod(part, 0o755))
}

func TestWhyNoneIsFound(t *testing.T) {
	cases := []struct {
		name, group string
		setUp       func(f *fake)
		words       []string
		errno       error
	}{
		{"version 1", "", func(f *fake) {
			f.self("4:memory:/\n1:name=systemd:/\n")
			f.put(f.proc+"/self", "mountinfo", "30 21 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n")
		}, []string{"cgroup version 1", "systemd.unified_cgroup_hierarchy=1"}, nil},
		{"no mount", "", func(f *fake) {
			f.put(f.proc+"/self", "mountinfo", "21 1 8:1 / / rw - ext4 /dev/vda rw\n")
		}, []string{"no cgroup2 file system", "mount -t cgroup2"}, nil},
		{"no proc", "", func(f *fake) { must(f.t, os.RemoveAll(f.proc)) }, []string{"mount -t proc"}, unix.ENOENT},
		{"outside of the namespace", "/../outer", nil, []string{"/../outer", "--cgroupns=private"}, nil},
		{"ssh session", "/user.slice/user-1000.slice/session-3.scope", nil, []string{"session-3.scope", "systemd-run --user --scope", "Delegate=yes"}, unix.EACCES},
		{"cron", "/system.slice/cron.service", nil, []string{"cron.service", "systemd-run --user"}, unix.EACCES},
		{"unit without Delegate", "/system.slice/job.service", nil,
			[]string{"/etc/systemd/system/job.service.d", `printf '[Service]\nDelegate=yes\n'`, "daemon-reload", "systemctl restart job.service"}, unix.EACCES},
		{"no systemd", "/", nil, []string{"mkdir -p rc-user-", "chown", "echo $$ >", "cgroup.subtree_control"}, unix.EACCES},
		{"hybrid", "/box", func(f *fake) { f.self("4:memory:/\n0::/box\n") }, []string{"hybrid", "belongs to", "systemd.unified_cgroup_hierarchy=1"}, unix.EACCES},
		{"read-only", "/box", func(f *fake) { f.mountinfo("/", f.top, "ro") }, []string{"unmask=/sys/fs/cgroup"}, unix.EROFS},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t, c.group, everything)
			if c.group != "" && c.group != "/" && c.group[:3] != "/.." {
				f.group(c.group, selfPID)
				for p := c.group; p != "/"; p = filepath.Dir(p) {
					f.foreign(p)
				}
			}
			if c.setUp != nil {
				c.setUp(f)
			}
			_, err := find(f.view)
			says(t, err, append(c.words, finding)...)
			if c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("%v is not %v", err, c.errno)
			}
		})
	}
}

func TestBelow(t *testing.T) {
	cases := []struct {
		group, root, rel string
		ok               bool
	}{
		{"/", "/", "/", true}, {"/a/b", "/", "/a/b", true}, {"/a/b", "/a", "/b", true}, {"/a", "/a", "", true},
		{"/ab", "/a", "", false}, {"/..", "/", "", false}, {"/../x", "/", "", false}, {"/b", "/a", "", false}, {"/..x", "/", "/..x", true},
	}
	for _, c := range cases {
		if rel, ok := below(c.group, c.root); ok != c.ok || ok && rel != c.rel {
			t.Errorf("below(%q, %q) = %q, %v", c.group, c.root, rel, ok)
		}
	}
}
