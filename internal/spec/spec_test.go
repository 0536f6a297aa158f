package spec

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/userns"
)

const testID = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// usual is the mapping of an ordinary user: the caller, then 65536 ids.
func usual() *userns.Mapping {
	maps := []userns.IDMap{{Inside: 0, Outside: 1000, Size: 1}, {Inside: 1, Outside: 100000, Size: 65536}}
	return &userns.Mapping{UID: maps, GID: maps}
}

func single() *userns.Mapping {
	maps := []userns.IDMap{{Inside: 0, Outside: 1000, Size: 1}}
	return &userns.Mapping{UID: maps, GID: maps, SingleID: true,
		Why: hint.Newf("map subordinate IDs", "sudo usermod --add-subuids 100000-165535 me", "no range for me")}
}

func alpine() *record.Image {
	return &record.Image{ID: testID, OS: "linux", Architecture: HostPlatform().Architecture,
		Config: record.ImageConfig{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, Cmd: []string{"/bin/sh"}, WorkingDir: "/"}}
}

func input(o *Options) *Input {
	return &Input{ID: testID, Options: o, Image: alpine(), Dir: "/state/containers/" + testID, Mapping: usual(),
		Environ: []string{"HOME=/home/me", "LANG=C", "EMPTY="}}
}

func mustBuild(t *testing.T, in *Input) *Plan {
	t.Helper()
	p, err := Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// plan builds with the usual image.
func plan(t *testing.T, o Options) *Plan {
	t.Helper()
	if o.Command == nil {
		o.Command = []string{"sh"}
	}
	return mustBuild(t, input(&o))
}

// checkRefusal holds every refusal to the house's form: a *hint.Error, one line,
// which names what was typed and, unless fix is not to be known, what to do.
func checkRefusal(t *testing.T, err error, want string) {
	t.Helper()
	var h *hint.Error
	switch {
	case err == nil:
		t.Errorf("not refused; want %q", want)
	case !errors.As(err, &h):
		t.Errorf("not a *hint.Error: %v", err)
	case !strings.Contains(err.Error(), want):
		t.Errorf("got  %v\nwant …%s…", err, want)
	case strings.ContainsAny(err.Error(), "\n\r"):
		t.Errorf("more than one line: %q", err)
	case h.Op == "" || h.Fix == "":
		t.Errorf("no operation or no fix: %#v", h)
	case hint.ExitCode(err) != hint.ExitRefused:
		t.Errorf("exit code %d", hint.ExitCode(err))
	}
}

func findMount(p *Plan, dest string) *specs.Mount {
	for i := range p.Spec.Mounts {
		if p.Spec.Mounts[i].Destination == dest {
			return &p.Spec.Mounts[i]
		}
	}
	return nil
}

// mountText is "type source options", "" where nothing is mounted.
func mountText(p *Plan, dest string) string {
	m := findMount(p, dest)
	if m == nil {
		return ""
	}
	return m.Type + " " + m.Source + " " + strings.Join(m.Options, ",")
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\ngot  %q\nwant %q", what, got, want)
	}
}

var update = flag.Bool("update", false, "write testdata/ anew")

// The whole runtime-spec of `rc run alpine sh`, to be read by people.
func TestGolden(t *testing.T) {
	for name, o := range map[string]*Options{
		"alpine-sh":  {Command: []string{"sh"}},
		"privileged": {Command: []string{"sh"}, Privileged: true, Device: nil},
		"host":       {Command: []string{"sh"}, Network: []string{"host"}, PID: "host", UTS: "host", TTY: true},
	} {
		t.Run(name, func(t *testing.T) {
			in := input(o)
			p := mustBuild(t, in)
			neutral(p)
			got, err := json.MarshalIndent(p.Spec, "", "\t")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("differs from %s (go test -update writes it anew):\n%s", file, got)
			}
		})
	}
}

// neutral takes out what depends on the machine: its name, its devices, its CPUs.
func neutral(p *Plan) {
	for i, e := range p.Spec.Process.Env {
		if e == "HOSTNAME="+hostName() {
			p.Spec.Process.Env[i] = "HOSTNAME=thishost"
		}
	}
	p.Spec.Mounts = slices.DeleteFunc(p.Spec.Mounts, func(m specs.Mount) bool {
		return m.Type == "bind" && strings.HasPrefix(m.Source, "/dev/")
	})
	p.Spec.Linux.MaskedPaths = slices.DeleteFunc(p.Spec.Linux.MaskedPaths, func(s string) bool {
		return strings.HasSuffix(s, "/thermal_throttle")
	})
}

func TestDefaults(t *testing.T) {
	p := plan(t, Options{})
	if p.Network.Kind != DefaultKind || p.PID.Kind != KindPrivate || p.Seccomp.Unconfined || p.Seccomp.Path != "" || p.ShmMount != -1 {
		t.Errorf("%+v", p)
	}
	if p.StopSignal != 15 || p.StopAfter != defaultStopAfter || len(p.Warnings) > 0 || p.Shifted || p.HomeSet {
		t.Errorf("%+v", p)
	}
	if len(p.Seccomp.Caps) != 14 {
		t.Errorf("%d capabilities", len(p.Seccomp.Caps))
	}
}

// What Check refuses needs no image, and Build refuses the same.
func TestCheck(t *testing.T) {
	bad := &Options{Ulimit: []string{"nofile"}, Command: []string{"sh"}}
	checkRefusal(t, Check(bad), `--ulimit "nofile"`)
	if err := Check(&Options{}); err != nil {
		t.Error(err)
	}
}

// A refusal leaves nothing behind, whatever came before it on the command line.
func TestRefusalMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	_, err := Build(input(&Options{Command: []string{"sh"}, Volume: []string{dir + ":/x"}, User: "99999"}))
	checkRefusal(t, err, "not mapped")
	if _, err := os.Stat(dir); err == nil {
		t.Error("the source of -v was made")
	}
	plan(t, Options{Volume: []string{dir + ":/x"}})
	if fi, err := os.Stat(dir); err != nil || !fi.IsDir() {
		t.Errorf("the source of -v was not made: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, good := range []string{"ab", "a.b-c_d", "0x"} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{"": "too short", "a": "too short", "-a": "begin with", ".hidden": "begin with", "a/b": `"/"`,
		"a b": `" "`, "aé": `"é"`, "..": "begin with", strings.Repeat("a", 129): "too long"} {
		checkRefusal(t, CheckName(name), want)
	}
	checkRefusal(t, Check(&Options{Name: "a/b"}), `--name "a/b"`)
	checkRefusal(t, Check(&Options{Pull: "sometimes"}), `--pull "sometimes"`)
	checkRefusal(t, Check(&Options{Platform: "toaster"}), `--platform "toaster"`)
	checkRefusal(t, Check(&Options{Rootfs: "/nonexistent"}), `--rootfs "/nonexistent": no such file`)
	checkRefusal(t, Check(&Options{Rootfs: "/etc/passwd"}), "not a folder")
}

func TestRootfs(t *testing.T) {
	dir := t.TempDir()
	in := input(&Options{Rootfs: dir, Command: []string{"/bin/x"}})
	in.Image = nil
	p := mustBuild(t, in)
	if p.Spec.Root.Path != dir || p.Spec.Process.Cwd != "/" {
		t.Errorf("%+v", p.Spec.Root)
	}
	in.Options.Command = nil
	_, err := Build(in)
	checkRefusal(t, err, "no command is given")
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{"NET_ADMN": "NET_ADMIN", "SYSADMIN": "SYS_ADMIN", "XYZ": "", "CHWON": "CHOWN"} {
		if got := nearest(s, capabilityNames); got != want {
			t.Errorf("%s: %q", s, got)
		}
	}
	if d := editDistance("kitten", "sitting"); d != 3 {
		t.Error(d)
	}
}

// Build is on the path of every start: tens of microseconds.
func BenchmarkBuild(b *testing.B) {
	in := input(&Options{Command: []string{"sh"}, Volume: []string{"/tmp:/x:ro"}, Env: []string{"A=b"}})
	for b.Loop() {
		if _, err := Build(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSeccompKey(b *testing.B) {
	p := SeccompProfile{Caps: capabilityNames}
	for b.Loop() {
		if _, err := SeccompKey(p, "amd64"); err != nil {
			b.Fatal(err)
		}
	}
}
