package spec

import (
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// defaultPath is Docker's (moby, daemon/pkg/oci/defaults.go).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment sets the payload's variables. From weakest to strongest: Docker's
// defaults, the image, --env-file, -e. HOME is left to init, which has the
// image's passwd, unless somebody gave it.
func (b *builder) environment() error {
	hostname := b.spec.Hostname
	if hostname == "" {
		hostname = hostName()
	}
	// HOSTNAME is Docker's too (moby, container/env.go): shells set it for
	// themselves, programs that are started without one read it here.
	env := []string{defaultPath, "HOSTNAME=" + hostname}
	if b.o.TTY {
		// Docker's choice: every image's terminfo has it, and every terminal
		// understands most of it, while the caller's own TERM is often unknown inside.
		env = append(env, "TERM=xterm")
	}
	env = append(env, b.systemdEnv()...)
	env = mergeEnv(env, withValues(b.img.Env))
	env = mergeEnv(env, b.env)
	for _, e := range env {
		if strings.Contains(e, "\x00") { // only an image can hold one; execve would cut there
			return hint.Newf("environment of the image", "rebuild the image", "a NUL byte in %s", quoted(e))
		}
	}
	b.spec.Process.Env = env
	b.plan.HomeSet = slices.ContainsFunc(env, func(e string) bool { return strings.HasPrefix(e, "HOME=") })
	return nil
}

// typedEnv is --env-file, then -e. A KEY without "=" takes the caller's value.
// Where the caller has none, a line of a file means nothing, and -e removes the
// variable (docker/cli, opts/env.go and pkg/kvfile; moby, container/env.go).
func (b *builder) typedEnv() error {
	for _, path := range b.o.EnvFile {
		lines, err := readKeyValues("--env-file", path, b.fromCaller)
		if err != nil {
			return err
		}
		b.env = append(b.env, lines...)
	}
	for _, e := range b.o.Env {
		key, _, hasValue := strings.Cut(e, "=")
		if key == "" || strings.Contains(e, "\x00") {
			return refuse("--env", e, "write KEY=VALUE, or KEY to pass on your own", "no name, or a NUL byte")
		}
		if !hasValue {
			if own := b.fromCaller(key); own != "" {
				e = own
			}
		}
		b.env = append(b.env, e)
	}
	return nil
}

// fromCaller returns KEY=VALUE out of the caller's environment, "" without one.
func (b *builder) fromCaller(key string) string {
	for _, e := range b.in.Environ {
		if k, _, _ := strings.Cut(e, "="); k == key {
			return e
		}
	}
	return ""
}

// withValues drops what is no KEY=VALUE: an image must not remove defaults.
func withValues(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(e string) bool { return strings.IndexByte(e, '=') <= 0 })
}

// mergeEnv puts over onto base: a key that is there is replaced in place, one
// without "=" is removed, others are appended.
func mergeEnv(base, over []string) []string {
	for _, e := range over {
		key, _, hasValue := strings.Cut(e, "=")
		// One entry a key: of two, getenv(3) finds the first and a shell the last.
		at := slices.IndexFunc(base, func(o string) bool { return strings.HasPrefix(o, key) && len(o) > len(key) && o[len(key)] == '=' })
		switch {
		case at >= 0 && hasValue:
			base[at] = e
		case at >= 0:
			base = slices.Delete(base, at, at+1)
		case hasValue:
			base = append(base, e)
		}
	}
	return base
}
