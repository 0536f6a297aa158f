package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// From is what one --volumes-from brings: the mounts of another container.
type From struct {
	Value  string // as typed
	Mounts []FromMount
}

// FromMount is a volume of the other container, or a folder of the host that it
// mounts.
type FromMount struct {
	Volume  string // "" for a folder
	Subpath string // in the volume
	Mount   specs.Mount
}

// ParseFrom splits --volumes-from CONTAINER[:ro|rw].
func ParseFrom(value string) (container string, readOnly bool, err error) {
	name, mode, typed := strings.Cut(value, ":")
	switch {
	case name == "":
		return "", false, refuse("--volumes-from", value, "write CONTAINER[:ro|rw]", "no container is named")
	case typed && mode != "ro" && mode != "rw" && mode != "z" && mode != "Z":
		return "", false, refuse("--volumes-from", value, "write CONTAINER[:ro|rw]", "no mode %s", quoted(mode))
	}
	return name, mode == "ro", nil
}

// volumesFromFlags checks --volumes-from as typed.
func (b *builder) volumesFromFlags() error {
	for _, value := range b.o.VolumesFrom {
		if _, _, err := ParseFrom(value); err != nil {
			return err
		}
	}
	return nil
}

// volumesFrom mounts what others mount, where no flag mounts something else. Of
// two others with one destination the later counts, as in Docker.
func (b *builder) volumesFrom() error {
	own := len(b.binds)
	for _, f := range b.in.From {
		_, ro, err := ParseFrom(f.Value)
		if err != nil {
			return err
		}
		for _, fm := range f.Mounts {
			m := fm.mount(f.Value, ro)
			at := slices.IndexFunc(b.binds, func(o mount) bool { return o.spec.Destination == m.spec.Destination })
			switch {
			case at >= 0 && at < own:
				continue
			case at >= 0:
				b.binds = slices.Delete(b.binds, at, at+1)
			}
			if err := b.add(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (fm *FromMount) mount(value string, ro bool) mount {
	ro = ro || slices.Contains(fm.Mount.Options, "ro")
	if fm.Volume != "" {
		m := volumeMount("--volumes-from", value, fm.Volume, fm.Mount.Destination, ro)
		m.volume.Subpath, m.volume.NoCopy = fm.Subpath, true // it has been filled
		return m
	}
	m := mount{flag: "--volumes-from", value: value, spec: fm.Mount}
	m.spec.Options = slices.Clone(m.spec.Options)
	if ro && !slices.Contains(m.spec.Options, "ro") {
		m.spec.Options = append(m.spec.Options, readOnly...)
	}
	return m
}
