package transfer

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"

	"github.com/containers/image/v5/docker"
	"github.com/containers/storage"
	"github.com/docker/distribution/registry/api/errcode"

	"github.com/rc-containers/rc/fuse/layers"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// exitFailed is Docker's exit code of pull, push, load, save, import, login,
// logout and rmi when they fail; a wrong flag is 125.
const exitFailed = 1

// transient says whether going on makes sense: the network or the server
// failed in the middle, or somebody removed the image at the same moment.
func transient(err error) bool {
	var layer *layers.LayerError
	if errors.As(err, &layer) || errors.Is(err, context.Canceled) {
		return false
	}
	for _, target := range []error{record.ErrNoImage, storage.ErrLayerUnknown, storage.ErrImageUnknown, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE, context.DeadlineExceeded} {
		if errors.Is(err, target) {
			return true
		}
	}
	var status docker.UnexpectedHTTPStatusError
	if errors.As(err, &status) {
		return status.StatusCode >= 500 || status.StatusCode == http.StatusTooManyRequests
	}
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

// line is an error whose text was made one line; the chain below stays.
type line struct {
	text string
	err  error
}

func (l *line) Error() string { return l.text }
func (l *line) Unwrap() error { return l.err }

// noise are the library's outer layers, which tell the user nothing.
var noise = regexp.MustCompile(`^(initializing source docker://\S+: |copying system image from manifest list: |copying image \S+ from manifest list: |` +
	`happened during read: |writing blob: (adding layer with blob \S+: )?|storing blob to file "[^"]*": |unable to retrieve auth token: |pinging container registry \S+: |` +
	`committing the finished image: |reading blob sha256:[0-9a-f]{64}: (?:fetching blob: )?)`)

func oneLine(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for noise.MatchString(text) {
		text = noise.ReplaceAllString(text, "")
	}
	text = strings.Replace(text, "Digest did not match, expected", "a blob does not match its digest: expected", 1)
	return &line{text, err}
}

// joinLine is errors.Join on one line.
func joinLine(errs []error) error {
	var texts []string
	for _, err := range errs {
		texts = append(texts, oneLine(err).Error())
	}
	return &line{strings.Join(texts, "; "), errors.Join(errs...)}
}

// explain makes the refusal of a verb: one line, with what to do about it.
func explain(op string, err error, registry string) error {
	if err == nil {
		return nil
	}
	var already *hint.Error
	if errors.As(err, &already) {
		fixed := *already
		if fixed.Op == "" || !strings.HasPrefix(fixed.Op, op) {
			fixed.Op = op
		}
		return fixed.WithCode(exitFailed)
	}
	return hint.New(op, oneLine(err), fix(err, registry)).WithCode(exitFailed)
}

// fix knows what to do about the usual failures of a registry.
func fix(err error, registry string) string {
	var unauthorized docker.ErrUnauthorizedForCredentials
	var code errcode.Error
	_ = errors.As(err, &code)
	text := err.Error()
	var dns *net.DNSError
	switch {
	case errors.As(err, &unauthorized), code.Code == errcode.ErrorCodeUnauthorized, code.Code == errcode.ErrorCodeDenied,
		strings.Contains(text, "authentication required"):
		return "the image may not exist, or needs: rc login " + registry
	case strings.Contains(text, "manifest unknown"), strings.Contains(text, "name unknown"), strings.Contains(text, "StatusCode: 404"):
		return "check the name, the tag or the digest"
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "the registry speaks plain HTTP: --tls-verify=false, or insecure=true for it in registries.conf"
	case strings.Contains(text, "x509:"), strings.Contains(text, "tls: failed to verify"):
		return "add its authority under /etc/containers/certs.d/" + registry + "/ca.crt, or --tls-verify=false"
	case errors.As(err, &dns), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "check the registry's name and the network"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), strings.Contains(text, "no space left on device"):
		return "make room, or use another --root"
	case strings.Contains(text, "toomanyrequests"), strings.Contains(text, "StatusCode: 429"):
		return "the registry limits how often one may pull: wait, or rc login " + registry
	case strings.Contains(text, "exceeded maximum allowed size"):
		return "the manifest or config is too large to be one"
	}
	return ""
}
