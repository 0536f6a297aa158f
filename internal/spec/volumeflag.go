package spec

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
)

// volumeOptions are what may follow -v's second colon.
type volumeOptions struct {
	readOnly    bool
	noCopy      bool
	propagation string
	label       string // z or Z
	chown       bool   // U
	overlay     bool   // O
}

// volumeFlags reads -v [SOURCE:]DEST[:OPTIONS] (docker/cli, loader.ParseVolume;
// moby, volume/mounts/linux_parser.go). The same text twice is one mount.
func (b *builder) volumeFlags() error {
	for i, value := range b.o.Volume {
		if slices.Contains(b.o.Volume[:i], value) {
			continue
		}
		if err := b.volumeFlag(value); err != nil {
			return err
		}
	}
	return nil
}

const volumeForm = "write [SOURCE:]DEST[:OPTIONS], as in ./data:/data:ro"

func (b *builder) volumeFlag(value string) error {
	parts := strings.Split(value, ":")
	if len(parts) > 3 || slices.Contains(parts, "") {
		return refuse("--volume", value, volumeForm, "not a source, a destination and options")
	}
	if len(parts) == 1 {
		return b.add(volumeMount("--volume", value, "", value, false))
	}
	source, dest := parts[0], parts[1]
	if len(parts) == 2 && dest[0] != '/' {
		if _, err := parseVolumeOptions(value, dest); err == nil {
			return refuse("--volume", value, volumeForm, "%s are options, and no destination is given", quoted(dest))
		}
	}
	var o volumeOptions
	if len(parts) == 3 {
		var err error
		if o, err = parseVolumeOptions(value, parts[2]); err != nil {
			return err
		}
	}
	if o.label != "" && selinuxOn() {
		// Docker relabels because its containers run as container_t. Ours keep the
		// caller's domain, which reads these files already: nothing is given away.
		b.warn("--volume " + quoted(value) + ": " + o.label + " changes no label, since rc's containers run with the caller's own; for podman's and Docker's: chcon -Rt container_file_t SOURCE")
	}
	if source[0] == '/' || source[0] == '.' || source[0] == '~' {
		return b.volumeBind(value, source, dest, o)
	}
	if why := badName(source); why != "" {
		return refuse("--volume", value, "name a volume with letters, digits, _ . and -, or write ./"+source+" for a folder", "%s is no name of a volume: %s", quoted(source), why)
	}
	if o.propagation != "" {
		return refuse("--volume", value, "leave out "+o.propagation, "a volume has no propagation, only the mount of a folder has")
	}
	m := volumeMount("--volume", value, source, dest, o.readOnly)
	m.volume.NoCopy = o.noCopy || o.overlay // what is thrown away begins as the volume is
	o.mark(&m)
	return b.add(m)
}

// volumeBind is -v with a path. One that does not exist becomes a folder, when
// everything else has been found right.
func (b *builder) volumeBind(value, source, dest string, o volumeOptions) error {
	if source[0] == '~' {
		return refuse("--volume", value, "write $HOME, or the whole path", "the shell has not expanded ~")
	}
	source, err := filepath.Abs(source)
	if err != nil {
		return badFlag("--volume", value, err, "")
	}
	switch _, err := os.Stat(source); {
	case errors.Is(err, fs.ErrNotExist):
		// Docker makes it as root, which is its users' oldest complaint; here it is the
		// caller's own. --mount does not make it, in Docker and here.
		b.makeDirs = append(b.makeDirs, source)
	case err != nil:
		return badFlag("--volume", value, hint.Cause(err), "name something that you can reach")
	}
	m := bindMount("--volume", value, source, dest, "rbind", o.propagation, readOnlyOptions(o.readOnly))
	o.mark(&m)
	return b.add(m)
}

// mark carries U and O over. An overlay shows no mounts below its source.
func (o *volumeOptions) mark(m *mount) {
	m.chown, m.overlay = o.chown, o.overlay
	if o.overlay {
		m.spec.Options[0] = "bind"
	}
}

// readOnly is read-only with all submounts (runtime-spec, config.md, "rro"). The
// plain word stands beside it so that nobody who does not know the other one
// leaves the mount writable.
var readOnly = []string{"ro", "rro"}

func readOnlyOptions(on bool) []string {
	if on {
		return readOnly
	}
	return nil
}

// bindMount is a mount of a host path. how is rbind or bind.
func bindMount(flag, value, source, dest, how, propagation string, more []string) mount {
	if propagation == "" {
		propagation = "rprivate"
	}
	options := append([]string{how, propagation}, more...)
	return mount{flag: flag, value: value, spec: specs.Mount{Destination: dest, Type: "bind", Source: path.Clean(source), Options: options}}
}

// parseVolumeOptions takes one option of each kind, as Docker does.
func parseVolumeOptions(value, list string) (o volumeOptions, err error) {
	access := ""
	for option := range strings.SplitSeq(list, ",") {
		slot := new(string)
		switch option {
		case "ro", "rw":
			slot, o.readOnly = &access, option == "ro"
		case "z", "Z":
			slot = &o.label
		case "nocopy":
			o.noCopy = true
		case "consistent", "cached", "delegated": // of Docker Desktop; without meaning on Linux
		case "private", "rprivate", "slave", "rslave", "shared", "rshared":
			if err := checkPropagation("--volume", value, option); err != nil {
				return o, err
			}
			slot = &o.propagation
		case "U":
			o.chown = true
		case "O":
			o.overlay = true
		case "rbind": // what it is
		default:
			return o, refuse("--volume", value, "the options are ro, rw, nocopy, z, Z, U, O, rprivate, private, rslave and slave", "no option %s", quoted(option))
		}
		if *slot != "" {
			return o, refuse("--volume", value, "choose one", "%s and %s at once", *slot, option)
		}
		*slot = option
	}
	switch {
	case o.overlay && o.chown:
		return o, refuse("--volume", value, "choose one", "O leaves the source as it is, and U changes its owner")
	case o.overlay && access != "":
		return o, refuse("--volume", value, "leave out "+access, "what O mounts can be written to, and keeps nothing")
	case o.overlay && o.propagation != "":
		return o, refuse("--volume", value, "leave out "+o.propagation, "an overlay shows no mount that is made below its source")
	case o.chown && o.readOnly:
		return o, refuse("--volume", value, "leave out U or ro", "U gives the source to a container that may not write to it")
	}
	return o, nil
}

// checkPropagation refuses what cannot be: our mount namespace is owned by
// another user namespace than the host's, and so only receives
// (mount_namespaces(7): such mounts become slaves).
func checkPropagation(flag, value, propagation string) error {
	switch propagation {
	case "private", "rprivate", "slave", "rslave":
		return nil
	case "shared", "rshared":
		return refuse(flag, value, "use rslave to see the host's later mounts", "what a rootless container mounts cannot appear on the host")
	}
	return refuse(flag, value, "choose rprivate, private, rslave or slave", "no propagation %s", quoted(propagation))
}

// selinuxOn tells whether z and Z mean anything on this host.
func selinuxOn() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}
