package fuse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Probe tries every driver in the folder dir (a store) on an image of two
// layers with a whiteout and an opaque folder, and writes to the result. It is
// called where Mount is: in U0, in a mount namespace of its own. Nothing is
// left in dir. The findings are in the order of Drivers; Why is evidence when
// OK, else what failed and how to get it.
func Probe(dir string) []Finding {
	var out []Finding
	for _, d := range Drivers {
		why, err := probe(d, dir)
		if err != nil {
			why = err.Error()
		}
		out = append(out, Finding{Driver: d, OK: err == nil, Why: why})
	}
	return out
}

func probe(d Driver, dir string) (why string, err error) {
	tmp, err := os.MkdirTemp(dir, ".rc-probe-")
	if err != nil {
		return "", hint.New(fmt.Sprintf("write to %q", dir), hint.Errno(err), writeFix(err))
	}
	defer func() {
		// With an error of its own, that of the removal would hide the cause.
		if rerr := removePath(tmp); err == nil {
			err = rerr
		}
	}()
	r, err := toy(d, tmp)
	if err != nil {
		// fuse-overlayfs below us takes both kinds of whiteout for its own.
		return "", hint.New(fmt.Sprintf("unpack an image with whiteouts in %q", dir), hint.Errno(err), toyFix(err))
	}
	m, err := Mount(d, r)
	if err != nil {
		return "", err
	}
	err = checkToy(int(m.FD.Fd()))
	if cerr := m.Close(); err == nil {
		err = cerr
	}
	if m.Helper != nil {
		if werr := m.Helper.Wait(); err == nil {
			err = werr
		}
	}
	if err != nil {
		return "", hint.New(fmt.Sprintf("use a root file system of %s in %q", d, dir), err, "choose another store with --root")
	}
	return "two layers: whiteout and opaque folder hide, a file and a folder were replaced", nil
}

// toy makes the layers
//
//	1 (top)   w/gone: whiteout   d/ opaque: shown
//	2         w/gone   d/hidden   e/below   kept
//
// with the kernel's marks where the driver can read only those, and with `.wh.`
// files for the others, which a store without attributes can hold.
func toy(d Driver, tmp string) (Rootfs, error) {
	r := Rootfs{
		Layers: []string{filepath.Join(tmp, "1"), filepath.Join(tmp, "2")},
		Upper:  filepath.Join(tmp, "upper"), Work: filepath.Join(tmp, "work"),
		Volatile: true,
	}
	var errs []error
	dir := func(names ...string) { errs = append(errs, os.MkdirAll(filepath.Join(names...), 0o755)) }
	file := func(names ...string) { errs = append(errs, os.WriteFile(filepath.Join(names...), []byte("x"), 0o644)) }
	top, below := r.Layers[0], r.Layers[1]
	dir(r.Upper)
	dir(r.Work)
	dir(top, "d")
	dir(top, "w")
	dir(below, "d")
	dir(below, "w")
	dir(below, "e")
	file(below, "w", "gone")
	file(below, "kept")
	file(below, "d", "hidden")
	file(below, "e", "below")
	file(top, "d", "shown")
	mark := filepath.Join(top, "w", whPrefix+"gone")
	file(mark)
	// fuse-overlayfs below us refuses the name (EINVAL). To try the device there as
	// well would leave a folder that it can neither list nor remove (1.10).
	if d == Overlay && errors.Join(errs...) == nil {
		errs = append(errs, os.Remove(mark))
		errs = append(errs, unix.Mknod(filepath.Join(top, "w", "gone"), unix.S_IFCHR, 0))
		// Without attributes Mount refuses with a better reason than this error.
		_ = unix.Setxattr(filepath.Join(top, "d"), "user.overlay.opaque", []byte("y"), 0)
	} else {
		file(top, "d", whOpaque)
	}
	return r, errors.Join(errs...)
}

func toyFix(err error) string {
	if fix := writeFix(err); fix != "" {
		return fix
	}
	return "choose a store on another file system with --root"
}

// checkToy looks at the mount through its descriptor and changes it: a folder
// removed and made anew must not show what the layers have in it.
func checkToy(root int) error {
	for name, want := range map[string]bool{"kept": true, "d/shown": true, "e/below": true, "w/gone": false, "d/hidden": false} {
		if err := expect(root, name, want); err != nil {
			return err
		}
	}
	for _, step := range []struct {
		what string
		err  error
	}{
		{"remove a file", unix.Unlinkat(root, "e/below", 0)},
		{"remove a folder", unix.Unlinkat(root, "e", unix.AT_REMOVEDIR)},
		{"make the folder again", unix.Mkdirat(root, "e", 0o755)},
		{"keep it empty", expect(root, "e/below", false)},
		{"rename a file", unix.Renameat(root, "kept", root, "e/moved")},
		{"find it", expect(root, "e/moved", true)},
		{"not find the old name", expect(root, "kept", false)},
	} {
		if step.err != nil {
			return fmt.Errorf("%s: %w", step.what, step.err)
		}
	}
	return nil
}

func expect(root int, name string, want bool) error {
	var st unix.Stat_t
	err := unix.Fstatat(root, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err != nil && err != unix.ENOENT:
		return fmt.Errorf("%s: %w", name, err)
	case (err == nil) != want:
		return fmt.Errorf("%s: shown is %t, should be %t", name, err == nil, want)
	}
	return nil
}

// removePath is RemoveAll by the path of something that this process made.
func removePath(path string) error {
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return RemoveAll(fd, filepath.Base(path))
}
