// Package transfer moves images: between registries, archives and the store.
// Only rc-image links it.
//
//	pull    registry ──► resumable blobs ──► layers ──► record, then names
//	load    archive  ──────────────────────► layers ──► record, then names
//	push    layers   ──► registry
//	save    layers   ──► archive
//	rmi     names, record, then the layers that nothing else needs
//
// The record is written after the layers and removed before them, so whoever
// finds a record finds its layers; a kill at any moment leaves at worst layers
// without a record, which the next pull takes up or a later one collects.
package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containers/image/v5/signature"
	"github.com/containers/image/v5/types"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/rc-containers/rc/fuse/layers"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// Options are what every verb may be told.
type Options struct {
	Root      string
	TLSVerify types.OptionalBool // undefined: registries.conf decides
	Platform  string             // OS/ARCH[/VARIANT]; "" is this machine's
	Quiet     bool
	Out       io.Writer // results: references and ids
	Report    io.Writer // progress; bars when it is a terminal
	Removes   bool      // it only removes, and must work on a disk without a byte
}

// Session is one verb at work: an open store and a folder for its large
// temporary files, which is removed by Close or, after a kill, by the next session.
type Session struct {
	Options
	record *record.Store
	layers *layers.Store
	sys    *types.SystemContext
	work   string
	// greeting is said before the first progress of a pull.
	greeting string
	lock     *os.File // flock on work/lock: alive
}

// Open makes a session. Close ends it.
func Open(o Options) (*Session, error) {
	store, err := record.Open(o.Root)
	if err != nil {
		return nil, err
	}
	s := &Session{Options: o, record: store}
	if s.sys, err = systemContext(o); err != nil {
		return nil, err
	}
	err = s.makeWork()
	if full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT); err != nil && !(full && o.Removes) {
		return nil, hint.New("make a folder for temporary files", err, "make room, or name another folder: rc --root DIR ...")
	}
	s.sys.BigFilesTemporaryDir = s.work
	s.sys.BlobInfoCacheDir = store.Path("cache")
	// podman's note of what its user chose at a prompt; root's would be in /var/cache.
	s.sys.UserShortNameAliasConfPath = store.Path("cache", "short-name-aliases.conf")
	if s.layers, err = layers.Open(o.Root); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close removes the temporary files and lets go of the store.
func (s *Session) Close() {
	if s.layers != nil {
		_ = s.layers.Close()
	}
	if s.work != "" {
		_ = os.RemoveAll(s.work)
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// makeWork makes cache/tmp/<random>, locked while this process lives, and
// removes those whose process is gone.
func (s *Session) makeWork() error {
	base := s.record.Path("cache", "tmp")
	if err := os.MkdirAll(base, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		removeIfDead(filepath.Join(base, e.Name()))
	}
	if s.work, err = os.MkdirTemp(base, ""); err != nil {
		return err
	}
	s.lock, err = record.LockFile(filepath.Join(s.work, "lock"), unix.LOCK_EX|unix.LOCK_NB)
	return err
}

// removeIfDead removes a work folder that nobody holds. One without its lock
// file may be a moment old: it is left until rmdir can take it empty.
func removeIfDead(dir string) {
	fd, err := unix.Open(filepath.Join(dir, "lock"), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(dir); err == nil && stale(info) {
			_ = os.RemoveAll(dir)
		}
		return
	}
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = os.RemoveAll(dir)
	}
}

// systemContext is what containers/image needs to know; registries.conf,
// auth.json and certificates it finds itself.
func systemContext(o Options) (*types.SystemContext, error) {
	withoutRuntimeDir()
	never := types.ShortNameModeDisabled // never asks
	sys := &types.SystemContext{
		DockerInsecureSkipTLSVerify: types.NewOptionalBool(false),
		ShortNameMode:               &never,
		DockerRegistryUserAgent:     "rc",
		AuthFilePath:                os.Getenv("REGISTRY_AUTH_FILE"),
		// The library leaves both variables to its callers (containers-registries.conf(5)).
		SystemRegistriesConfPath: os.Getenv("CONTAINERS_REGISTRIES_CONF"),
	}
	switch o.TLSVerify {
	case types.OptionalBoolUndefined:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolUndefined
	case types.OptionalBoolFalse:
		sys.DockerInsecureSkipTLSVerify = types.OptionalBoolTrue
		sys.OCIInsecureSkipTLSVerify = true
	}
	if o.Platform == "" {
		return sys, nil
	}
	parts := strings.Split(o.Platform, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return nil, hint.Newf("--platform "+o.Platform, "write OS/ARCH[/VARIANT], for example linux/arm64/v8", "not a platform")
	}
	sys.OSChoice, sys.ArchitectureChoice = parts[0], parts[1]
	if len(parts) == 3 {
		sys.VariantChoice = parts[2]
	}
	return sys, nil
}

// policyContext is the user's or the host's policy.json; a machine without one
// accepts every image, as Docker does.
func policyContext(sys *types.SystemContext) (*signature.PolicyContext, error) {
	policy, err := signature.DefaultPolicy(sys)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) && !strings.Contains(err.Error(), "no policy.json file found") {
			return nil, hint.New("read policy.json", err, "correct it (containers-policy.json(5))")
		}
		policy = &signature.Policy{Default: signature.PolicyRequirements{signature.NewPRInsecureAcceptAnything()}}
	}
	return signature.NewPolicyContext(policy)
}

// say prints progress, unless --quiet.
func (s *Session) say(format string, args ...any) {
	if !s.Quiet {
		fmt.Fprintf(s.Report, format+"\n", args...)
	}
}

// reportWriter is for the library's bars or lines. What moves between this
// disk and this disk takes no time worth a line in a log: bars only.
func (s *Session) reportWriter(remote bool) io.Writer {
	f, isFile := s.Report.(*os.File)
	if s.Quiet || !remote && !(isFile && term.IsTerminal(int(f.Fd()))) {
		return nil
	}
	return s.Report
}

// collect removes what no record needs; since is the beginning of a failed
// verb whose layers are not wanted, or zero (see layers.Store.Collect).
func (s *Session) collect(since time.Time) error {
	// What an interrupted rmi had renamed away and not yet removed.
	if left, err := filepath.Glob(s.record.Path("trash", "image-*")); err == nil {
		for _, dir := range left {
			_ = os.RemoveAll(dir)
		}
	}
	_, err := s.layers.Collect(func(id string) bool {
		_, err := os.Lstat(s.record.Path("images", id, "image.json"))
		return err == nil
	}, since)
	return err
}
