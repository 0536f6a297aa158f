package transfer

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/pkg/compression"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/tests/images"
)

func (w *world) save(format, path string, refs ...string) error {
	return w.do(func(ctx context.Context, s *Session) error { return s.Save(ctx, format, path, &w.out, refs) })
}

func (w *world) load(path string, in io.Reader) error {
	return w.do(func(ctx context.Context, s *Session) error { return s.Load(ctx, path, in) })
}

// tag names an image locally.
func (w *world) tag(source, target string) {
	w.Helper()
	store, err := record.Open(w.root)
	w.must(err)
	w.must(store.Tag(source, target))
}

func TestSaveAndLoad(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "test/app", "library/alpine", "evil/overlayxattr")
	for _, name := range []string{"test/app", "library/alpine", "evil/overlayxattr"} {
		w.must(w.pull(addr + "/" + name))
		w.tag(addr+"/"+name, "local/"+filepath.Base(name)+":v1")
	}
	refs := []string{"local/app:v1", "local/alpine:v1", "local/overlayxattr:v1"}
	ids := map[string]string{}
	for _, ref := range refs {
		ids[ref] = w.image(ref).ID
	}
	root := w.root
	for _, format := range []string{DockerArchive, OCIArchive, OCIDir} {
		t.Run(format, func(t *testing.T) {
			w.root = root
			path := filepath.Join(t.TempDir(), "saved")
			w.must(w.save(format, path, refs...))
			w.root = filepath.Join(t.TempDir(), "second")
			w.must(w.load(path, nil))
			for _, ref := range refs {
				if !strings.Contains(w.out.String(), "Loaded image: "+ref+"\n") {
					t.Errorf("load printed %q", w.out.String())
				}
				if got := w.image(ref).ID; got != ids[ref] {
					t.Errorf("%s came back as %s, was %s", ref, got[:12], ids[ref][:12])
				}
			}
			w.clean()
		})
	}
	w.root = root
	t.Run("stdout, gzip, stdin", func(t *testing.T) {
		w.must(w.save(DockerArchive, "", "local/app:v1"))
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write(w.out.Bytes())
		w.must(z.Close())
		w.root = filepath.Join(t.TempDir(), "third")
		w.must(w.load("", &zipped))
		w.image("local/app:v1")
	})
}

func TestBadArchives(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	file := func(text string) string {
		path := filepath.Join(dir, "f")
		w.must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	w.refused(w.load(filepath.Join(dir, "none"), nil), "no such file")
	w.refused(w.load(file("not an archive at all"), nil), "not an image archive")
	w.refused(w.load(file(""), nil), "neither manifest.json nor oci-layout")
	addr := registry(t, "library/alpine")
	w.must(w.pull(addr + "/library/alpine"))
	w.must(w.save(OCIArchive, "", addr+"/library/alpine"))
	whole := w.out.String()
	w.must(w.rmi(true, addr+"/library/alpine"))
	w.refused(w.load(file(whole[:len(whole)/2]), nil), "truncated")
	corrupt := []byte(whole)
	corrupt[len(whole)/2] ^= 1
	w.refused(w.load(file(string(corrupt)), nil), "gzip: invalid checksum")
	err := w.save("zip", "x", addr)
	if err == nil || hint.ExitCode(err) != 1 {
		t.Errorf("save of nothing: %v", err)
	}
}

// What goes back to a registry or into an archive is what came, byte for byte
// after decompression, also where the unpacking left something out.
func TestPushGivesBackTheBytes(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "evil/overlayxattr", "evil/device", "test/attributes", "test/whiteouts")
	for _, name := range []string{"evil/overlayxattr", "evil/device", "test/attributes", "test/whiteouts"} {
		w.must(w.pull(addr + "/" + name))
		again := addr + "/again/" + filepath.Base(name) + ":v1"
		w.tag(addr+"/"+name, again)
		w.must(w.do(func(ctx context.Context, s *Session) error { return s.Push(ctx, again) }))
		if !strings.HasPrefix(w.out.String(), "v1: digest: sha256:") {
			t.Errorf("push printed %q", w.out.String())
		}
		before, after := diffIDs(t, addr, name, "latest"), diffIDs(t, addr, "again/"+filepath.Base(name), "v1")
		if before != after {
			t.Errorf("%s: layers %s became %s", name, before, after)
		}
	}
	err := w.do(func(ctx context.Context, s *Session) error { return s.Push(ctx, addr+"/none") })
	w.refused(err, "no such image")
}

// diffIDs fetches the layers from a registry and hashes them uncompressed.
func diffIDs(t *testing.T, addr, repo, tag string) string {
	t.Helper()
	get := func(path string) []byte {
		req, _ := http.NewRequest(http.MethodGet, "http://"+addr+"/v2/"+repo+path, nil)
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s%s: %s %v", repo, path, resp.Status, err)
		}
		return b
	}
	var m struct{ Layers []struct{ Digest string } }
	if err := json.Unmarshal(get("/manifests/"+tag), &m); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, l := range m.Layers {
		r, _, err := compression.AutoDecompress(bytes.NewReader(get("/blobs/" + l.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, fmt.Sprintf("%x", sha256.Sum256(b))[:12])
	}
	return strings.Join(ids, " ")
}

func TestImport(t *testing.T) {
	w := newWorld(t)
	layer := images.MakeLayer(images.Gzip, images.Dir("etc", 0o755), images.File("etc/name", 0o644, "x"))
	changes := []string{`CMD ["sh","-c","echo hi"]`, "ENTRYPOINT run me", `ENV A=1 B="two words"`, "ENV OLD form here", "LABEL k=v", "EXPOSE 80 53/udp",
		"USER 1000:5", "WORKDIR /w", "VOLUME [\"/v\"]", "STOPSIGNAL SIGINT"}
	imp := func(name string, changes ...string) error {
		return w.do(func(ctx context.Context, s *Session) error {
			return s.Import(ctx, "-", name, bytes.NewReader(layer.Data), changes, "a comment")
		})
	}
	w.must(imp("mine:1", changes...))
	img := w.image("mine:1")
	if w.out.String() != "sha256:"+img.ID+"\n" {
		t.Errorf("printed %q", w.out.String())
	}
	c := img.Config
	got := fmt.Sprintln(c.Cmd, c.Entrypoint, c.Env, c.Labels, c.ExposedPorts, c.User, c.WorkingDir, c.Volumes, c.StopSignal)
	want := `[sh -c echo hi] [/bin/sh -c run me] [A=1 B=two words OLD=form here] map[k:v] map[53/udp:{} 80/tcp:{}] 1000:5 /w map[/v:{}] SIGINT` + "\n"
	if got != want {
		t.Errorf("config\n%s, want\n%s", got, want)
	}
	if img.Architecture != hostArch || img.OS != "linux" || len(img.Layers) != 1 {
		t.Errorf("%+v", img)
	}
	w.must(imp(""))
	w.refused(imp("x", "FROM scratch"), "unknown instruction FROM")
	w.refused(imp("x", "ENV"), "nothing to set")
	w.refused(imp("x", `ENV A="x`), "a quote is not closed")
	w.refused(imp("BAD"), "invalid reference format")
}
