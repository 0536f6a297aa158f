package spec

import (
	"bytes"
	"encoding/hex"
	"io/fs"
	"os"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// checkPlatform is CheckPlatform with what it asks the host for.
func checkPlatform(img *record.Image, want, host Platform, binfmt fs.FS, flags func() []string) (warning string, err error) {
	have := imagePlatform(img, host)
	if want != (Platform{}) && (have.OS != want.OS || have.Architecture != want.Architecture || (want.Variant != "" && want.Variant != have.Variant)) {
		return "", otherPlatform(img, have, want)
	}
	if have.OS != "linux" {
		return "", hint.Newf(imageOp(img), "choose an image for linux", "it is for %s, and this host is %s", have, host)
	}
	if native(have, host) {
		if missing := missingLevel(have, flags); missing != "" {
			return "", hint.Newf(imageOp(img), "choose an image for "+host.String(), "it needs %s, and this CPU lacks %s", have, missing)
		}
		return "", nil
	}
	fix := "choose an image for " + host.String() + ", or let the administrator install qemu-user-static and binfmt-support"
	name, ok, why := interpreter(binfmt, have.Architecture)
	if !ok {
		return "", hint.Newf(imageOp(img), fix, "it is for %s, this host is %s, and %s", have, host, why)
	}
	if want == (Platform{}) {
		warning = "the image is for " + have.String() + " and this host is " + host.String() + ": " + name + " interprets it, slowly"
	}
	return warning, nil
}

// native tells whether the CPU itself runs p: also the 32-bit architecture below
// a 64-bit one, as containerd/platforms has it (compare_unix.go and arm's vectors).
func native(p, host Platform) bool {
	switch {
	case p.Architecture == host.Architecture:
		return true
	// Not asked of the kernel, which may have been built without
	// CONFIG_IA32_EMULATION: execve says ENOEXEC then, exit code 126.
	case host.Architecture == "amd64":
		return p.Architecture == "386"
	case host.Architecture == "arm64":
		return p.Architecture == "arm"
	}
	return false
}

// missingLevel says which instructions a variant needs and the CPU lacks: the
// x86-64 levels of the psABI, by one or more telling flags of each. Variants of
// arm64 are not checked, for most programs ask the CPU themselves.
func missingLevel(p Platform, flags func() []string) string {
	if p.Architecture != "amd64" || p.Variant == "" {
		return ""
	}
	needs := []string{"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
	switch p.Variant {
	case "v2":
	case "v3", "v4":
		needs = append(needs, "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave")
		if p.Variant == "v4" {
			needs = append(needs, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")
		}
	default:
		return "the variant " + p.Variant
	}
	has := " " + strings.Join(flags(), " ") + " "
	for _, need := range needs {
		if has != "  " && !strings.Contains(has, " "+need+" ") {
			return need
		}
	}
	return ""
}

// cpuFlags is the first CPU's line in /proc/cpuinfo; nil where it cannot be read.
func cpuFlags() []string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		if name, list, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			return strings.Fields(list)
		}
	}
	return nil
}

// elfMachine is e_machine, class and byte order of an architecture (elf(5)).
func elfMachine(arch string) (machine uint16, class, order byte) {
	switch arch {
	case "amd64":
		return 62, 2, 1
	case "386":
		return 3, 1, 1
	case "arm":
		return 40, 1, 1
	case "arm64":
		return 183, 2, 1
	case "ppc64":
		return 21, 2, 2
	case "ppc64le":
		return 21, 2, 1
	case "s390x":
		return 22, 2, 2
	case "riscv64":
		return 243, 2, 1
	case "loong64":
		return 258, 2, 1
	case "mips":
		return 8, 1, 2
	case "mipsle":
		return 8, 1, 1
	case "mips64":
		return 8, 2, 2
	case "mips64le":
		return 8, 2, 1
	}
	return 0, 0, 0
}

// interpreter looks for an enabled handler of arch's ELF files. Only one with
// the flag F works inside a container: its file was opened when it was
// registered, while any other is looked up in the container's own tree (kernel,
// admin-guide/binfmt-misc.rst).
func interpreter(binfmt fs.FS, arch string) (name string, ok bool, why string) {
	machine, class, order := elfMachine(arch)
	if machine == 0 {
		return "", false, "no interpreter for " + arch + " is known"
	}
	header := make([]byte, 20)
	copy(header, "\x7fELF")
	header[4], header[5], header[6], header[16] = class, order, 1, 2
	if order == 1 {
		header[18], header[19] = byte(machine), byte(machine>>8)
	} else {
		header[16], header[17], header[18], header[19] = 0, 2, byte(machine>>8), byte(machine)
	}
	if status, err := fs.ReadFile(binfmt, "status"); err != nil || !bytes.HasPrefix(status, []byte("enabled")) {
		return "", false, "binfmt_misc is not in use"
	}
	entries, err := fs.ReadDir(binfmt, ".")
	if err != nil {
		return "", false, "binfmt_misc cannot be read"
	}
	why = "binfmt_misc has no interpreter for it"
	for _, e := range entries {
		text, err := fs.ReadFile(binfmt, e.Name())
		if err != nil || !bytes.HasPrefix(text, []byte("enabled")) {
			continue
		}
		h := parseHandler(string(text))
		if !h.matches(header) {
			continue
		}
		// The interpreter of a container is never one that its image brings: without F
		// the path is looked up in the image.
		if strings.Contains(h.flags, "F") {
			return e.Name(), true, ""
		}
		why = "its interpreter " + e.Name() + " is registered without the flag F, so that a container cannot use it"
	}
	return "", false, why
}

// handler is one file of /proc/sys/fs/binfmt_misc.
type handler struct {
	flags       string
	magic, mask []byte
	atStart     bool // its offset is 0
}

func parseHandler(text string) handler {
	var h handler
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "flags:":
			h.flags = value
		case "offset":
			h.atStart = value == "0"
		case "magic":
			h.magic, _ = hex.DecodeString(value) // root wrote it; a bad one matches nothing
		case "mask":
			h.mask, _ = hex.DecodeString(value)
		}
	}
	return h
}

// matches compares as the kernel does: under the mask, as far as the magic goes.
// One that does not look at the machine is none for an architecture.
func (h handler) matches(header []byte) bool {
	if !h.atStart || len(h.magic) < len(header) {
		return false
	}
	for i, c := range header {
		mask := byte(0xff)
		if i < len(h.mask) {
			mask = h.mask[i]
		}
		if (c^h.magic[i])&mask != 0 {
			return false
		}
	}
	return true
}
