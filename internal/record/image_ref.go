package record

import (
	"errors"
	"fmt"
	"strings"
)

// Ref is an image reference in its full form, as Docker writes and reads it
// (github.com/distribution/reference, normalize.go). That module costs rc four
// compiled regular expressions at every start, so the grammar is read by hand
// here and tested against it.
type Ref struct {
	Name   string // with the registry: docker.io/library/alpine
	Tag    string // "" when none was written
	Digest string // sha256:…; "" when none was written
}

// ErrBadRef is what every refusal of ParseRef wraps.
var ErrBadRef = errors.New("invalid reference format")

const (
	defaultDomain = "docker.io"
	officialRepo  = "library/"
	defaultTag    = "latest"
	maxRepoPath   = 255 // distribution/reference.RepositoryNameTotalLengthMax
	maxTag        = 128 // distribution/reference.TagRegexp
)

// ParseRef normalizes a reference: `alpine` becomes docker.io/library/alpine.
// It adds no tag; see WithDefaultTag. Its refusals wrap ErrBadRef.
func ParseRef(s string) (Ref, error) {
	bad := func(why string) (Ref, error) { return Ref{}, fmt.Errorf("%w: %s in %q", ErrBadRef, why, s) }
	if s == "" {
		return bad("nothing")
	}
	if len(s) == 64 && isHex(s) {
		return bad("an image id where a name is needed")
	}
	domain, rest := splitDomain(s)
	rest, digest, hasDigest := strings.Cut(rest, "@")
	path, tag, hasTag := strings.Cut(rest, ":")
	switch {
	case strings.ToLower(path) != path:
		return bad("an upper-case letter (a repository name is lower case)")
	case !validDomain(domain) && !validPath(domain):
		return bad("a malformed registry name")
	case !validPath(path):
		return bad("a malformed name")
	case len(path) > maxRepoPath:
		return bad("a name longer than 255 characters")
	case hasTag && !validTag(tag):
		return bad("a malformed tag")
	case hasDigest && !validDigest(digest):
		return bad("a malformed digest")
	}
	return Ref{Name: domain + "/" + path, Tag: tag, Digest: digest}, nil
}

// splitDomain follows splitDockerDomain of distribution/reference: the first
// element is a registry when it has a dot, a colon, an upper-case letter or is
// localhost.
func splitDomain(s string) (domain, rest string) {
	first, after, ok := strings.Cut(s, "/")
	if !ok || (!strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first) {
		domain, rest = defaultDomain, s
	} else {
		domain, rest = first, after
	}
	if domain == "index.docker.io" {
		domain = defaultDomain
	}
	if domain == defaultDomain && !strings.Contains(rest, "/") {
		rest = officialRepo + rest
	}
	return domain, rest
}

// IsShort says whether s names no registry, so that registries.conf has a say.
func IsShort(s string) bool {
	first, _, ok := strings.Cut(s, "/")
	return !ok || (!strings.ContainsAny(first, ".:") && first != "localhost" && strings.ToLower(first) == first)
}

// WithDefaultTag adds :latest to a reference that has neither tag nor digest.
func (r Ref) WithDefaultTag() Ref {
	if r.Tag == "" && r.Digest == "" {
		r.Tag = defaultTag
	}
	return r
}

// String is the reference in full.
func (r Ref) String() string {
	s := r.Name
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Repository is the name as Docker shows it: without docker.io/ and library/.
func (r Ref) Repository() string {
	if short, ok := strings.CutPrefix(r.Name, defaultDomain+"/"); ok {
		if base, ok := strings.CutPrefix(short, officialRepo); ok && !strings.Contains(base, "/") {
			return base
		}
		return short
	}
	return r.Name
}

// Familiar is the whole reference as Docker shows it.
func (r Ref) Familiar() string {
	return r.Repository() + strings.TrimPrefix(r.String(), r.Name)
}

func isHex(s string) bool {
	return strings.Trim(s, "0123456789abcdef") == ""
}

func alnum(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' }

// validDomain: host or [IPv6], then an optional port.
func validDomain(s string) bool {
	if inside, ok := strings.CutPrefix(s, "["); ok {
		addr, port, ok := strings.Cut(inside, "]")
		return ok && addr != "" && strings.Trim(addr, "0123456789abcdefABCDEF:") == "" &&
			(port == "" || port[0] == ':' && validPort(port[1:]))
	}
	host, port, hasPort := strings.Cut(s, ":")
	if hasPort && !validPort(port) {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || !alnum(label[0]) || !alnum(label[len(label)-1]) {
			return false
		}
		for i := range len(label) {
			if !alnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

func validPort(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// validPath: components of lower-case letters and digits, joined by one dot,
// one or two underscores, or any number of dashes.
func validPath(s string) bool {
	for part := range strings.SplitSeq(s, "/") {
		if !validComponent(part) {
			return false
		}
	}
	return true
}

func validComponent(s string) bool {
	lower := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' }
	for i := 0; ; {
		start := i
		for i < len(s) && lower(s[i]) {
			i++
		}
		if i == start {
			return false // empty, or a separator at the beginning or the end
		}
		if i == len(s) {
			return true
		}
		switch {
		case s[i] == '.':
			i++
		case s[i] == '_':
			if i++; i < len(s) && s[i] == '_' {
				i++
			}
		case s[i] == '-':
			for i < len(s) && s[i] == '-' {
				i++
			}
		default:
			return false
		}
	}
}

func validTag(s string) bool {
	if s == "" || len(s) > maxTag || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if !alnum(s[i]) && !strings.ContainsRune("_.-", rune(s[i])) {
			return false
		}
	}
	return true
}

// validDigest knows the algorithms of the OCI image-spec (descriptor.md).
func validDigest(s string) bool {
	algorithm, hex, _ := strings.Cut(s, ":")
	size, ok := map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}[algorithm]
	return ok && len(hex) == size && isHex(hex)
}
