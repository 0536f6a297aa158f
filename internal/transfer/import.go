package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/image/v5/tarball"
	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Import makes an image of one layer from the archive of a root file system:
// a file, a URL, or in for "-". changes are Dockerfile instructions.
func (s *Session) Import(ctx context.Context, from, name string, in io.Reader, changes []string, message string) error {
	op := "import " + from
	var full string
	if name != "" {
		r, err := record.ParseRef(name)
		if err == nil && r.Digest != "" {
			err = fmt.Errorf("%w: an image cannot be given a digest", record.ErrBadRef)
		}
		if err != nil {
			return explain(op, err, "")
		}
		full = r.WithDefaultTag().String()
	}
	now := time.Now().UTC()
	config := imgspec.Image{Created: &now, Author: "", Platform: imgspec.Platform{OS: "linux", Architecture: hostArch},
		History: []imgspec.History{{Created: &now, CreatedBy: "rc import " + from, Comment: message}}}
	for _, c := range changes {
		if err := change(&config.Config, c); err != nil {
			return explain(op, err, "")
		}
	}
	if s.Platform != "" {
		config.OS, config.Architecture, config.Variant = s.sys.OSChoice, s.sys.ArchitectureChoice, s.sys.VariantChoice
	}
	plain := filepath.Join(s.work, "import.tar")
	if err := fetchTo(ctx, plain, from, in); err != nil {
		return explain(op, err, "")
	}
	return explain(op, s.importFile(ctx, plain, full, config), "")
}

func (s *Session) importFile(ctx context.Context, plain, full string, config imgspec.Image) error {
	ref, err := tarball.NewReference([]string{plain}, nil)
	if err != nil {
		return err
	}
	updater, ok := ref.(tarball.ConfigUpdater)
	if !ok {
		return errors.ErrUnsupported
	}
	if err := updater.ConfigUpdate(config, nil); err != nil {
		return err
	}
	var names []string
	if full != "" {
		names = []string{full}
	}
	id, err := s.admitNamed(ctx, ref, names)
	if err != nil {
		return err
	}
	s.event("import", "sha256:"+id, familiar(full))
	fmt.Fprintf(s.Out, "sha256:%s\n", id)
	return nil
}

func fetchTo(ctx context.Context, dest, from string, in io.Reader) error {
	if from == "-" {
		return decompressTo(dest, "", in)
	}
	if !strings.HasPrefix(from, "http://") && !strings.HasPrefix(from, "https://") {
		return decompressTo(dest, from, nil)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return hint.Newf("", "check the address", "the server answers %s", resp.Status)
	}
	if err := decompressTo(dest, "", resp.Body); err != nil {
		_ = os.Remove(dest)
		return err
	}
	return nil
}
