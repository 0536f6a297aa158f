package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/user"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/userns"
)

// What happens to the sources of bind mounts and volumes before they are mounted,
// at each start of the container. The shim does it because it stands in U0, which
// has power over the caller's files and those of all his subordinate ids; the
// container has it over its own ids only.

// prepareBinds changes owners. The root file system is mounted and not handed on.
func (s *shim) prepareBinds() error {
	for _, i := range s.cfg.Binds.Give {
		uid, ok := userns.Lookup(s.cfg.UIDMap, 0)
		gid, gok := userns.Lookup(s.cfg.GIDMap, 0)
		if !ok || !gok {
			continue // it has no root to give it to
		}
		if err := s.giveEmpty(s.cfg.Spec.Mounts[i].Source, int(uid), int(gid)); err != nil {
			return err
		}
	}
	for _, i := range s.cfg.Binds.Chown {
		if err := s.giveSource(s.cfg.Spec.Mounts[i].Source); err != nil {
			return err
		}
	}
	return nil
}

// giveEmpty makes an empty volume the container's root's. Where ids are shifted
// and the caller is none of them, it could not write to it.
func (s *shim) giveEmpty(source string, uid, gid int) error {
	at, err := s.resolve(source)
	if err != nil {
		return hint.New("mount "+source, hint.Errno(err), "")
	}
	defer at.Close()
	dir, err := os.Open(linux.ProcFD(at))
	if err != nil {
		return hint.New("mount "+source, hint.Errno(err), "")
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); !errors.Is(err, io.EOF) {
		return nil //nolint:nilerr // somebody's data, by now
	}
	if err := dir.Chown(uid, gid); err != nil {
		return hint.New("give the new volume to the container's root", hint.Errno(err), "")
	}
	return nil
}

// giveSource gives what :U stands at to the payload's user and says what it did.
func (s *shim) giveSource(source string) error {
	op := "give " + source + " to the container's user"
	who, err := s.payloadUser()
	if err != nil {
		return hint.New(op, err, "name a user of the image's /etc/passwd, or give numbers: --user UID[:GID]")
	}
	uid, uok := userns.Lookup(s.cfg.UIDMap, uint32(who.Uid))
	gid, gok := userns.Lookup(s.cfg.GIDMap, uint32(who.Gid))
	if !uok || !gok {
		return hint.Newf(op, "use a lower id, or get a larger range", "the container does not have %d:%d", who.Uid, who.Gid)
	}
	at, err := s.resolve(source)
	if err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	defer at.Close()
	real, err := os.Readlink(linux.ProcFD(at))
	if err != nil {
		return hint.New(op, hint.Errno(err), "")
	}
	if err := s.refuseGive(source, real); err != nil {
		return err
	}
	n, err := giveTree(at, source, int(uid), int(gid))
	if err != nil {
		return hint.New(op, err, giveFix(source, err))
	}
	if n > 0 {
		s.said = append(s.said, fmt.Sprintf("%s: gave %d files to the container's user %d:%d%s; to take them back: rc unshare chown -R 0:0 %s",
			source, n, who.Uid, who.Gid, onHost(uid, gid), source))
	}
	return nil
}

// onHost names ids of U0 as the host shows them.
func onHost(uid, gid uint32) string {
	m, err := userns.ReadMapping(0)
	if err != nil {
		return ""
	}
	u, ok := userns.Lookup(m.UID, uid)
	g, gok := userns.Lookup(m.GID, gid)
	if !ok || !gok {
		return ""
	}
	return fmt.Sprintf(" (%d:%d on the host)", u, g)
}

// payloadUser looks the user up in the root file system that is about to be the
// container's, as its init will.
func (s *shim) payloadUser() (*user.ExecUser, error) {
	name := s.cfg.Inside.Username
	if u := s.cfg.Spec.Process.User; name == "" {
		name = fmt.Sprintf("%d:%d", u.UID, u.GID)
	}
	passwd, group := s.database("etc/passwd"), s.database("etc/group")
	defer passwd.Close()
	defer group.Close()
	return user.GetExecUser(name, nil, passwd, group)
}

// database opens a file of the image's, which is hostile: no link leads out of the
// root, a FIFO holds nobody up, and it ends. One that cannot be read is empty.
func (s *shim) database(path string) io.ReadCloser {
	f, err := linux.OpenInRoot(int(s.rootfs.FD.Fd()), path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return io.NopCloser(strings.NewReader(""))
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return io.NopCloser(strings.NewReader(""))
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, 16<<20), f}
}

// overlayPrefix begins the folders, in the container's own, that take the changes
// to what :O mounts.
const overlayPrefix = "over-"

// openOverlay mounts an overlay over a source, for this start alone.
func (s *shim) openOverlay(i int) (tree *os.File, real string, err error) {
	source := s.cfg.Spec.Mounts[i].Source
	op := "mount an overlay of " + source
	at, err := s.resolve(source)
	if err != nil {
		return nil, "", hint.New(op, hint.Errno(err), "make it first")
	}
	defer at.Close()
	if real, err = os.Readlink(linux.ProcFD(at)); err != nil {
		return nil, "", hint.New(op, hint.Errno(err), "")
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(at.Fd()), &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil, "", hint.Newf(op, "leave out O, or mount the folder that it is in", "it is not a folder")
	}
	base := filepath.Join(s.cfg.Dir, fmt.Sprintf("%s%d", overlayPrefix, i))
	if err := removeTree(base); err != nil { // of a start before, which was killed
		return nil, "", err
	}
	r := fuse.Rootfs{Layers: []string{linux.ProcFD(at)}, Upper: base + "/upper", Work: base + "/work", Volatile: true}
	for _, dir := range []string{base, r.Upper, r.Work} {
		if err := unix.Mkdir(dir, 0o700); err != nil {
			return nil, "", hint.New(op, err, "free some disk space")
		}
	}
	m, err := fuse.Mount(fuse.Overlay, r)
	if err != nil {
		why := err
		if m, err = fuse.Mount(fuse.Copy, r); err != nil {
			return nil, "", err
		}
		s.said = append(s.said, source+" was copied for :O ("+why.Error()+")")
	}
	return m.FD, real, nil
}

// endBinds throws away what :O has kept and says that the volumes are free.
func (s *shim) endBinds() {
	entries, _ := os.ReadDir(s.cfg.Dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), overlayPrefix) {
			_ = removeTree(filepath.Join(s.cfg.Dir, e.Name())) // else the next start, or rm, does
		}
	}
	s.volumeEvents("unmount")
}

// volumeEvents tells of every volume that the container mounts. It never fails a start.
func (s *shim) volumeEvents(action string) {
	for _, v := range s.cfg.Binds.Volumes {
		attributes := map[string]string{"driver": "local", "container": s.cfg.ID}
		if action == "mount" {
			attributes["destination"], attributes["propagation"] = v.Destination, ""
			attributes["read/write"] = fmt.Sprint(!v.ReadOnly)
		}
		_ = s.store.AppendEvent("volume", action, v.Name, attributes)
	}
}

// overlaid tells whether a mount is an overlay.
func (s *shim) overlaid(i int) bool { return slices.Contains(s.cfg.Binds.Overlay, i) }

// takeVolume takes an anonymous volume of a container that is being removed out of
// sight, and says where to; nowhere when another container's record names it too.
func takeVolume(store *record.Store, name, container string) (trash string, err error) {
	trash, err = store.TrashVolume(name, container)
	if errors.Is(err, record.ErrNoVolume) || errors.Is(err, record.ErrVolumeInUse) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	_ = store.AppendEvent("volume", "destroy", name, map[string]string{"driver": "local"})
	return trash, nil
}
