package transfer

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

// ranged is a registry in front of a sound one that counts and misbehaves.
type ranged struct {
	next     *images.Server
	blob     string       // the digest whose transfer it meddles with
	cutAfter int64        // bytes after which the first whole transfer breaks
	how      string       // "": ranges work; "ignore": always whole; "lie": wrong bytes; "refuse": 416
	sent     atomic.Int64 // bytes of the blob that went out
	ranges   atomic.Int64 // requests with a range
	cuts     atomic.Int64
}

func (r *ranged) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if !strings.HasSuffix(req.URL.Path, "/blobs/"+r.blob) || req.Method != http.MethodGet {
		r.next.ServeHTTP(w, req)
		return
	}
	if req.Header.Get("Range") != "" {
		r.ranges.Add(1)
		switch r.how {
		case "ignore":
			req.Header.Del("Range")
		case "refuse":
			http.Error(w, "no", http.StatusRequestedRangeNotSatisfiable)
			return
		}
	}
	lie := r.how == "lie" && req.Header.Get("Range") != ""
	cut := r.cutAfter > 0 && r.cuts.Add(1) == 1
	r.next.ServeHTTP(&meddler{ResponseWriter: w, r: r, lie: lie, cut: cut}, req)
}

type meddler struct {
	http.ResponseWriter
	r        *ranged
	lie, cut bool
}

func (m *meddler) Write(b []byte) (int, error) {
	if m.cut && int64(len(b)) > m.r.cutAfter {
		b = b[:m.r.cutAfter]
	}
	if m.lie {
		b = append([]byte("lie"), b[3:]...)
	}
	n, err := m.ResponseWriter.Write(b)
	m.r.sent.Add(int64(n))
	if m.cut {
		m.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, err
}

// bigLayer is an image with one layer that is worth resuming: 4 MiB that do not compress.
func bigLayer(t *testing.T) (a *images.Artifact, digest string, data []byte) {
	t.Helper()
	text := make([]byte, 4<<20)
	_, _ = rand.New(rand.NewSource(1)).Read(text)
	l := images.MakeLayer(images.Gzip, images.Dir("big", 0o755), images.File("big/file", 0o644, string(text)))
	return images.Image{Layers: []images.Layer{l}}.Build(), fmt.Sprintf("sha256:%x", sha256.Sum256(l.Data)), l.Data
}

// partial leaves a store behind in which n bytes of the big layer are cached.
func cached(w *world, digest string, data []byte) {
	dir := filepath.Join(w.root, "cache/blobs")
	w.must(os.MkdirAll(dir, 0o700))
	w.must(os.WriteFile(filepath.Join(dir, strings.TrimPrefix(digest, "sha256:")+partialSuffix), data, 0o600))
}

func TestResume(t *testing.T) {
	a, digest, data := bigLayer(t)
	size := int64(len(data))
	half := size / 2
	wrong := append([]byte("wrong"), data[5:half]...)
	for _, c := range []struct {
		name   string
		have   []byte
		how    string
		atMost int64 // bytes of the layer that may be sent
		ranges int64 // at least so many range requests
	}{
		{"half is there", data[:half], "", size - half, 1},
		{"all is there", data, "", 0, 0},
		{"one byte is there", data[:1], "", size - 1, 1},
		{"the server ignores ranges", data[:half], "ignore", size, 1},
		{"the server lies", data[:half], "lie", 2 * size, 1},
		{"the server refuses ranges", data[:half], "refuse", size, 1},
		{"the cached half is wrong", wrong, "", 2 * size, 1},
		{"too much is there", append(append([]byte(nil), data...), "more"...), "", size, 0},
		{"all is there and wrong", append([]byte("wrong"), data[5:]...), "", size, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			srv := images.NewServer()
			srv.Add("test/it", images.Sound, a)
			r := &ranged{next: srv, blob: digest, how: c.how}
			h := httptest.NewServer(r)
			defer h.Close()
			cached(w, digest, c.have)
			w.must(w.pull(strings.TrimPrefix(h.URL, "http://") + "/test/it"))
			if r.sent.Load() > c.atMost || r.ranges.Load() < c.ranges {
				t.Errorf("%d bytes of %d were sent (at most %d), %d range requests", r.sent.Load(), size, c.atMost, r.ranges.Load())
			}
			if left, _ := os.ReadDir(filepath.Join(w.root, "cache/blobs")); len(left) > 0 {
				t.Errorf("the cache keeps %v", left)
			}
			w.clean()
		})
	}
}

// A connection that breaks in the middle costs only what was lost.
func TestBrokenConnectionGoesOn(t *testing.T) {
	w := newWorld(t)
	a, digest, data := bigLayer(t)
	size := int64(len(data))
	srv := images.NewServer()
	srv.Add("test/it", images.Sound, a)
	r := &ranged{next: srv, blob: digest, cutAfter: size / 2}
	h := httptest.NewServer(r)
	defer h.Close()
	w.must(w.pull(strings.TrimPrefix(h.URL, "http://") + "/test/it"))
	if r.sent.Load() > size+1<<20 || r.ranges.Load() == 0 {
		t.Errorf("%d bytes of %d were sent, %d range requests", r.sent.Load(), size, r.ranges.Load())
	}
	w.clean()
}

// helper starts a pull in a process of its own.
func (w *world) helper(ref string) *exec.Cmd {
	w.Helper()
	exe, err := os.Executable()
	w.must(err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "RC_TEST_PULL="+ref, "RC_ROOT="+w.root, inside+"=1")
	cmd.Stderr = &w.report
	return cmd
}

// Killed at any moment, the store is sound and the next pull works, without
// fetching again what was complete.
func TestKilledAtAnyMoment(t *testing.T) {
	w := newWorld(t)
	a, _, data := bigLayer(t)
	ref, srv := serve(t, images.SlowLayer, a)
	for i := range 12 {
		cmd := w.helper(ref)
		w.must(cmd.Start())
		time.Sleep(time.Duration(40+i*110) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	before := srv.Requests("/blobs/")
	began := time.Now()
	if out, err := w.helper(ref).Output(); err != nil {
		t.Fatalf("the pull after the kills: %v: %s %s", err, out, w.report.String())
	}
	t.Logf("%d blob requests in 12 killed pulls; the last pull took %v for the rest of %d bytes", before, time.Since(began), len(data))
	w.clean()
	w.image(ref)
	if left, _ := os.ReadDir(filepath.Join(w.root, "cache/blobs")); len(left) > 0 {
		t.Errorf("the cache keeps %v", left)
	}
}

func TestTwoPullsAtOnce(t *testing.T) {
	w := newWorld(t)
	a, digest, _ := bigLayer(t)
	ref, srv := serve(t, images.SlowLayer, a)
	var cmds []*exec.Cmd
	for range 4 {
		cmd := w.helper(ref)
		cmd.Stderr = nil
		w.must(cmd.Start())
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		w.must(cmd.Wait())
	}
	if n := srv.Requests("/blobs/" + digest); n != 1 {
		t.Errorf("the layer was fetched %d times", n)
	}
	w.clean()
}

// Whoever wins, the record and the layers agree afterwards.
func TestPullAgainstRemove(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "library/alpine", "library/busybox")
	ref := addr + "/library/alpine"
	for i := range 6 {
		var said bytes.Buffer
		cmd := w.helper(ref)
		cmd.Stderr = &said
		w.must(cmd.Start())
		time.Sleep(time.Duration(i*25) * time.Millisecond)
		_ = w.rmi(true, ref)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the pull lost: %v: %s", err, said.String())
		}
	}
	w.must(w.pull(ref))
	w.clean()
	for _, dir := range w.image(ref).Layers {
		if _, err := os.Stat(dir); err != nil {
			t.Error(err)
		}
	}
	w.must(w.rmi(false, ref))
	if left, _ := os.ReadDir(filepath.Join(w.root, "storage/rc/dir")); len(left) > 0 {
		t.Error(fmt.Sprint("layers are left: ", left))
	}
}
