package spec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rc-containers/rc/cgroup"
)

func caps(p *Plan) string {
	return strings.ReplaceAll(strings.Join(p.Spec.Process.Capabilities.Bounding, " "), "CAP_", "")
}

const fourteen = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT MKNOD AUDIT_WRITE SETFCAP"

func TestCapabilities(t *testing.T) {
	all := strings.Join(capabilityNames, " ")
	for _, c := range []struct {
		add, drop  string
		privileged bool
		want       string
	}{
		{"", "", false, fourteen},
		{"CAP_NET_ADMIN", "", false, strings.Replace(fourteen, "NET_RAW", "NET_ADMIN NET_RAW", 1)},
		{"chown", "cap_chown,Setfcap", false, strings.TrimSuffix(fourteen, " SETFCAP")}, // what is added wins
		{"", "ALL", false, ""},
		{"NET_RAW,sys_admin", "all", false, "NET_RAW SYS_ADMIN"},
		{"ALL", "", false, all},
		{"ALL", "CHOWN", false, strings.TrimPrefix(all, "CHOWN ")},
		{"ALL", "ALL", false, all},
		{"", "ALL", true, all},
	} {
		o := Options{Privileged: c.privileged}
		if c.add != "" {
			o.CapAdd = strings.Split(c.add, ",")
		}
		if c.drop != "" {
			o.CapDrop = strings.Split(c.drop, ",")
		}
		p := plan(t, o)
		if got := caps(p); got != c.want {
			t.Errorf("%+v:\n%s", c, got)
		}
		set := p.Spec.Process.Capabilities
		if len(set.Inheritable)+len(set.Ambient) > 0 || !slices.Equal(set.Bounding, p.Seccomp.Caps) {
			t.Errorf("%+v", set)
		}
	}
	if len(capabilityNames) != 41 || capabilityNames[40] != "CHECKPOINT_RESTORE" || capabilityNames[21] != "SYS_ADMIN" {
		t.Error("the table is not in the kernel's order")
	}
	checkRefusal(t, Check(&Options{CapAdd: []string{"NET_ADMN"}}), `--cap-add "NET_ADMN": no such capability; did you mean NET_ADMIN?`)
	checkRefusal(t, Check(&Options{CapDrop: []string{"xyzzy"}}), `see capabilities(7)`)
}

func TestSecurityOpt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte(`{"defaultAction":"SCMP_ACT_ALLOW"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, ok := range map[string]func(p *Plan) bool{
		"seccomp=unconfined":      func(p *Plan) bool { return p.Seccomp.Unconfined },
		"seccomp:unconfined":      func(p *Plan) bool { return p.Seccomp.Unconfined },
		"seccomp=builtin":         func(p *Plan) bool { return !p.Seccomp.Unconfined && p.Seccomp.Path == "" },
		"seccomp=" + file:         func(p *Plan) bool { return !p.Seccomp.Unconfined && p.Seccomp.Path == file },
		"no-new-privileges":       func(p *Plan) bool { return p.Spec.Process.NoNewPrivileges },
		"no-new-privileges:true":  func(p *Plan) bool { return p.Spec.Process.NoNewPrivileges },
		"no-new-privileges=false": func(p *Plan) bool { return !p.Spec.Process.NoNewPrivileges },
		"apparmor=unconfined":     func(p *Plan) bool { return p.Spec.Process.ApparmorProfile == "" },
		"label=disable":           func(p *Plan) bool { return p.Spec.Process.SelinuxLabel == "" },
		"label:disable":           func(p *Plan) bool { return p.Spec.Process.SelinuxLabel == "" },
		"systempaths=unconfined":  func(p *Plan) bool { return len(p.Spec.Linux.MaskedPaths)+len(p.Spec.Linux.ReadonlyPaths) == 0 },
		"unmask=ALL":              func(p *Plan) bool { return len(p.Spec.Linux.MaskedPaths)+len(p.Spec.Linux.ReadonlyPaths) == 0 },
		"unmask=/proc/acpi:/sys/*": func(p *Plan) bool {
			return !masks(p, "/proc/acpi") && !masks(p, "/sys/firmware") && masks(p, "/proc/kcore")
		},
		"unmask=/proc/sys": func(p *Plan) bool { return !slices.Contains(p.Spec.Linux.ReadonlyPaths, "/proc/sys") },
		"mask=/a:/b/":      func(p *Plan) bool { return masks(p, "/a") && masks(p, "/b") && masks(p, "/proc/kcore") },
		"writable-cgroups": func(p *Plan) bool { return !strings.Contains(mountText(p, "/sys/fs/cgroup"), "ro,") },
	} {
		if !ok(plan(t, Options{SecurityOpt: []string{value}})) {
			t.Error(value)
		}
	}
	for value, want := range map[string]string{
		"":                        "no value",
		"seccomp":                 "no value",
		"seccomp=":                "no value",
		"seccomp=/nonexistent":    "no such file",
		"seccomp=/etc/passwd":     "not JSON",
		"apparmor=docker-default": "no AppArmor profile is applied",
		"label=type:x":            "no SELinux label",
		"no-new-privileges=x":     `"x" is neither`,
		"systempaths=x":           "write systempaths=unconfined",
		"mask=a":                  `"a" is not an absolute path`,
		"mask=/":                  `"/" is not an absolute path below /`,
		"unmask=x":                "is not an absolute path",
		"secomp=x":                "did you mean seccomp?",
		"foo=bar":                 "the keys are apparmor,",
	} {
		checkRefusal(t, Check(&Options{SecurityOpt: []string{value}}), want)
	}
}

func masks(p *Plan, path string) bool { return slices.Contains(p.Spec.Linux.MaskedPaths, path) }

func TestPrivileged(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.json")
	if err := os.WriteFile(file, []byte(`{}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p := plan(t, Options{Privileged: true})
	if !p.Seccomp.Unconfined || len(p.Spec.Linux.MaskedPaths)+len(p.Spec.Linux.ReadonlyPaths) > 0 || !p.Privileged {
		t.Errorf("%+v", p)
	}
	if got := newNamespaces(p); !strings.Contains(got, "user") {
		t.Error("a privileged container needs a user namespace of its own: " + got)
	}
	p = plan(t, Options{Privileged: true, SecurityOpt: []string{"seccomp=" + file, "mask=/secret"}})
	if p.Seccomp.Unconfined || p.Seccomp.Path != file || !masks(p, "/secret") {
		t.Errorf("%+v", p.Seccomp)
	}
}

// Every condition of a profile is in the key, and nothing else.
func TestSeccompKey(t *testing.T) {
	base := SeccompProfile{Caps: []string{"CAP_CHOWN", "CAP_KILL"}}
	want := seccompKey(base, "amd64", "6.18.1", nil)
	if len(want) != 64 {
		t.Error(want)
	}
	if got := seccompKey(SeccompProfile{Caps: []string{"CAP_KILL", "CAP_CHOWN"}}, "amd64", "6.18.44-generic", nil); got != want {
		t.Error("the order of capabilities or the patch level changes the key")
	}
	seen := map[string]string{want: "base"}
	for name, key := range map[string]string{
		"caps":    seccompKey(SeccompProfile{Caps: []string{"CAP_CHOWN"}}, "amd64", "6.18.1", nil),
		"arch":    seccompKey(base, "arm64", "6.18.1", nil),
		"kernel":  seccompKey(base, "amd64", "6.1.1", nil),
		"empty":   seccompKey(SeccompProfile{Path: "/x", Caps: base.Caps}, "amd64", "6.18.1", nil),
		"profile": seccompKey(SeccompProfile{Path: "/x", Caps: base.Caps}, "amd64", "6.18.1", []byte("{}")),
	} {
		if other, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[key] = name
	}
	if key, err := SeccompKey(base, runtime.GOARCH); err != nil || len(key) != 64 {
		t.Error(key, err)
	}
	_, err := SeccompKey(SeccompProfile{Path: "/nonexistent"}, "amd64")
	checkRefusal(t, err, "no such file")
	for release, want := range map[string]string{"6.18.44-fc": "6.18", "5.14.0-1.el9": "5.14", "6.1": "6.1", "7": "7."} {
		if got := kernelSeries(release); got != want {
			t.Errorf("%s: %s", release, got)
		}
	}
}

// A new version of the library compiles other programs: the constant has to follow.
func TestSeccompVersion(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mod)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "github.com/moby/profiles/seccomp" {
			if !strings.HasPrefix(SeccompVersion, "moby/profiles/seccomp "+f[1]+",") {
				t.Errorf("go.mod has %s, SeccompVersion says %s", f[1], SeccompVersion)
			}
			return
		}
	}
	t.Error("go.mod does not name the library")
}

func TestResources(t *testing.T) {
	p := plan(t, Options{Memory: "64m", MemorySwap: "128m", CPUs: "0.5", CPUShares: 512, CpusetCPUs: "0", PidsLimit: 100})
	want := cgroup.Resources{Memory: 64 << 20, MemorySwap: 128 << 20, NanoCPUs: 5e8, CPUShares: 512, CpusetCPUs: "0", PidsLimit: 100}
	if !reflect.DeepEqual(p.Resources, want) {
		t.Errorf("%+v", p.Resources)
	}
	if p = plan(t, Options{Memory: "64m", MemorySwap: "-1", PidsLimit: -1}); p.Resources.MemorySwap != -1 || p.Resources.PidsLimit != -1 {
		t.Errorf("%+v", p.Resources)
	}
	if p = plan(t, Options{Memory: "0"}); !p.Resources.Empty() {
		t.Errorf("%+v", p.Resources)
	}
	for want, o := range map[string]*Options{
		`--memory "5m": less than 6 MiB`:                        {Memory: "5m"},
		`--memory "m": not a number`:                            {Memory: "m"},
		`--memory "1q"`:                                         {Memory: "1q"},
		`--memory "-1"`:                                         {Memory: "-1"},
		`--memory-swap "1g": it is memory and swap`:             {MemorySwap: "1g"},
		`less than --memory "2g"`:                               {Memory: "2g", MemorySwap: "1g"},
		`--memory-swap "x"`:                                     {Memory: "1g", MemorySwap: "x"},
		`--cpus "x": not a number`:                              {CPUs: "x"},
		fmt.Sprintf("there are %d CPUs here", runtime.NumCPU()): {CPUs: "100000"},
		`--cpus "0.001"`:                                        {CPUs: "0.001"},
		`--cpuset-cpus "x"`:                                     {CpusetCPUs: "x"},
		`--cpuset-cpus "3-1"`:                                   {CpusetCPUs: "3-1"},
		`--cpuset-cpus "0,8000": there is no`:                   {CpusetCPUs: "0,8000"},
		`--pids-limit "-2"`:                                     {PidsLimit: -2},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestParsePlatform(t *testing.T) {
	host := runtime.GOARCH
	for s, want := range map[string]Platform{
		"linux/arm64/v8": {"linux", "arm64", ""}, "linux/arm64": {"linux", "arm64", ""}, "arm64": {"linux", "arm64", ""}, "aarch64": {"linux", "arm64", ""},
		"linux": {"linux", host, ""}, "Linux/AMD64": {"linux", "amd64", ""}, "linux/x86_64": {"linux", "amd64", ""}, "linux/amd64/v3": {"linux", "amd64", "v3"},
		"linux/arm/v7": {"linux", "arm", "v7"}, "armhf": {"linux", "arm", "v7"}, "linux/arm/6": {"linux", "arm", "v6"}, "i386": {"linux", "386", ""},
		"windows/amd64": {"windows", "amd64", ""}, "linux/riscv64": {"linux", "riscv64", ""},
	} {
		if got, err := ParsePlatform(s); err != nil || got != want {
			t.Errorf("%s: %v %v", s, got, err)
		}
	}
	for s, want := range map[string]string{"": "not a platform", "linux/": "not a platform", "linux/arm/v7/x": "more than three", "toaster": "no architecture",
		"beos/amd64": "no operating system", "linux/amd 64": "not a platform"} {
		_, err := ParsePlatform(s)
		checkRefusal(t, err, want)
	}
	if got := (Platform{"linux", "arm", "v7"}).String(); got != "linux/arm/v7" {
		t.Error(got)
	}
}

const qemuARM64 = "enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\nflags: %s\noffset 0\n" +
	"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"

func TestCheckPlatform(t *testing.T) {
	host := Platform{"linux", "amd64", ""}
	none := fstest.MapFS{}
	withF := fstest.MapFS{"status": {Data: []byte("enabled\n")}, "register": {Data: nil}, "qemu-aarch64": {Data: fmt.Appendf(nil, qemuARM64, "POCF")},
		"python3": {Data: []byte("enabled\ninterpreter /usr/bin/python3\nflags: F\noffset 0\nmagic 6f0d0d0a\n")}}
	withoutF := fstest.MapFS{"status": {Data: []byte("enabled\n")}, "qemu-aarch64": {Data: fmt.Appendf(nil, qemuARM64, "PO")}}
	off := fstest.MapFS{"status": {Data: []byte("disabled\n")}, "qemu-aarch64": {Data: fmt.Appendf(nil, qemuARM64, "POCF")}}
	flags := func() []string {
		return strings.Fields("cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave")
	}
	for _, c := range []struct {
		os, arch, variant string
		want              Platform
		binfmt            fstest.MapFS
		refusal           string // "": accepted
	}{
		{"linux", "amd64", "", Platform{}, none, ""},
		{"", "", "", Platform{}, none, ""},
		{"linux", "386", "", Platform{}, none, ""},
		{"linux", "amd64", "v3", Platform{}, none, ""},
		{"linux", "amd64", "v4", Platform{}, none, "this CPU lacks avx512f"},
		{"linux", "amd64", "v9", Platform{}, none, "the variant v9"},
		{"windows", "amd64", "", Platform{}, withF, "it is for windows/amd64, and this host is linux/amd64"},
		{"linux", "arm64", "v8", Platform{}, none, "binfmt_misc is not in use; choose an image for linux/amd64, or let the administrator install qemu-user-static"},
		{"linux", "arm64", "", Platform{}, withF, ""},
		{"linux", "arm64", "", Platform{}, withoutF, "registered without the flag F"},
		{"linux", "arm64", "", Platform{}, off, "binfmt_misc is not in use"},
		{"linux", "s390x", "", Platform{}, withF, "has no interpreter"},
		{"linux", "z80", "", Platform{}, withF, "no interpreter for z80 is known"},
		{"linux", "arm64", "", Platform{"linux", "arm64", ""}, withF, ""},
		{"linux", "amd64", "", Platform{"linux", "arm64", ""}, withF, "it is for linux/amd64, and --platform asks for linux/arm64"},
	} {
		img := alpine()
		img.OS, img.Architecture, img.Variant = c.os, c.arch, c.variant
		warning, err := checkPlatform(img, c.want, host, c.binfmt, flags)
		if c.refusal != "" {
			checkRefusal(t, err, c.refusal)
			if asked := c.want != (Platform{}); errors.Is(err, ErrOtherPlatform) != asked {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if foreign := c.arch == "arm64" && c.want == (Platform{}); (warning != "") != foreign {
			t.Errorf("%+v: %q", c, warning)
		}
	}
}

// Byte orders and classes must not be taken for each other.
func TestInterpreter(t *testing.T) {
	s390 := "enabled\ninterpreter /q\nflags: F\noffset 0\nmagic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n"
	fsys := fstest.MapFS{"status": {Data: []byte("enabled\n")}, "qemu-s390x": {Data: []byte(s390)}, "any": {Data: []byte("enabled\nflags: F\noffset 0\nmagic 7f454c46\n")}}
	if name, ok, why := interpreter(fsys, "s390x"); !ok || name != "qemu-s390x" {
		t.Error(name, why)
	}
	for _, arch := range []string{"amd64", "arm64", "ppc64le", "ppc64", "riscv64", "386", "arm", "mips", "mipsle", "mips64", "mips64le", "loong64"} {
		if name, ok, _ := interpreter(fsys, arch); ok {
			t.Errorf("%s for %s", name, arch)
		}
	}
}

func TestHostPlatform(t *testing.T) {
	if err := CheckPlatform(alpine(), ""); err != nil {
		t.Error(err)
	}
	checkRefusal(t, CheckPlatform(alpine(), "linux/x/y/z"), "--platform")
	img := alpine()
	img.OS = "windows"
	_, err := Build(&Input{ID: testID, Options: &Options{}, Image: img, Mapping: usual()})
	checkRefusal(t, err, "it is for windows/")
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil && strings.Contains(string(data), "\nflags\t") && len(cpuFlags()) == 0 {
		t.Error("no flags read")
	}
}
