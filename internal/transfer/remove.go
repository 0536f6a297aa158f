package transfer

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Remove takes a name away, and with the last name the image. An id removes the
// image, if need be with all its names (force). It prints what Docker prints.
func (s *Session) Remove(typed []string, force bool) error {
	var failed []error
	for _, t := range typed {
		if err := s.removeOne(t, force); err != nil {
			failed = append(failed, explain(fmt.Sprintf("rmi %q", t), err, ""))
		}
	}
	if err := s.collect(time.Time{}); err != nil {
		failed = append(failed, explain("rmi", err, ""))
	}
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return (&hint.Error{Err: joinLine(failed)}).WithCode(exitFailed)
}

func (s *Session) removeOne(typed string, force bool) error {
	id, err := s.record.ImageID(typed)
	if errors.Is(err, record.ErrNoImage) && force {
		return nil // as docker rmi -f
	}
	if err != nil {
		return err
	}
	names, err := s.record.NamesOf(id)
	if err != nil {
		return err
	}
	tags, repos := splitNames(names)
	byID := strings.HasPrefix("sha256:"+id, typed) || strings.HasPrefix(id, typed)
	if !byID {
		r, err := record.ParseRef(typed)
		if err != nil {
			return err
		}
		if others := len(tags) - 1; r.Digest == "" && others > 0 {
			return s.untag(typed)
		}
	} else if repos > 1 && !force {
		return hint.Newf("", "name one of them, or use -f", "several names point at it: %s", strings.Join(tags, ", "))
	}
	return s.removeImage(id, names, force)
}

// splitNames gives the tags, and of how many repositories they are.
func splitNames(names []string) (tags []string, repos int) {
	seen := make(map[string]bool)
	for _, n := range names {
		r, err := record.ParseRef(n)
		if err != nil || r.Digest != "" {
			continue
		}
		tags = append(tags, r.Familiar())
		if !seen[r.Name] {
			seen[r.Name] = true
			repos++
		}
	}
	return tags, repos
}

func (s *Session) untag(name string) error {
	full, err := s.record.Untag(name)
	if err == nil {
		s.event("untag", familiar(full), familiar(full))
		fmt.Fprintf(s.Out, "Untagged: %s\n", familiar(full))
	}
	return err
}

func familiar(full string) string {
	if r, err := record.ParseRef(full); err == nil {
		return r.Familiar()
	}
	return full
}

// removeImage removes the record; the layers go in the collection that follows
// and that leaves what a pull beside us may be using.
func (s *Session) removeImage(id string, names []string, force bool) error {
	err := s.record.RemoveImage(id)
	if errors.Is(err, record.ErrImageInUse) {
		if !force {
			return hint.New("", err, "remove the container first (rc rm), or take only the names away: rc rmi -f")
		}
		// As Docker: the names go, the image stays until its containers do.
		for _, n := range names {
			if err := s.untag(n); err != nil && !errors.Is(err, record.ErrNoImage) {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		s.event("untag", "sha256:"+id, familiar(n))
		fmt.Fprintf(s.Out, "Untagged: %s\n", familiar(n))
	}
	s.event("delete", "sha256:"+id, "")
	fmt.Fprintf(s.Out, "Deleted: sha256:%s\n", id)
	return nil
}
