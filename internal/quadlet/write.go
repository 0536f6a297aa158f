package quadlet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rc-containers/rc/internal/hint"
)

// Write puts the units into a folder of systemd's. What cannot be written is an error,
// and the other units are written all the same. Nothing is synced: the folder is in
// memory, and made anew at each daemon-reload.
func (r *Result) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hint.New("make "+dir, hint.Cause(err), "name a folder that can be written to")
	}
	var errs []error
	for _, u := range r.Units {
		if err := write(filepath.Join(dir, u.Name), u.Text); err != nil {
			errs = append(errs, hint.New("write "+u.Name, hint.Cause(err), ""))
			continue
		}
		for _, l := range u.Links {
			if err := link(dir, l); err != nil {
				errs = append(errs, hint.New("link "+l.Name+" to "+u.Name, err, ""))
			}
		}
	}
	return errors.Join(errs...)
}

// write makes a file anew: a link that is there is not followed.
func write(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// link makes a link; another one of its name, as an alias that two files want, stays.
func link(dir string, l Link) error {
	path := filepath.Join(dir, l.Name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return hint.Cause(err)
	}
	err := os.Symlink(l.Target, path)
	if !errors.Is(err, fs.ErrExist) {
		var failed *os.LinkError
		if errors.As(err, &failed) {
			return failed.Err
		}
		return err
	}
	if was, err := os.Readlink(path); err != nil || was != l.Target {
		return errors.New("another unit has this name")
	}
	return nil
}
