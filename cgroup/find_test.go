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

// A desktop's terminal: its scope is ours and full of other processes, the slice
// above is ours and empty.
func TestFindsAppSliceFromTerminal(t *testing.T) {
	const app = "/user.slice/user-1000.slice/user@1000.service/app.slice"
	f := newFake(t, app+"/app-term.scope", everything)
	f.group(app+"/app-term.scope", 7, selfPID, 9)
	f.foreign("/user.slice", "/user.slice/user-1000.slice")
	s := f.find()
	if s.Path != filepath.Join(f.top, app) || s.within {
		t.Errorf("found %s, within %v", s.Path, s.within)
	}
	says(t, errors.New(s.How), "slice of the user's systemd")
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
