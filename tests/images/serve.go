package images

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is what a Server does wrong for one repository.
type Fault string

// The faults. Only layers are touched, except where it says manifest.
const (
	Sound          Fault = ""
	TruncatedLayer Fault = "truncated"  // promises all bytes, closes after half
	CorruptLayer   Fault = "corrupt"    // right length, one byte wrong
	WrongManifest  Fault = "wrong"      // other bytes than the digest asked for
	HugeManifest   Fault = "huge"       // a manifest of 100 MB of white space
	SlowLayer      Fault = "slow"       // 64 KiB each 50 ms
	Flaky          Fault = "flaky"      // the first request of each layer breaks off half way
	Unauthorized   Fault = "denied"     // 401 whatever is sent
	Overloaded     Fault = "overloaded" // 429 for the first two requests of each path
	Broken         Fault = "broken"     // 500 for the manifest
	NotAManifest   Fault = "html"       // a proxy's error page, with 200
)

// Server is a registry for what a real one refuses to hold. It is read-only and
// serves each repository with its fault.
type Server struct {
	mu     sync.Mutex
	repos  map[string]*served
	counts map[string]int // requests by path
}

type served struct {
	fault     Fault
	manifests map[string]*Artifact // by tag and by digest
	blobs     map[string][]byte
}

// NewServer returns an empty one.
func NewServer() *Server {
	return &Server{repos: map[string]*served{}, counts: map[string]int{}}
}

// Add serves a as repo:latest and by its digest.
func (s *Server) Add(repo string, fault Fault, a *Artifact) {
	r := &served{fault: fault, manifests: map[string]*Artifact{}, blobs: a.all()}
	r.manifests["latest"] = a
	var add func(*Artifact)
	add = func(a *Artifact) {
		r.manifests[a.Digest()] = a
		for _, c := range a.Children {
			add(c)
		}
	}
	add(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.repos[repo] = r
}

// Requests says how often a path that contains part was asked for by GET.
func (s *Server) Requests(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for path, c := range s.counts {
		if strings.Contains(path, part) {
			n += c
		}
	}
	return n
}

func (s *Server) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	if req.URL.Path == "/v2/" {
		return
	}
	repo, kind, ref, ok := splitPath(req.URL.Path)
	s.mu.Lock()
	if req.Method == http.MethodGet {
		s.counts[req.URL.Path]++
	}
	count, r := s.counts[req.URL.Path], s.repos[repo]
	s.mu.Unlock()
	if !ok || r == nil {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN")
		return
	}
	switch {
	case r.fault == Unauthorized:
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
	case r.fault == Overloaded && count <= 2:
		w.Header().Set("Retry-After", "1")
		refuse(w, http.StatusTooManyRequests, "TOOMANYREQUESTS")
	case kind == "manifests":
		r.manifest(w, ref)
	default:
		r.blob(w, req, ref, count)
	}
}

// splitPath cuts /v2/NAME/(manifests|blobs)/REF.
func splitPath(path string) (repo, kind, ref string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	parts := strings.Split(rest, "/")
	n := len(parts)
	if !ok || n < 3 || (parts[n-2] != "manifests" && parts[n-2] != "blobs") {
		return "", "", "", false
	}
	return strings.Join(parts[:n-2], "/"), parts[n-2], parts[n-1], true
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"errors":[{"code":%q,"message":"refused by the test registry"}]}`, code)
}

func (r *served) manifest(w http.ResponseWriter, ref string) {
	a := r.manifests[ref]
	if a == nil {
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", a.MediaType)
	w.Header().Set("Docker-Content-Digest", a.Digest())
	data := a.Data
	switch r.fault {
	case Broken:
		refuse(w, http.StatusInternalServerError, "UNKNOWN")
		return
	case NotAManifest:
		w.Header().Set("Content-Type", "text/html")
		data = []byte("<html>Please log in to the guest network</html>")
	case WrongManifest:
		data = append([]byte(" "), data...)
	case HugeManifest:
		hugeManifest(w, data)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

// hugeManifest sends 100 MB of valid JSON: a reader without a limit of its own
// takes it all into memory.
func hugeManifest(w http.ResponseWriter, data []byte) {
	const size = 100 << 20
	w.Header().Set("Content-Length", strconv.Itoa(size+len(data)))
	blank := []byte(strings.Repeat(" ", 1<<20))
	for sent := 0; sent < size; sent += len(blank) {
		if _, err := w.Write(blank); err != nil {
			return
		}
	}
	_, _ = w.Write(data)
}

func (r *served) blob(w http.ResponseWriter, req *http.Request, ref string, count int) {
	data, ok := r.blobs[ref]
	if !ok {
		refuse(w, http.StatusNotFound, "BLOB_UNKNOWN")
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if data[0] == '{' || req.Method == http.MethodHead { // the config, or a question
		serveRange(w, req, data)
		return
	}
	switch r.fault {
	case CorruptLayer:
		data = append([]byte(nil), data...)
		data[len(data)/2] ^= 0x40
		serveRange(w, req, data)
	case TruncatedLayer:
		breakOff(w, data)
	case Flaky:
		if count == 1 {
			breakOff(w, data)
			return
		}
		serveRange(w, req, data)
	case SlowLayer:
		slowly(w, req, data)
	default:
		serveRange(w, req, data)
	}
}

// serveRange answers whole or, to "Range: bytes=N-", the rest (206).
func serveRange(w http.ResponseWriter, req *http.Request, data []byte) {
	w.Header().Set("Accept-Ranges", "bytes")
	status := http.StatusOK
	var from int
	if n, _ := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-", &from); n == 1 && from > 0 && from < len(data) {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
		data, status = data[from:], http.StatusPartialContent
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	if req.Method != http.MethodHead {
		_, _ = w.Write(data)
	}
}

// breakOff promises all of data, sends half, and cuts the connection.
func breakOff(w http.ResponseWriter, data []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data[:len(data)/2])
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	panic(http.ErrAbortHandler) // net/http's way to drop a connection
}

func slowly(w http.ResponseWriter, req *http.Request, data []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	for len(data) > 0 {
		n := min(64<<10, len(data))
		if _, err := w.Write(data[:n]); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		data = data[n:]
		select {
		case <-req.Context().Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}
