package fuse

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// format is how a layer marks what it hides.
type format string

const (
	kernelFormat format = "kernel"
	tarFormat    format = "tar" // .wh. files
)

// formats that a driver must understand.
func formats(d Driver) []format {
	if d == Overlay {
		return []format{kernelFormat}
	}
	return []format{kernelFormat, tarFormat}
}

// layer builds one layer folder.
type layer struct {
	testing.TB
	dir string
	format
}

func newLayer(t testing.TB, f format) *layer {
	dir := filepath.Join(t.TempDir(), "diff")
	must(t, os.Mkdir(dir, 0o755))
	return &layer{t, dir, f}
}

func (l *layer) path(name string) string { return l.dir + "/" + name }

func (l *layer) mkdir(name string, mode uint32) *layer {
	l.Helper()
	must(l, os.MkdirAll(l.path(name), 0o755))
	must(l, unix.Chmod(l.path(name), mode))
	return l
}

func (l *layer) file(name, data string) *layer {
	l.Helper()
	must(l, os.MkdirAll(filepath.Dir(l.path(name)), 0o755))
	must(l, os.WriteFile(l.path(name), []byte(data), 0o644))
	return l
}

func (l *layer) mode(name string, mode uint32) *layer {
	l.Helper()
	must(l, unix.Chmod(l.path(name), mode))
	return l
}

func (l *layer) owner(name string, uid, gid int) *layer {
	l.Helper()
	must(l, os.Lchown(l.path(name), uid, gid))
	return l
}

func (l *layer) link(old, new string) *layer {
	l.Helper()
	must(l, os.MkdirAll(filepath.Dir(l.path(new)), 0o755))
	must(l, os.Link(l.path(old), l.path(new)))
	return l
}

func (l *layer) symlink(target, name string) *layer {
	l.Helper()
	must(l, os.Symlink(target, l.path(name)))
	return l
}

func (l *layer) xattr(name, attr, value string) *layer {
	l.Helper()
	must(l, unix.Lsetxattr(l.path(name), attr, []byte(value), 0))
	return l
}

func (l *layer) hide(name string) *layer {
	l.Helper()
	dir, base := filepath.Split(name)
	must(l, os.MkdirAll(l.path(dir), 0o755))
	if l.format == kernelFormat {
		must(l, unix.Mknod(l.path(name), unix.S_IFCHR, 0))
		return l
	}
	return l.file(dir+whPrefix+base, "")
}

func (l *layer) opaque(name string) *layer {
	l.Helper()
	must(l, os.MkdirAll(l.path(name), 0o755))
	if l.format == kernelFormat {
		return l.xattr(name, "user.overlay.opaque", "y")
	}
	return l.file(name+"/"+whOpaque, "")
}
