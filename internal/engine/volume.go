package engine

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/userns"
)

// AnonymousLabel is what Docker shows on a volume that nobody named.
const AnonymousLabel = "com.docker.volume.anonymous"

// VolumeEntry is one volume and the containers whose records name it.
type VolumeEntry struct {
	*record.Volume
	Mountpoint string // the folder of its data
	Users      []string
}

// ShownLabels are the volume's labels with Docker's mark of an anonymous one.
func (v *VolumeEntry) ShownLabels() map[string]string {
	if !v.Anonymous {
		return v.Labels
	}
	shown := map[string]string{AnonymousLabel: ""}
	maps.Copy(shown, v.Labels)
	return shown
}

// CreateVolume makes a volume, durably, and gives its name, which is random where
// none was given. One that exists is left as it is, as Docker does.
func (e *Engine) CreateVolume(name string, labels map[string]string) (string, error) {
	v := &record.Volume{Name: name, Labels: labels}
	if name == "" {
		v.Name, v.Anonymous = randomVolume(), true
	} else if err := spec.CheckVolumeName(name); err != nil {
		return "", err
	}
	return v.Name, e.provideVolume(v, atomicfile.Durable)
}

func (e *Engine) provideVolume(v *record.Volume, d atomicfile.Durability) error {
	made, err := e.Store.ProvideVolume(v, d)
	if err != nil {
		return hint.New("make volume "+v.Name, hint.Cause(err), diskFix(err))
	}
	if made {
		e.volumeEvent("create", v.Name)
	}
	return nil
}

// volumeEvent never fails a verb.
func (e *Engine) volumeEvent(action, name string) {
	_ = e.Store.AppendEvent("volume", action, name, map[string]string{"driver": "local"})
}

func randomVolume() string {
	b := make([]byte, 32)
	_, _ = unix.Getrandom(b, 0)
	return hex.EncodeToString(b)
}

// Volumes lists all volumes by name.
func (e *Engine) Volumes() ([]*VolumeEntry, error) {
	list, err := e.Store.Volumes()
	if err != nil {
		return nil, hint.New("list the volumes", hint.Cause(err), "")
	}
	users := e.volumeUsers()
	out := make([]*VolumeEntry, len(list))
	for i, v := range list {
		out[i] = &VolumeEntry{v, e.Store.VolumeData(v.Name), users[v.Name]}
	}
	return out, nil
}

// volumeUsers is for who only shows them: what a damaged record names is a warning.
// TrashVolume refuses then.
func (e *Engine) volumeUsers() map[string][]string {
	users, err := e.Store.VolumeUsers()
	if err != nil {
		e.Warn(err.Error())
	}
	return users
}

// Volume reads one volume. errors.Is(err, record.ErrNoVolume) when there is none.
func (e *Engine) Volume(name string) (*VolumeEntry, error) {
	v, err := e.Store.LoadVolume(name)
	if err != nil {
		return nil, noVolume("find", name, err)
	}
	return &VolumeEntry{v, e.Store.VolumeData(name), e.volumeUsers()[name]}, nil
}

func noVolume(what, name string, err error) error {
	return hint.New(fmt.Sprintf("%s volume %q", what, name), hint.Cause(err), "see `rc volume ls`").WithCode(1)
}

// RemoveVolume removes a volume with its data; one that a container's record
// names, whatever the container's state and host, is refused.
func (e *Engine) RemoveVolume(name string) error {
	trash, err := e.trashVolume(name, "")
	switch {
	case errors.Is(err, record.ErrVolumeInUse):
		return hint.New("remove volume "+name, err, "remove the container first: rc rm").WithCode(1)
	case errors.Is(err, record.ErrNoVolume):
		return noVolume("remove", name, err)
	case err != nil:
		var h *hint.Error
		if errors.As(err, &h) {
			return err
		}
		return hint.New("remove volume "+name, hint.Cause(err), "").WithCode(1)
	}
	return e.removeTrees([]string{trash})
}

// trashVolume takes a volume out of sight. What a killed command left half made
// does not keep it.
func (e *Engine) trashVolume(name, except string) (string, error) {
	trash, err := e.Store.TrashVolume(name, except)
	if errors.Is(err, record.ErrVolumeInUse) {
		users, uerr := e.Store.VolumeUsers()
		if uerr != nil {
			return "", uerr
		}
		for _, id := range users[name] {
			_ = e.reconcile(id)
		}
		trash, err = e.Store.TrashVolume(name, except)
	}
	if err == nil {
		e.volumeEvent("destroy", name)
	}
	return trash, err
}

// dropVolumes takes the anonymous volumes of a container that is being removed out
// of sight and says where they went. One that another container names stays.
func (e *Engine) dropVolumes(c *record.Container) []string {
	var trees []string
	for _, v := range c.Volumes {
		if !v.Anonymous {
			continue
		}
		if trash, err := e.trashVolume(v.Name, c.ID); err == nil {
			trees = append(trees, trash)
		}
	}
	return trees
}

// nameVolumes gives the anonymous ones a name.
func (l *launch) nameVolumes() {
	for _, v := range l.plan.Volumes {
		name := v.Name
		if name == "" {
			name = randomVolume()
		}
		l.rec.Volumes = append(l.rec.Volumes, record.VolumeUse{
			Name: name, Destination: v.Destination, Anonymous: v.Anonymous, ReadOnly: v.ReadOnly})
	}
}

// makeVolumes makes the folders of named and anonymous volumes and puts them
// into the spec. The container's record names them already.
func (l *launch) makeVolumes() error {
	b := &l.cfg.Binds
	b.Overlay, b.Chown, b.Volumes = l.plan.Overlay, l.plan.Chown, l.rec.Volumes
	for i, v := range l.plan.Volumes {
		fresh, err := l.makeVolume(&record.Volume{Name: l.rec.Volumes[i].Name, Labels: v.Labels, Anonymous: v.Anonymous})
		if err != nil {
			return err
		}
		data := l.e.Store.VolumeData(l.rec.Volumes[i].Name)
		l.plan.Spec.Mounts[v.MountIndex].Source = filepath.Join(data, filepath.Clean("/"+v.Subpath))
		if !fresh || v.Subpath != "" {
			continue
		}
		if !mapsCaller(l.plan.UIDMap) {
			b.Give = append(b.Give, v.MountIndex)
		}
		if !v.NoCopy {
			l.cfg.Inside.CopyUp = append(l.cfg.Inside.CopyUp, v.MountIndex)
		}
	}
	l.warnOfStrangers()
	return nil
}

// warnOfStrangers tells of sources whose owner is no id of the container's, as the
// caller is none with --userns=auto: their files appear as nobody's, and what is
// not open to everybody cannot be read. Nobody but the host's root may map the ids
// of a folder on disk (mount_setattr(2), MOUNT_ATTR_IDMAP), so rc cannot do better.
func (l *launch) warnOfStrangers() {
	if mapsCaller(l.plan.UIDMap) {
		return
	}
	for i, m := range l.plan.Spec.Mounts {
		if m.Type != "bind" || m.Source == "" || slices.Contains(l.plan.Chown, i) || slices.Contains(l.cfg.Binds.Give, i) || within(m.Source, l.e.Store.ContainerDir(l.id)) {
			continue
		}
		var st unix.Stat_t
		if unix.Stat(m.Source, &st) == nil && l.strange(st.Uid) {
			l.plan.Warnings = append(l.plan.Warnings, m.Source+
				": its owner is no user of this container, which sees nobody's files: use --userns=keep-id, or give them to it by :U")
		}
	}
}

// strange tells whether a user of the host's is the caller, or one of his
// subordinate ids, and not in the container. Others' files are nobody's everywhere.
func (l *launch) strange(hostUID uint32) bool {
	for _, u := range l.home.mapping.UID {
		if hostUID < u.Outside || hostUID-u.Outside >= u.Size {
			continue
		}
		id := u.Inside + (hostUID - u.Outside)
		return !slices.ContainsFunc(l.plan.UIDMap, func(m userns.IDMap) bool { return id >= m.Outside && id-m.Outside < m.Size })
	}
	return false
}

func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// makeVolume says whether the volume is empty and has not been used.
func (l *launch) makeVolume(v *record.Volume) (fresh bool, err error) {
	durable := atomicfile.Durable
	if v.Anonymous {
		durable = atomicfile.Fast // it goes, or counts, with its container
	}
	if v.Anonymous {
		l.undo.Push(func() {
			if trash, err := l.e.Store.TrashVolume(v.Name, l.id); err == nil {
				_ = l.e.removeTrees([]string{trash})
			}
		})
	}
	if err := l.e.provideVolume(v, durable); err != nil {
		return false, err
	}
	entries, err := os.ReadDir(l.e.Store.VolumeData(v.Name))
	if errors.Is(err, os.ErrPermission) {
		return false, nil // its owner is a subordinate id: it has been used
	}
	return len(entries) == 0, err
}

// LabelText is Docker's form of labels in lists: k=v, by key, with commas between.
func (v *VolumeEntry) LabelText() string {
	labels := v.ShownLabels()
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, k+"="+labels[k])
	}
	return strings.Join(parts, ",")
}
