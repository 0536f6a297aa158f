package spec

import (
	"errors"
	"os"
	"runtime"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// ErrOtherPlatform is wrapped where an image is of another platform than the one
// that --platform asks for: pulling may help.
var ErrOtherPlatform = errors.New("the image is of another platform")

// Platform is what an image was built for, in Go's words (image-spec,
// image-index.md, "platform"). Variant is "" where it is the architecture's usual one.
type Platform struct{ OS, Architecture, Variant string }

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// HostPlatform is the platform of this machine, without the variants of which
// only CheckPlatform needs to know.
func HostPlatform() Platform { return Platform{"linux", runtime.GOARCH, ""} }

// ParsePlatform reads OS[/ARCH[/VARIANT]] or ARCH alone, with the other names
// that architectures have (containerd/platforms, normalizeArch).
func ParsePlatform(s string) (Platform, error) {
	bad := func(why string) (Platform, error) {
		return Platform{}, refuse("--platform", s, "write OS/ARCH[/VARIANT], as in linux/arm64", "%s", why)
	}
	parts := strings.Split(strings.ToLower(s), "/")
	for _, part := range parts {
		if part == "" || strings.ContainsFunc(part, func(r rune) bool { return r > 'z' || !alnum(byte(r)) && !strings.ContainsRune("_.-", r) }) {
			return bad("not a platform")
		}
	}
	var p Platform
	switch len(parts) {
	case 1:
		if knownOS(parts[0]) {
			return Platform{parts[0], runtime.GOARCH, ""}, nil
		}
		p.OS, p.Architecture = "linux", parts[0]
	case 2:
		p.OS, p.Architecture = parts[0], parts[1]
	case 3:
		p = Platform{parts[0], parts[1], parts[2]}
	default:
		return bad("more than three parts")
	}
	if !knownOS(p.OS) {
		return bad(quoted(p.OS) + " is no operating system of images")
	}
	p = p.normal()
	if !knownArch(p.Architecture) {
		return bad(quoted(p.Architecture) + " is no architecture of images")
	}
	return p, nil
}

func knownOS(s string) bool {
	switch s {
	case "linux", "windows", "darwin", "freebsd", "netbsd", "openbsd", "dragonfly", "solaris", "illumos", "aix", "android",
		"plan9", "js", "wasip1", "wasi":
		return true
	}
	return false
}

func knownArch(s string) bool {
	switch s {
	case "amd64", "386", "arm", "arm64", "ppc64le", "ppc64", "s390x", "riscv64", "loong64", "mips", "mipsle", "mips64",
		"mips64le", "wasm":
		return true
	}
	return false
}

// normal gives an architecture its Go name and drops a variant that says nothing.
func (p Platform) normal() Platform {
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "i386", "i686":
		p.Architecture = "386"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	case "armel":
		p.Architecture, p.Variant = "arm", "v6"
	case "loongarch64":
		p.Architecture = "loong64"
	}
	switch p.Architecture + " " + p.Variant {
	case "arm64 v8", "arm64 8", "amd64 v1":
		p.Variant = ""
	case "arm 5", "arm 6", "arm 7":
		p.Variant = "v" + p.Variant
	}
	return p
}

// platform checks that the image can run here.
func (b *builder) platform() error {
	if b.in.Image == nil {
		return nil
	}
	warning, err := hostCheck(b.in.Image, b.o.Platform)
	if warning != "" {
		b.warn(warning)
	}
	return err
}

// CheckPlatform refuses an image that cannot run on this host: one of another
// operating system, or of another architecture that no interpreter registered
// with binfmt_misc runs. want is --platform as typed, "" when nothing is asked
// for; an image of another one is ErrOtherPlatform. (Build says the same, and
// warns of an image that will be interpreted.)
func CheckPlatform(img *record.Image, want string) error {
	_, err := hostCheck(img, want)
	return err
}

func hostCheck(img *record.Image, typed string) (warning string, err error) {
	var want Platform
	if typed != "" {
		if want, err = ParsePlatform(typed); err != nil {
			return "", err
		}
	}
	return checkPlatform(img, want, HostPlatform(), os.DirFS("/proc/sys/fs/binfmt_misc"), cpuFlags)
}

// imagePlatform is what an image says of itself. Imported ones may say nothing:
// they are taken for the host's.
func imagePlatform(img *record.Image, host Platform) Platform {
	p := Platform{strings.ToLower(img.OS), strings.ToLower(img.Architecture), strings.ToLower(img.Variant)}
	if p.OS == "" {
		p.OS = host.OS
	}
	if p.Architecture == "" {
		p.Architecture = host.Architecture
	}
	return p.normal()
}

func imageOp(img *record.Image) string {
	if len(img.Names) > 0 {
		return "run image " + quoted(img.Names[0])
	}
	return "run image " + img.ID[:min(12, len(img.ID))]
}

func otherPlatform(img *record.Image, have, want Platform) error {
	return hint.New(imageOp(img), &platformError{have, want}, "pull the one that you want: add --pull=always")
}

type platformError struct{ have, want Platform }

func (e *platformError) Error() string {
	return "it is for " + e.have.String() + ", and --platform asks for " + e.want.String()
}
func (e *platformError) Unwrap() error { return ErrOtherPlatform }
