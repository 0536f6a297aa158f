package images

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Remote is a registry that images are pushed to by plain HTTP
// (distribution-spec, "Pushing blobs" and "Pushing manifests").
type Remote struct {
	URL            string // http://127.0.0.1:5000
	User, Password string // basic authentication, when User is not ""
}

// Push uploads everything that a refers to, then a itself under repo:tag.
func (r Remote) Push(repo, tag string, a *Artifact) error {
	for d, b := range a.Blobs {
		if err := r.pushBlob(repo, d, b); err != nil {
			return fmt.Errorf("push %s to %s: %w", d, repo, err)
		}
	}
	for _, c := range a.Children {
		if err := r.Push(repo, c.Digest(), c); err != nil {
			return err
		}
	}
	resp, err := r.do("PUT", "/v2/"+repo+"/manifests/"+tag, a.MediaType, a.Data)
	if err != nil {
		return err
	}
	return want(resp, http.StatusCreated)
}

func (r Remote) pushBlob(repo, d string, data []byte) error {
	resp, err := r.do("HEAD", "/v2/"+repo+"/blobs/"+d, "", nil)
	if err != nil {
		return err
	}
	if _ = resp.Body.Close(); resp.StatusCode == http.StatusOK {
		return nil
	}
	resp, err = r.do("POST", "/v2/"+repo+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	if err := want(resp, http.StatusAccepted); err != nil {
		return err
	}
	at := resp.Header.Get("Location")
	if !strings.HasPrefix(at, "http") {
		at = r.URL + at
	}
	sep := "?"
	if strings.Contains(at, "?") {
		sep = "&"
	}
	resp, err = r.do("PUT", strings.TrimPrefix(at, r.URL)+sep+"digest="+d, "application/octet-stream", data)
	if err != nil {
		return err
	}
	return want(resp, http.StatusCreated)
}

func (r Remote) do(method, path, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequest(method, r.URL+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.User != "" {
		req.SetBasicAuth(r.User, r.Password)
	}
	return http.DefaultClient.Do(req)
}

func want(resp *http.Response, status int) error {
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == status {
		return nil
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	return fmt.Errorf("%s %s: %s: %s", resp.Request.Method, resp.Request.URL.Path, resp.Status, text)
}
