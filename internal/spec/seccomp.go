package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// SeccompVersion names what turns a profile into a program; a change of it
// makes every cached program stale. The number after the library's version is
// ours: raise it when rc-image's `seccomp` compiles otherwise than before.
const SeccompVersion = "moby/profiles/seccomp v0.2.3, rc 2"

// SeccompKey names the compiled program of a profile in the cache: the same key
// always means the same program, so everything that a profile's conditions look
// at is in it (moby/profiles/seccomp: arches, caps, minKernel). The profile of a
// file is read and hashed, about 40 µs; the default one costs nothing. The hash
// is a cryptographic one because profiles come from strangers: one made to have
// the default's key would replace it.
func SeccompKey(p SeccompProfile, arch string) (string, error) {
	release, err := kernelRelease()
	if err != nil {
		return "", badFlag("seccomp profile", p.Path, err, "")
	}
	var profile []byte
	if p.Path != "" {
		if profile, err = readFlagFile("--security-opt", p.Path); err != nil {
			return "", err
		}
	}
	return seccompKey(p, arch, release, profile), nil
}

func seccompKey(p SeccompProfile, arch, release string, profile []byte) string {
	caps := slices.Clone(p.Caps)
	slices.Sort(caps)
	source := "default"
	if p.Path != "" {
		source = "file"
	}
	h := sha256.New()
	for _, field := range []string{SeccompVersion, arch, kernelSeries(release), strings.Join(caps, " "), source} {
		io.WriteString(h, field+"\x00") // a hash's Write never fails
	}
	h.Write(profile)
	return hex.EncodeToString(h.Sum(nil))
}

// kernelSeries is the "6.18" of "6.18.44-generic": minKernel compares no more.
func kernelSeries(release string) string {
	major, rest, _ := strings.Cut(release, ".")
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if digits < 0 {
		digits = len(rest)
	}
	return major + "." + rest[:digits]
}

func kernelRelease() (string, error) {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "", err
	}
	return unix.ByteSliceToString(uts.Release[:]), nil
}
