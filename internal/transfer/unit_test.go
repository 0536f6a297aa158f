package transfer

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containers/image/v5/docker"
	"github.com/containers/image/v5/types"
	"github.com/opencontainers/go-digest"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rc-containers/rc/fuse/layers"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

func TestChange(t *testing.T) {
	for text, want := range map[string]string{
		`CMD ["a","b c"]`: "cmd=[a b c]", "cmd echo  hi": "cmd=[/bin/sh -c echo  hi]", `CMD ["a"`: "cmd=[/bin/sh -c [\"a\"]",
		`ENV A=1 B="x y" C='$z' D=a\ b E=`: "env=[A=1 B=x y C=$z D=a b E=]", "ENV A one two": "env=[A=one two]",
		"LABEL a=b c=\"d=e\"": "labels=map[a:b c:d=e]", "EXPOSE 80 443/tcp 53/udp": "ports=map[443/tcp:{} 53/udp:{} 80/tcp:{}]",
		"VOLUME /a /b": "volumes=map[/a:{} /b:{}]", `VOLUME ["/a b"]`: "volumes=map[/a b:{}]", "USER 5:6": "user=5:6", "WORKDIR /x": "dir=/x", "WORKDIR x/../y": "dir=/y", "STOPSIGNAL 9": "stop=9",
		"": "!", "ENV": "!", "ENV A": "!", "ENV =x": "!", `ENV A="x`: "!", "VOLUME [": "!", "RUN x": "!", "LABEL x": "!",
	} {
		var c imgspec.ImageConfig
		err := change(&c, text)
		all := fmt.Sprintf("cmd=%v env=%v labels=%v ports=%v volumes=%v user=%v dir=%v stop=%v", c.Cmd, c.Env, c.Labels, c.ExposedPorts, c.Volumes, c.User, c.WorkingDir, c.StopSignal)
		if want == "!" {
			if err == nil {
				t.Errorf("%q was taken: %s", text, all)
			}
		} else if err != nil || !strings.Contains(all, want) {
			t.Errorf("%q: %s, %v, want %s", text, all, err, want)
		}
	}
}

func TestServerKeys(t *testing.T) {
	for typed, want := range map[string]string{"": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"http://127.0.0.1:5000/": "127.0.0.1:5000", "quay.io/team": "quay.io/team"} {
		if got := server(typed); got != want {
			t.Errorf("%q is %q, want %q", typed, got, want)
		}
	}
}

func TestReadPassword(t *testing.T) {
	for in, want := range map[string]string{"x\n": "x", "x\r\n": "x", "x": "x", "a b\n\n": "a b\n", "": ""} {
		if got, err := ReadPassword(strings.NewReader(in)); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
}

func TestPlatformFlag(t *testing.T) {
	sys, err := systemContext(Options{Platform: "linux/arm64/v8", TLSVerify: types.OptionalBoolFalse})
	if err != nil || sys.OSChoice != "linux" || sys.ArchitectureChoice != "arm64" || sys.VariantChoice != "v8" || sys.DockerInsecureSkipTLSVerify != types.OptionalBoolTrue {
		t.Errorf("%+v %v", sys, err)
	}
	for _, bad := range []string{"linux", "/", "a/b/c/d", "linux/", "/amd64"} {
		if _, err := systemContext(Options{Platform: bad}); err == nil {
			t.Errorf("--platform %q was taken", bad)
		}
	}
	if sys, _ := systemContext(Options{}); sys.DockerInsecureSkipTLSVerify != types.OptionalBoolUndefined {
		t.Error("without the flag registries.conf must decide")
	}
}

func TestWhatIsTriedAgain(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{io.ErrUnexpectedEOF, true}, {fmt.Errorf("x: %w", syscall.ECONNRESET), true}, {os.ErrDeadlineExceeded, true},
		{docker.UnexpectedHTTPStatusError{StatusCode: 502}, true}, {docker.UnexpectedHTTPStatusError{StatusCode: 404}, false},
		{record.ErrNoImage, true}, {syscall.ECONNREFUSED, false}, {errors.New("manifest unknown"), false}, {context.Canceled, false},
		{fmt.Errorf("writing blob: %w", &layers.LayerError{Err: io.ErrUnexpectedEOF}), false}, // truncated inside, not on the way
	} {
		if got := transient(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestRefusalsAreOneLineWithAFix(t *testing.T) {
	for text, want := range map[string]string{
		"initializing source docker://x:latest: reading manifest latest in x: manifest unknown": `pull "x": reading manifest latest in x: manifest unknown; check the name`,
		"Get https://x: http: server gave HTTP response to HTTPS client":                        "--tls-verify=false",
		"tls: failed to verify certificate: x509: unknown":                                      "/etc/containers/certs.d/reg.example",
		"toomanyrequests: slow down":                                                            "rc login reg.example",
		"write /x: no space left on device":                                                     "make room",
		"reading: exceeded maximum allowed size of 4194304 bytes":                               "too large",
		"two\nlines": `pull "x": two lines`,
	} {
		err := explain(`pull "x"`, errors.New(text), "reg.example")
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || hint.ExitCode(err) != 1 {
			t.Errorf("%q became %q (exit %d), want %q", text, err, hint.ExitCode(err), want)
		}
	}
	// An errno below stays visible, and a refusal keeps its own fix.
	inner := hint.New("unpack a layer", syscall.ENOSPC, "make room")
	err := explain(`pull "x"`, fmt.Errorf("a: %w", inner), "")
	if !errors.Is(err, syscall.ENOSPC) || err.Error() != `pull "x": no space left on device; make room` {
		t.Errorf("%v", err)
	}
	if explain("x", nil, "") != nil {
		t.Error("nothing is no refusal")
	}
}

// An archive's names cannot lead out of the folder that it is unpacked to, nor
// can its links be followed.
func TestExtractLayoutStaysInside(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	add := func(h tar.Header, text string) {
		h.Size, h.Mode = int64(len(text)), 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(text))
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "/blobs/sha256/x"}, "inside")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "out", Linkname: dir}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "out/through-a-link"}, "x") // the link is not made: a folder
	add(tar.Header{Typeflag: tar.TypeReg, Name: "../escaped"}, "x")
	_ = w.Close()
	file := filepath.Join(dir, "a.tar")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := extractLayout(file, filepath.Join(dir, "layout")); err == nil {
		t.Error("../escaped was taken")
	}
	for _, name := range []string{"escaped", "through-a-link"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s was written outside", name)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "layout/blobs/sha256/x")); err != nil || string(text) != "inside" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestArchiveKinds(t *testing.T) {
	for names, want := range map[string]string{"manifest.json": DockerArchive, "./manifest.json": DockerArchive, "oci-layout index.json": OCIArchive,
		"oci-layout manifest.json": DockerArchive, "bin etc": ""} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for name := range strings.FieldsSeq(names) {
			_ = w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg})
		}
		_ = w.Close()
		file := filepath.Join(t.TempDir(), "a")
		_ = os.WriteFile(file, b.Bytes(), 0o600)
		got, err := archiveKind(file)
		if got != want || (want == "") != (err != nil) {
			t.Errorf("%s: %q, %v", names, got, err)
		}
	}
}

// blob reads a blob through the cache; fresh and rest count their calls.
func readBlob(t *testing.T, c *blobCache, data []byte, upstream io.Reader) ([]byte, error) {
	t.Helper()
	info := types.BlobInfo{Digest: digest.NewDigestFromBytes(digest.SHA256, sum(data)), Size: int64(len(data))}
	r, _, err := c.open(info, func() (io.ReadCloser, int64, error) { return io.NopCloser(upstream), info.Size, nil },
		func(n int64) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data[n:])), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return io.ReadAll(r)
}

func sum(b []byte) []byte {
	s := sha256.Sum256(b)
	return s[:]
}

func TestBlobCacheKeepsWhatCame(t *testing.T) {
	dir := t.TempDir()
	c, err := newBlobCache(dir, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Repeat([]byte("0123456789abcdef"), 8192)
	count := func() int { e, _ := os.ReadDir(dir); return len(e) }

	if _, err := readBlob(t, c, data, bytes.NewReader(data[:100000])); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a short blob: %v", err)
	}
	if count() != 1 {
		t.Fatal("nothing was kept")
	}
	got, err := readBlob(t, c, data, strings.NewReader("must not be asked"))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("resumed: %d bytes, %v", len(got), err)
	}
	if !c.doubt() || c.doubt() || count() != 0 {
		t.Error("doubt must remove the resumed file, once")
	}
	wrong := bytes.Clone(data)
	wrong[5] ^= 1
	if got, _ := readBlob(t, c, data, bytes.NewReader(wrong)); !bytes.Equal(got, wrong) || count() != 0 {
		t.Error("a wrong blob is passed on for the library to judge, and not kept")
	}
	small := data[:1000]
	if _, err := readBlob(t, c, small, bytes.NewReader(small)); err != nil || count() != 0 {
		t.Errorf("a small blob needs no file: %v", err)
	}
	_, _ = readBlob(t, c, data, bytes.NewReader(data))
	c.forget(nil)
	if count() != 0 {
		t.Error("forget left a file")
	}
	old := filepath.Join(dir, "old"+partialSuffix)
	_ = os.WriteFile(old, nil, 0o600)
	_ = os.Chtimes(old, time.Unix(0, 0), time.Unix(0, 0))
	if _, err := newBlobCache(dir, nil); err != nil || count() != 0 {
		t.Error("an old file stays")
	}
}

func TestWorkFoldersOfTheDead(t *testing.T) {
	dir := t.TempDir()
	s := &Session{record: &record.Store{Root: dir}}
	if err := s.makeWork(); err != nil {
		t.Fatal(err)
	}
	dead := filepath.Join(dir, "cache/tmp/dead")
	_ = os.Mkdir(dead, 0o700)
	_ = os.WriteFile(filepath.Join(dead, "lock"), nil, 0o600)
	young := filepath.Join(dir, "cache/tmp/young")
	_ = os.Mkdir(young, 0o700)
	second := &Session{record: &record.Store{Root: dir}}
	if err := second.makeWork(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{s.work: true, second.work: true, dead: false, young: true} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
	s.Close()
	second.Close()
}

func TestTarFolderIsTheSameEachTime(t *testing.T) {
	dir := t.TempDir()
	_ = os.MkdirAll(filepath.Join(dir, "b/c"), 0o700)
	_ = os.WriteFile(filepath.Join(dir, "b/c/f"), []byte("x"), 0o600)
	_ = os.WriteFile(filepath.Join(dir, "a"), []byte("y"), 0o640)
	var one, two bytes.Buffer
	if err := tarFolder(&one, dir); err != nil {
		t.Fatal(err)
	}
	_ = os.Chtimes(filepath.Join(dir, "a"), time.Now(), time.Unix(5, 0))
	_ = tarFolder(&two, dir)
	if !bytes.Equal(one.Bytes(), two.Bytes()) {
		t.Error("two archives of one folder differ")
	}
}
