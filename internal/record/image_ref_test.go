package record

import (
	_ "crypto/sha512" // go-digest knows only what is linked
	"math/rand"
	"net/url"
	"strings"
	"testing"

	"github.com/distribution/reference"
)

// refCases are those of distribution/reference's normalize_test.go and
// reference_test.go, and what our own users type.
var refCases = []string{
	"alpine", "alpine:3.20", "library/alpine", "docker.io/alpine", "docker.io/library/alpine:latest",
	"index.docker.io/library/alpine", "quay.io/podman/hello", "localhost/foo", "localhost:5000/foo:bar",
	"127.0.0.1:5000/a/b/c:tag", "[::1]:5000/foo", "[2001:db8::1]/foo", "[fe80::1%eth0]/foo", "EXAMPLE.com/foo",
	"a", "a/b", "a/b/c", "foo_bar", "foo__bar", "foo___bar", "foo-bar", "foo--bar", "-foo", "foo-", "foo..bar", "foo.bar",
	"foo/.bar", "docker///docker", "foo//bar", "/foo", "foo/", "Foo", "foo/Bar", "Foo/bar", "FOO.com/bar", "FOO/bar:baz",
	"", ":tag", "foo:", "foo:.tag", "foo:-tag", "foo:Tag_1.2-3", "foo:" + strings.Repeat("a", 128), "foo:" + strings.Repeat("a", 129),
	"foo@sha256:" + strings.Repeat("a", 64), "foo:tag@sha256:" + strings.Repeat("0", 64), "foo@sha256:" + strings.Repeat("a", 63),
	"foo@sha256:" + strings.Repeat("A", 64), "foo@md5:" + strings.Repeat("a", 32), "foo@sha512:" + strings.Repeat("b", 128), "foo@", "foo@bar",
	strings.Repeat("a", 64), strings.Repeat("a", 63), strings.Repeat("g", 64), "docker.io/" + strings.Repeat("a/", 128) + "a",
	"xn--7o8h.com/myimage:xn--7o8h.com@sha512:" + strings.Repeat("f", 128), "foo.com:8080/bar", "foo.com:http/bar", "foo:8080/bar",
	"sub-dom1.foo.com/bar/baz/quux:some-long-tag", "do__cker/docker", "__/__", "_docker/_docker", "----/----", "docker./docker", ".docker/docker",
	"docker-/docker", "thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnever", "foo bar", "fo$z$", "foo/bar?x", "foo\nbar", "é",
	"a_b.c/d", "a.b_c/d", "index.docker.io/alpine:x", "docker.io/foo/bar", "localhost", "localhost:5000", "localhost:5000/",
}

func TestParseRefAgreesWithDistribution(t *testing.T) {
	for _, s := range refCases {
		compareRef(t, s)
	}
}

// Random strings over the grammar's own alphabet find what a list forgets.
func TestParseRefAgreesOnRandomText(t *testing.T) {
	r := rand.New(rand.NewSource(7))
	pieces := []string{"a", "Z", "0", ".", "-", "_", "__", ":", "/", "@", "[", "]", "::1", "docker.io", "library", "localhost", "5000",
		"sha256:" + strings.Repeat("e", 64), "foo", "bar", " "}
	for range 20000 {
		var b strings.Builder
		for range 1 + r.Intn(7) {
			b.WriteString(pieces[r.Intn(len(pieces))])
		}
		compareRef(t, b.String())
	}
}

func compareRef(t *testing.T, s string) {
	t.Helper()
	got, err := ParseRef(s)
	want, wantErr := reference.ParseNormalizedNamed(s)
	if (err == nil) != (wantErr == nil) {
		t.Errorf("ParseRef(%q) = %v, %v; distribution: %v, %v", s, got, err, want, wantErr)
		return
	}
	if err != nil {
		return
	}
	if got.String() != want.String() {
		t.Errorf("ParseRef(%q) = %q, distribution: %q", s, got, want)
	}
	if got.Familiar() != reference.FamiliarString(want) {
		t.Errorf("Familiar(%q) = %q, distribution: %q", s, got.Familiar(), reference.FamiliarString(want))
	}
	if tagged := got.WithDefaultTag().String(); tagged != reference.TagNameOnly(want).String() {
		t.Errorf("WithDefaultTag(%q) = %q, distribution: %q", s, tagged, reference.TagNameOnly(want))
	}
}

func TestNameFileIsPathEscape(t *testing.T) {
	for _, s := range refCases {
		r, err := ParseRef(s)
		if err != nil || len(escaper.Replace(r.String())) > maxNameFile {
			continue
		}
		if got, want := nameFile(r.String()), url.PathEscape(r.String()); got != want {
			t.Errorf("nameFile(%q) = %q, want %q", r, got, want)
		}
	}
	long := "docker.io/" + strings.Repeat("a/", 120) + "a:latest"
	if n := nameFile(long); len(n) > maxNameFile || strings.Contains(n, "/") {
		t.Errorf("nameFile of a long name is %q", n)
	}
}
