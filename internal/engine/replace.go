package engine

import (
	"errors"
	"io/fs"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// replace is --replace, podman's: what has the name now makes room. It comes when
// all that can be checked of the new container was checked, and the image is there:
// a refusal, or a pull that fails, must not cost the old one its life. Anonymous
// volumes stay, as with podman (cmd/podman/containers/create.go, replaceContainer).
func (l *launch) replace() error {
	if !l.opts.Replace {
		return nil
	}
	holder, err := l.e.Store.NameHolder(l.opts.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, record.ErrNoContainer):
		return nil
	case err != nil:
		return hint.New("--replace "+l.opts.Name, hint.Cause(err), "")
	}
	// By its id: a container that took the name in between is not the one we saw, and
	// claiming the name then says whose it is.
	if _, err := l.e.Remove(holder, true, false); err != nil && !errors.Is(err, record.ErrNoContainer) {
		return err
	}
	return nil
}

// checkReplace refuses --replace that names nothing, in podman's words.
func (l *launch) checkReplace() error {
	if l.opts.Replace && l.opts.Name == "" {
		return hint.Newf("--replace", "give the name, too: --name NAME", "cannot replace container without --name being set")
	}
	return nil
}
