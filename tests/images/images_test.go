package images

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

func catalog(t *testing.T) map[string]*Artifact {
	t.Helper()
	all, err := Catalog()
	if err != nil {
		t.Skip("needs a static busybox: ", err)
	}
	return all
}

// A real registry takes every image, hostile ones too, and gives back the bytes
// that were hashed.
func TestRegistryHoldsTheCatalog(t *testing.T) {
	all := catalog(t)
	reg, err := StartRegistry(t.TempDir(), "")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer reg.Stop()
	remote := Remote{URL: "http://" + reg.Addr}
	for _, name := range Names(all) {
		if err := remote.Push(name, "latest", all[name]); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		req, err := http.NewRequest("GET", remote.URL+"/v2/"+name+"/manifests/"+all[name].Digest(), nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", all[name].MediaType) // else the registry tries to convert to Docker's schema 1
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if !bytes.Equal(data, all[name].Data) {
			t.Errorf("%s: %s: other bytes came back: %.200s", name, resp.Status, data)
		}
	}
}

func TestFaults(t *testing.T) {
	a := catalog(t)["test/docker"]
	var layer string
	for d, b := range a.Blobs {
		if b[0] != '{' {
			layer = d
		}
	}
	s := NewServer()
	for _, f := range []Fault{Sound, TruncatedLayer, CorruptLayer, WrongManifest, HugeManifest, Flaky, Unauthorized, Broken} {
		s.Add("x/"+string(f)+"y", f, a)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	get := func(f Fault, rest string) (int, []byte, error) {
		resp, err := http.Get(server.URL + "/v2/x/" + string(f) + "y/" + rest)
		if err != nil {
			return 0, nil, err
		}
		defer func() { _ = resp.Body.Close() }()
		data, err := io.ReadAll(resp.Body)
		return resp.StatusCode, data, err
	}
	for _, c := range []struct {
		fault        Fault
		path         string
		status       int
		sound, whole bool
	}{
		{Sound, "blobs/" + layer, 200, true, true},
		{TruncatedLayer, "blobs/" + layer, 200, false, false},
		{CorruptLayer, "blobs/" + layer, 200, false, true},
		{Flaky, "blobs/" + layer, 200, false, false},
		{Flaky, "blobs/" + layer, 200, true, true},
		{WrongManifest, "manifests/latest", 200, false, true},
		{HugeManifest, "manifests/latest", 200, false, true},
		{Unauthorized, "manifests/latest", 401, false, true},
		{Broken, "manifests/latest", 500, false, true},
	} {
		status, data, err := get(c.fault, c.path)
		sum := sha256.Sum256(data)
		want := layer
		if strings.HasPrefix(c.path, "manifests") {
			want = a.Digest()
		}
		if status != c.status || (err == nil) != c.whole || ("sha256:"+hex.EncodeToString(sum[:]) == want) != c.sound {
			t.Errorf("%q %s: status %d, %d bytes, %v", c.fault, c.path, status, len(data), err)
		}
		if c.fault == HugeManifest && len(data) < 100<<20 {
			t.Errorf("the huge manifest has %d bytes", len(data))
		}
	}
}

func TestArchivesListWhatTheyHold(t *testing.T) {
	a := catalog(t)["test/whiteouts"]
	for kind, write := range map[string]func(io.Writer, string) error{"oci": a.WriteOCIArchive, "docker": a.WriteDockerArchive} {
		var b bytes.Buffer
		if err := write(&b, "x:latest"); err != nil {
			t.Fatal(err)
		}
		n := 0
		for r := tar.NewReader(&b); ; n++ {
			if _, err := r.Next(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(kind, err)
			}
		}
		if n < len(a.Blobs)+1 {
			t.Errorf("%s archive has %d members", kind, n)
		}
	}
	if err := Index(a).WriteDockerArchive(io.Discard, "x"); err == nil {
		t.Error("an index went into a docker-archive")
	}
}
