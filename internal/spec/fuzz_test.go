package spec

import (
	"errors"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/hint"
)

// Each flag that is parsed here, as a way to give it one value.
var flags = map[string]func(o *Options, v string){
	"add-host":     func(o *Options, v string) { o.AddHost = []string{v} },
	"annotation":   func(o *Options, v string) { o.Annotation = []string{v} },
	"cap-add":      func(o *Options, v string) { o.CapAdd = []string{v} },
	"cap-drop":     func(o *Options, v string) { o.CapDrop = []string{v} },
	"cpus":         func(o *Options, v string) { o.CPUs = v },
	"cpuset-cpus":  func(o *Options, v string) { o.CpusetCPUs = v },
	"device":       func(o *Options, v string) { o.Device = []string{v} },
	"dns":          func(o *Options, v string) { o.DNS = []string{v} },
	"dns-option":   func(o *Options, v string) { o.DNSOption = []string{v} },
	"dns-search":   func(o *Options, v string) { o.DNSSearch = []string{v} },
	"env":          func(o *Options, v string) { o.Env = []string{v} },
	"group-add":    func(o *Options, v string) { o.GroupAdd = []string{v} },
	"hostname":     func(o *Options, v string) { o.Hostname = v },
	"ip":           func(o *Options, v string) { o.IP = v },
	"ip6":          func(o *Options, v string) { o.IP6 = v },
	"ipc":          func(o *Options, v string) { o.IPC = v },
	"label":        func(o *Options, v string) { o.Label = []string{v} },
	"mac-address":  func(o *Options, v string) { o.MAC = v },
	"memory":       func(o *Options, v string) { o.Memory = v },
	"memory-swap":  func(o *Options, v string) { o.MemorySwap = v },
	"mount":        func(o *Options, v string) { o.Mount = []string{v} },
	"name":         func(o *Options, v string) { o.Name = v },
	"network":      func(o *Options, v string) { o.Network = []string{v} },
	"pid":          func(o *Options, v string) { o.PID = v },
	"platform":     func(o *Options, v string) { o.Platform = v },
	"publish":      func(o *Options, v string) { o.Publish = []string{v} },
	"pull":         func(o *Options, v string) { o.Pull = v },
	"security-opt": func(o *Options, v string) { o.SecurityOpt = []string{v} },
	"shm-size":     func(o *Options, v string) { o.ShmSize = v },
	"stop-signal":  func(o *Options, v string) { o.StopSignal = v },
	"sysctl":       func(o *Options, v string) { o.Sysctl = []string{v} },
	"tmpfs":        func(o *Options, v string) { o.Tmpfs = []string{v} },
	"ulimit":       func(o *Options, v string) { o.Ulimit = []string{v} },
	"user":         func(o *Options, v string) { o.User = v },
	"userns":       func(o *Options, v string) { o.Userns = v },
	"uts":          func(o *Options, v string) { o.UTS = v },
	"volume":       func(o *Options, v string) { o.Volume = []string{v} },
	"workdir":      func(o *Options, v string) { o.Workdir = v },
}

// odd values, of which many are wrong for any one flag.
var odd = []string{"", " ", ":", "=", ",", "-", "--", "/", "//", "..", "../..", "a:", ":a", "a:b:c:d:e", "=a", "a=", "a==", "\x00", "a\nb", "a\r", "\xff", "é",
	"-1", "0", "18446744073709551616", "1e9", "0x10", "NaN", "1.5.5", "container:", "host:host", "auto:size=", "a,b", `"`, `"a`, "size=", "[::1", "[]:1",
	"net.", "nofile=:", "CAP_", "SIG", "RTMIN+", strings.Repeat("a", 70000), "unmask=", "seccomp:", "type=bind", "type=", "target=/x,target=/x", "/a:/b:", "/dev/null:"}

// Whatever is typed, the answer is a plan or one line that names the flag.
func TestOddValues(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, set := range flags {
		for _, value := range odd {
			tryFlag(t, name, set, value)
		}
	}
}

func tryFlag(t *testing.T, name string, set func(*Options, string), value string) {
	t.Helper()
	in := input(&Options{Command: []string{"sh"}})
	set(in.Options, value)
	if len(in.Options.Joins()) > 0 {
		in.Sandbox = &Sandbox{UIDMap: usual().UID, GIDMap: usual().GID}
	}
	p, err := Build(in)
	if err != nil {
		var h *hint.Error
		if !errors.As(err, &h) || strings.ContainsAny(err.Error(), "\n\r\x00") {
			t.Errorf("--%s %.50q: %q", name, value, err)
		}
		if made := strings.HasPrefix(h.Op, "make the folder"); !made && !strings.HasPrefix(h.Op, "--"+name+" ") {
			t.Errorf("--%s %.50q is not named: %v", name, value, err)
		}
		return
	}
	for _, m := range p.Spec.Mounts {
		if !path.IsAbs(m.Destination) || path.Clean(m.Destination) != m.Destination || m.Destination == "/" || strings.Contains(m.Destination, "\x00") {
			t.Errorf("--%s %.50q: mount at %q", name, value, m.Destination)
		}
	}
	for key := range p.Spec.Linux.Sysctl {
		if strings.Contains(key, "..") || strings.HasPrefix(key, "/") {
			t.Errorf("--%s %.50q: sysctl %q", name, value, key)
		}
	}
}

func FuzzFlags(f *testing.F) {
	for _, value := range odd {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for name, set := range flags {
			if name == "volume" || name == "mount" {
				continue // they make the folders that the fuzzer thinks of
			}
			tryFlag(t, name, set, value)
		}
	})
}

func FuzzMounts(f *testing.F) {
	for _, value := range odd {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, o := range []*Options{{Volume: []string{value}}, {Mount: []string{value}}, {Tmpfs: []string{value}}} {
			var h *hint.Error
			if err := Check(o); err != nil && !errors.As(err, &h) { // Check makes nothing
				t.Errorf("%q: %v", value, err)
			}
		}
	})
}

// rc links this package and starts in under two milliseconds: what it imports is
// paid at every start (DESIGN.md, section 2).
func TestImports(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		src, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, src, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, imp := range tree.Imports {
			switch name := strings.Trim(imp.Path.Value, `"`); {
			case name == "net", name == "regexp", name == "os/user", name == "os/exec", name == "text/template",
				strings.Contains(name, "docker"), strings.Contains(name, "moby"):
				t.Errorf("%s imports %s", file, name)
			}
		}
		if strings.Contains(string(src), "\nfunc init()") {
			t.Errorf("%s has an init function", file)
		}
	}
}
