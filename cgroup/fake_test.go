package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fake is a folder with the files of a cgroup2 tree, for the controllers and the
// hosts that this machine does not have. It stores what is written; it enforces
// nothing.
type fake struct {
	t    *testing.T
	top  string // where "cgroup2" is mounted
	proc string
	view view
	cpus string // cpuset.cpus.effective of new groups
}

const selfPID = 4242

// newFake makes a tree whose root offers controllers, with this process in group.
func newFake(t *testing.T, group, controllers string) *fake {
	t.Helper()
	base := t.TempDir()
	f := &fake{t: t, top: base + "/cg", proc: base + "/proc", cpus: "0-3"}
	f.view = view{
		proc: f.proc, pid: selfPID, made: f.fill,
		isV2: func(p string) bool { st, err := os.Stat(p); return err == nil && st.IsDir() },
		// Not access(2): these tests run as root too, to whom nothing is refused.
		ours: func(p string) bool { st, err := os.Stat(p); return err == nil && st.Mode()&0o222 != 0 },
	}
	must(t, os.MkdirAll(f.proc+"/self", 0o755))
	must(t, os.Mkdir(f.top, 0o755))
	f.put(f.top, controllersFile, controllers)
	f.put(f.top, controlFile, "")
	f.put(f.top, procsFile, "1\n2\n")
	f.foreign("/")
	f.self("0::" + group + "\n")
	f.mountinfo("/", f.top, "rw")
	return f
}

func (f *fake) self(text string) { f.put(f.proc+"/self", "cgroup", text) }

func (f *fake) mountinfo(root, dir, mode string) {
	f.put(f.proc+"/self", "mountinfo", fmt.Sprintf(
		"21 1 8:1 / / rw - ext4 /dev/vda rw\n30 21 0:26 %s %s %s,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", root, strings.ReplaceAll(dir, " ", `\040`), mode))
}

// fill does what the kernel does on mkdir.
func (f *fake) fill(path string) error {
	handed, _ := os.ReadFile(filepath.Dir(path) + "/" + controlFile)
	have := strings.ReplaceAll(string(handed), "+", "")
	f.put(path, controllersFile, have)
	f.put(path, controlFile, "")
	f.put(path, procsFile, "")
	f.put(path, typeFile, "domain\n")
	f.put(path, eventsFile, "populated 0\nfrozen 0\n")
	f.put(path, "cpu.stat", "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 10\nnr_throttled 3\nthrottled_usec 250\n")
	files := map[string][]string{
		"memory":  {"memory.max", "memory.swap.max", "memory.low", "memory.high", "memory.events", "memory.current"},
		"cpu":     {"cpu.max", "cpu.weight"},
		"pids":    {"pids.max", "pids.current"},
		"io":      {"io.max", "io.weight", "io.stat"},
		"hugetlb": {"hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"},
	}
	for c := range strings.FieldsSeq(have) {
		for _, name := range files[c] {
			f.put(path, name, "max\n")
		}
		if c == "cpuset" {
			f.put(path, "cpuset.cpus", "")
			f.put(path, "cpuset.cpus.effective", f.cpus+"\n")
		}
	}
	return nil
}

// group makes a group and those above it; each hands on what it has.
func (f *fake) group(path string, pids ...int) string {
	dir := f.top
	for name := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		parent := dir
		dir = filepath.Join(dir, name)
		st, err := os.Stat(parent)
		must(f.t, err)
		must(f.t, os.Chmod(parent, 0o755)) // a foreign folder, when this test is no root
		err = os.Mkdir(dir, 0o755)
		must(f.t, os.Chmod(parent, st.Mode()))
		if err == nil {
			if text, _ := os.ReadFile(parent + "/" + controlFile); len(text) == 0 {
				have, _ := os.ReadFile(parent + "/" + controllersFile)
				f.put(parent, controlFile, string(have))
			}
			must(f.t, f.fill(dir))
		}
	}
	for _, pid := range pids {
		f.put(dir, procsFile, f.get(dir, procsFile)+fmt.Sprintln(pid))
	}
	return dir
}

// foreign makes a group somebody else's.
func (f *fake) foreign(paths ...string) {
	for _, p := range paths {
		must(f.t, os.Chmod(filepath.Join(f.top, p), 0o555))
	}
	f.t.Cleanup(func() {
		for _, p := range paths {
			_ = os.Chmod(filepath.Join(f.top, p), 0o755)
		}
	})
}

func (f *fake) find() *Subtree {
	f.t.Helper()
	s, err := find(f.view)
	must(f.t, err)
	return s
}

func (f *fake) put(dir, name, text string) {
	f.t.Helper()
	must(f.t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
}

func (f *fake) get(dir, name string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	must(f.t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// says checks that err is one line that holds each of the words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}
