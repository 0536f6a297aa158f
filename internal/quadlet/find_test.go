package quadlet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func at(dir string) []Dir { return []Dir{{Path: dir}} }

func names(r *Result) string {
	var list []string
	for _, u := range r.Units {
		if u.Source != "" {
			list = append(list, u.Name)
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

const good = "[Container]\nImage=alpine\n"

// Whatever else lies in the folders, the good files become units, and what is wrong
// is one line each.
func TestHostileFolders(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	write1(t, in("good.container"), good)
	write1(t, in("sub/deep/also.container"), good)
	write1(t, in("huge.container"), "[Container]\nImage="+strings.Repeat("x", maxFile))
	write1(t, in("elf.container"), "\x7fELF\x02\x01\x01\x00"+strings.Repeat("\x00\xff\n", 10000))
	write1(t, in("folder.container/x"), "")
	write1(t, in(".hidden.container"), good)
	write1(t, in("good.container~"), good)
	write1(t, in("notes.txt"), "nothing")
	must(t, syscall.Mkfifo(in("pipe.container"), 0o644))
	must(t, os.Symlink("loop.container", in("loop.container")))
	must(t, os.Symlink("nowhere", in("broken.container")))
	must(t, os.Symlink("/dev/zero", in("zero.container")))
	must(t, os.Symlink("/dev/null", in("masked.container")))
	must(t, os.Symlink(".", in("circle")))
	must(t, os.Symlink("..", in("sub/up")))
	must(t, os.Symlink("good.container", in("other.container")))

	began := time.Now()
	r := Generate(Options{Program: "/usr/bin/rc", Dirs: at(dir)})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
	want := "also.service broken.service elf.service good.service huge.service loop.service other.service pipe.service zero.service"
	if got := names(r); got != want {
		t.Errorf("units %s\n want %s", got, want)
	}
	for _, u := range r.Units {
		if fine := slices.Contains([]string{"also.service", "good.service", "other.service"}, u.Name); u.Failed == fine {
			t.Errorf("%s: failed=%v", u.Name, u.Failed)
		}
	}
	for _, line := range []string{
		"/pipe.container: it cannot be read: it is no regular file", "/loop.container: it cannot be read: too many levels of symbolic links",
		"/broken.container: it cannot be read: no such file", "/zero.container: it cannot be read: it is no regular file",
		"/huge.container: it cannot be read: it is larger than 1 MiB", "/elf.container:1: the line is no text",
	} {
		if n := strings.Count(print(&Result{Problems: r.Problems}), line); n != 1 {
			t.Errorf("%q is said %d times", line, n)
		}
	}
	if len(r.Problems) != 5+maxFaults+1 { // and that elf has no section
		t.Logf("%d problems", len(r.Problems))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	write1(t, filepath.Join(dir, "a.container"), good)
	write1(t, filepath.Join(dir, "b.container"), good)
	write1(t, filepath.Join(dir, "closed/c.container"), good)
	write1(t, filepath.Join(dir, "b.container.d/x.conf"), good)
	must(t, os.Chmod(filepath.Join(dir, "a.container"), 0))
	must(t, os.Chmod(filepath.Join(dir, "closed"), 0))
	must(t, os.Chmod(filepath.Join(dir, "b.container.d"), 0))
	t.Cleanup(func() {
		_ = os.Chmod(filepath.Join(dir, "closed"), 0o755)
		_ = os.Chmod(filepath.Join(dir, "b.container.d"), 0o755)
	})
	r := Generate(Options{Program: "/usr/bin/rc", Dirs: at(dir)})
	got := print(r)
	if names(r) != "a.service b.service" || !r.Units[0].Failed || !r.Units[1].Failed || len(r.Problems) != 3 ||
		strings.Count(got, "permission denied") < 3 {
		t.Error(got)
	}
}

// The first folder counts; two files of a name below one folder are a mistake.
func TestPrecedence(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	write1(t, filepath.Join(first, "a.container"), "[Container]\nImage=first\n")
	write1(t, filepath.Join(second, "a.container"), "[Container]\nImage=second\n")
	write1(t, filepath.Join(second, "x/b.container"), "[Container]\nImage=one\n")
	write1(t, filepath.Join(second, "y/b.container"), "[Container]\nImage=two\n")
	write1(t, filepath.Join(first, "gone.container"), "")
	write1(t, filepath.Join(second, "gone.container"), good)
	write1(t, filepath.Join(second, "a.container.d/x.conf"), "[Container]\nLabel=from=second\n")
	r := Generate(Options{Program: "/usr/bin/rc", Dirs: []Dir{{Path: first}, {Path: second}, {Path: "/nowhere"}}})
	got := print(r)
	if names(r) != "a.service b.service" || !strings.Contains(got, " --label from=second first\n") || !strings.Contains(got, " one\n") || strings.Contains(got, " two\n") {
		t.Error(got)
	}
	if len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Error(), second+"/y/b.container: "+second+"/x/b.container has the same name") {
		t.Error(r.Problems)
	}
	if len(r.Notes) != 2 {
		t.Error(r.Notes)
	}
}

// A link to a large tree costs a bounded time.
func TestLargeTree(t *testing.T) {
	dir := t.TempDir()
	write1(t, filepath.Join(dir, "a.container"), good)
	for i := range 40 {
		sub := filepath.Join(dir, "big", fmt.Sprint(i))
		must(t, os.MkdirAll(sub, 0o755))
		for j := range 600 {
			must(t, os.Symlink("x", filepath.Join(sub, fmt.Sprint(j))))
		}
	}
	deep := filepath.Join(dir, strings.Repeat("d/", maxDepth+3))
	write1(t, filepath.Join(deep, "b.container"), good)
	r := Generate(Options{Program: "/usr/bin/rc", Dirs: at(dir)})
	if names(r) != "a.service" || len(r.Problems) == 0 || len(r.Problems) > 2 {
		t.Error(names(r), r.Problems)
	}
	if !strings.Contains(print(r), "there are more than 20000 files") {
		t.Error(r.Problems)
	}
}

func TestDirs(t *testing.T) {
	show := func(w Where) string {
		var list []string
		for _, d := range w.Dirs() {
			list = append(list, fmt.Sprint(d.Path, d.Skip))
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		w    Where
		want string
	}{
		{Where{}, "/run/rc/systemd1 /etc/rc/systemd1 /usr/share/rc/systemd1"},
		{Where{User: true, UID: 7, Config: "/c", Run: "/r"}, "/c/rc/systemd0 /etc/rc/systemd/users/70 /etc/rc/systemd/users2"},
		{Where{User: true, UID: 7, Config: "/c", Run: "/r", Podman: true}, "/c/rc/systemd0 /etc/rc/systemd/users/70 /etc/rc/systemd/users2 " +
			"/r/containers/systemd0 /c/containers/systemd0 /etc/containers/systemd/users/70 /etc/containers/systemd/users2"},
		{Where{User: true, UID: 7}, "/etc/rc/systemd/users/70 /etc/rc/systemd/users2"},
	} {
		if got := show(c.w); got != c.want {
			t.Errorf("%+v:\n got %s\nwant %s", c.w, got, c.want)
		}
	}
	if !SkipUsers.skips("users", 0) || SkipUsers.skips("users", 1) || !SkipNumbers.skips("1000", 0) || SkipNumbers.skips("team", 0) || SkipNone.skips("users", 0) {
		t.Error("the folders of others")
	}
	for _, user := range []bool{true, false} {
		if list := PodmanGenerators(user); len(list) != 5 || !strings.Contains(list[0], "/run/systemd/") {
			t.Error(list)
		}
	}
}

// A user's files, and those that the administrator has for everybody and for one.
func TestUsersFolder(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"all.container", "team/some.container", "1000/mine.container", "1001/theirs.container"} {
		write1(t, filepath.Join(dir, name), good)
	}
	r := Generate(Options{User: true, Program: "/rc", Dirs: []Dir{{Path: filepath.Join(dir, "1000")}, {Path: dir, Skip: SkipNumbers}}})
	if got := names(r); got != "all.service mine.service some.service" {
		t.Error(got)
	}
}

func TestWrite(t *testing.T) {
	r, _ := generateFolder(t, "testdata/templates")
	out := filepath.Join(t.TempDir(), "generator")
	must(t, r.Write(out))
	for link, want := range map[string]string{
		"default.target.wants/sleep@100.service": "../sleep@.service", "multi-user.target.wants/sleep@10.service": "../sleep@10.service", "ten.service": "sleep@10.service",
	} {
		if got, err := os.Readlink(filepath.Join(out, link)); err != nil || got != want {
			t.Errorf("%s: %s, %v", link, got, err)
		}
		if _, err := os.Stat(filepath.Join(out, link)); err != nil {
			t.Error(err)
		}
	}
	must(t, r.Write(out)) // again, as for a second call with the same folder
	// What is in the way of one unit keeps no other from being written.
	out = t.TempDir()
	must(t, os.Mkdir(filepath.Join(out, "sleep@.service"), 0o755))
	must(t, os.Symlink("elsewhere", filepath.Join(out, "ten.service")))
	victim := filepath.Join(t.TempDir(), "victim")
	write1(t, victim, "safe")
	must(t, os.Symlink(victim, filepath.Join(out, "idle@.service")))
	err := r.Write(out)
	if err == nil || !strings.Contains(err.Error(), "write sleep@.service") || !strings.Contains(err.Error(), "link ten.service to sleep@10.service: another unit has this name") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(out, "sleep@10.service")); err != nil {
		t.Error(err)
	}
	if text, _ := os.ReadFile(victim); string(text) != "safe" {
		t.Error("a link was followed")
	}
	if err := r.Write("/proc/nowhere"); err == nil {
		t.Error("units in /proc")
	}
}

func TestUnitNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"web": true, "a-b_c.d:e": true, `a\x2db`: true, "t@": true, "t@i": true, "": false, "@": false, "@x": false, "a b": false,
		"a/b": false, "ä": false, "a@b@c": false, ".a": false, strings.Repeat("x", 247): true, strings.Repeat("x", 248): false, "a\nb": false,
	} {
		if why := badUnitName(name); (why == "") != ok {
			t.Errorf("%q: %q", name, why)
		}
	}
}

// A fault of our own in one file is that file's alone.
func TestProtect(t *testing.T) {
	g := &generator{}
	g.protect("/x/a.container", func() { panic("oops") })
	if len(g.Problems) != 1 || !strings.Contains(g.Problems[0].Error(), "/x/a.container: rc has a fault of its own: oops") {
		t.Error(g.Problems)
	}
}

func BenchmarkGenerate(b *testing.B) {
	dir := b.TempDir()
	text, err := os.ReadFile("testdata/all/all.container")
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		write1(b, filepath.Join(dir, fmt.Sprintf("c%d.container", i)), string(text))
	}
	write1(b, filepath.Join(dir, "data.volume"), "[Volume]\n")
	out := b.TempDir()
	for b.Loop() {
		r := Generate(Options{User: true, Program: "/usr/bin/rc", Dirs: at(dir)})
		if len(r.Problems) > 0 {
			b.Fatal(r.Problems)
		}
		must(b, r.Write(out))
	}
}
