package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
)

// obtain finds the image, and pulls it where --pull says so.
func (e *Engine) obtain(ref string, o *spec.Options) (*record.Image, error) {
	if o.Pull != "always" {
		img, err := e.Store.Image(ref)
		if err == nil && (o.Platform == "" || !errors.Is(spec.CheckPlatform(img, o.Platform), spec.ErrOtherPlatform)) {
			return img, nil
		}
		if err != nil && !errors.Is(err, record.ErrNoImage) {
			return nil, err
		}
		if o.Pull == "never" {
			if err == nil {
				return img, nil // the platform's own refusal follows
			}
			return nil, hint.New(fmt.Sprintf("find image %q", ref), record.ErrNoImage, "leave out --pull=never, or: rc pull "+ref)
		}
	}
	args := []string{"pull"}
	if o.Platform != "" {
		args = append(args, "--platform", o.Platform)
	}
	out := os.Stderr // what it prints is for the user, not for the one who reads the container
	if o.Quiet {
		args = append(args, "--quiet")
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		defer null.Close()
		out = null
	}
	code, err := e.Image(append(args, "--", ref), out)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, errReported
	}
	return e.Store.Image(ref)
}

// errReported is a refusal that another of our programs has already printed.
var errReported = &hint.Error{Err: errors.New("the image could not be pulled"), Code: hint.ExitRefused}

// Reported tells whether err has been printed already.
func Reported(err error) bool { return errors.Is(err, errReported) }

// filter opens the compiled seccomp filter of a profile, compiling it on first
// use: 10 ms once, against 0.3 ms to load it (see docs/architecture.md).
func (e *Engine) filter(p spec.SeccompProfile) (*os.File, error) {
	key, err := spec.SeccompKey(p, runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	path := e.Store.Path("cache", "seccomp", key+".bpf")
	if fd, err := linux.Open(path, unix.O_RDONLY|unix.O_NONBLOCK, 0); err == nil {
		return os.NewFile(uintptr(fd), path), nil // without the poller, which takes no such file
	} else if err != unix.ENOENT {
		return nil, hint.New("open the compiled seccomp filter "+path, err, "")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, hint.New("make the folder of compiled filters", hint.Cause(err), diskFix(err))
	}
	args := []string{"seccomp", "--out", path, "--caps", strings.Join(p.Caps, ",")}
	if p.Path != "" {
		args = append(args, "--profile", p.Path)
	}
	code, err := e.Image(args, os.Stderr)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return nil, errReported
	}
	return os.Open(path)
}

// dropFilter removes a compiled filter that init could not load, as one that a power
// cut left empty: the next start compiles it anew. A kernel that has no room, or that
// loads none at all (seccomp(2)), says nothing of the file.
func (l *launch) dropFilter(f *stage.Failure) {
	file := l.files["seccomp"]
	if file == nil || !strings.HasSuffix(f.Op, " the seccomp filter") {
		return
	}
	switch unix.Errno(f.Errno) {
	case unix.ENOSYS, unix.ENOMEM, unix.EACCES, unix.EPERM:
		return
	}
	if os.RemoveAll(file.Name()) == nil {
		f.Fix = "run the command again: " + file.Name() + " was damaged, and is made anew"
	}
}

var errNameTaken = errors.New("the name is in use")

// claimName takes the asked name, or a random free one.
func (e *Engine) claimName(name, id string) (string, error) {
	if name == "" {
		for range 20 {
			candidate := randomName()
			if err := e.Store.ClaimName(candidate, id); err == nil {
				return candidate, nil
			} else if !errors.Is(err, fs.ErrExist) {
				return "", hint.New("name the container", hint.Cause(err), diskFix(err))
			}
		}
		return id[:12], e.Store.ClaimName(id[:12], id)
	}
	if err := spec.CheckName(name); err != nil {
		return "", err
	}
	for range 2 {
		err := e.Store.ClaimName(name, id)
		if err == nil {
			return name, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return "", hint.New("name the container "+name, hint.Cause(err), diskFix(err))
		}
		if !e.dropStaleName(name) {
			break
		}
	}
	holder, _ := e.Store.NameHolder(name)
	return "", hint.New(fmt.Sprintf("name the container %q", name), errNameTaken,
		fmt.Sprintf("container %s has it: rc rm %s, or choose another name", shortID(holder), name))
}

// dropStaleName frees a name whose holder died before it made anything.
func (e *Engine) dropStaleName(name string) bool {
	holder, err := e.Store.NameHolder(name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	_ = e.reconcile(holder)
	if _, err := os.Lstat(e.Store.ContainerDir(holder)); err == nil {
		return e.dropOldName(name, holder)
	}
	lock, err := e.Store.TakeLife(holder)
	if err != nil {
		return false // it is being made right now
	}
	defer e.Store.DropLife(holder, lock)
	return e.Store.DropName(name, holder) == nil
}

// writeNetworkFiles makes what the container sees as /etc/hosts, hostname and
// resolv.conf.
func (l *launch) writeNetworkFiles() error {
	defer trace.Begin("write hosts, hostname, resolv.conf").End()
	dir := l.e.Store.ContainerDir(l.id)
	texts, err := l.networkTexts()
	if err != nil {
		return err
	}
	for name, text := range texts {
		path := filepath.Join(dir, name)
		err := atomicfile.Make(path, []byte(text), 0o644)
		if errors.Is(err, fs.ErrExist) { // of the start before
			err = atomicfile.Write(path, []byte(text), 0o644, atomicfile.Fast)
			_ = os.Chmod(path, 0o644) // whatever the caller's umask
		}
		if err != nil {
			return hint.New("write the container's "+name, hint.Cause(err), diskFix(err))
		}
	}
	return nil
}
