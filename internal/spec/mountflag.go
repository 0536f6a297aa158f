package spec

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
)

// mountFlag is one --mount while its fields are read.
type mountFlag struct {
	value        string // as typed
	typ          string // volume unless type= says otherwise
	source, dest string
	readOnly     bool
	family       string // bind, volume or tmpfs: whose options were used
	familyKey    string

	propagation  string
	recursive    string // of bind-recursive; "" is enabled
	create       bool   // bind-create-src
	noCopy       bool
	subpath      string
	chown        bool // podman's U and chown
	labels       map[string]string
	tmpfsOptions []string
}

// mountFlags reads --mount (docker/cli, opts/mount.go): fields of a CSV line.
func (b *builder) mountFlags() error {
	for _, value := range b.o.Mount {
		m, err := parseMountFlag(value)
		if err != nil {
			return err
		}
		switch m.typ {
		case "bind":
			err = b.mountBind(m)
		case "volume":
			err = b.mountVolume(m)
		case "tmpfs":
			err = b.mountTmpfs(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func parseMountFlag(value string) (*mountFlag, error) {
	m := &mountFlag{value: value, typ: "volume"}
	// CSV and not a split at commas: a field with a comma stands in quotes
	// (docker/cli, opts/mount.go), and paths have commas.
	fields, err := csv.NewReader(strings.NewReader(value)).Read()
	if err != nil {
		return nil, refuse("--mount", value, "write type=bind,source=SRC,target=DST", "not a list of KEY=VALUE")
	}
	for _, field := range fields {
		key, text, hasValue := strings.Cut(field, "=")
		if err := m.set(strings.ToLower(key), text, hasValue); err != nil {
			return nil, err
		}
	}
	switch m.typ {
	case "tmpfs":
		if m.chown {
			return nil, m.refuse("leave out chown, or give it an owner: --tmpfs DST:uid=N", "a tmpfs has no files to give away")
		}
	case "bind", "volume":
	// Docker knows them: "no type" would send the reader looking for a typing error.
	case "image", "npipe", "cluster":
		return nil, m.refuse("choose bind, volume or tmpfs", "mounts of type %s are not here", m.typ)
	default:
		return nil, m.refuse("choose bind, volume or tmpfs", "no type %s", quoted(m.typ))
	}
	if m.family != "" && m.family != m.typ {
		return nil, m.refuse("leave out "+m.familyKey+", or write type="+m.family, "%s is not for a mount of type %s", m.familyKey, m.typ)
	}
	if m.dest == "" {
		return nil, m.refuse("add target=PATH", "no target")
	}
	return m, nil
}

func (m *mountFlag) refuse(fix, format string, args ...any) error {
	return refuse("--mount", m.value, fix, format, args...)
}

// set takes one field.
func (m *mountFlag) set(key, text string, hasValue bool) (err error) {
	// type= may come after the options of that type, so whether they fit is known
	// only at the end of the line.
	if family, _, ok := strings.Cut(key, "-"); ok {
		if m.family != "" && m.family != family {
			return m.refuse("use the options of one type", "%s beside %s", key, m.familyKey)
		}
		m.family, m.familyKey = family, key
	}
	switch key {
	case "readonly", "ro":
		m.readOnly, err = m.boolean(key, text, hasValue)
		return err
	case "u", "chown":
		m.chown, err = m.boolean(key, text, hasValue)
		return err
	case "volume-nocopy":
		m.noCopy, err = m.boolean(key, text, hasValue)
		return err
	case "bind-create-src":
		m.create, err = m.boolean(key, text, hasValue)
		return err
	case "bind-nonrecursive": // the old name of bind-recursive=disabled
		var on bool
		if on, err = m.boolean(key, text, hasValue); on {
			m.recursive = "disabled"
		}
		return err
	}
	if !hasValue {
		return m.refuse("write KEY=VALUE, with commas between", "%s has no value", quoted(key))
	}
	return m.setText(key, text)
}

func (m *mountFlag) setText(key, text string) error {
	switch key {
	case "type":
		m.typ = strings.ToLower(text)
	case "source", "src":
		m.source = text
	case "target", "dst", "destination":
		m.dest = text
	case "consistency": // of Docker Desktop; without meaning on Linux
	case "bind-propagation":
		m.propagation = strings.ToLower(text)
		return checkPropagation("--mount", m.value, m.propagation)
	case "bind-recursive":
		switch text {
		case "enabled", "disabled", "writable", "readonly":
			m.recursive = text
		default:
			return m.refuse("choose enabled, disabled, writable or readonly", "%s is no value of bind-recursive", quoted(text))
		}
	case "volume-subpath":
		m.subpath = text
	case "volume-label":
		k, v, _ := strings.Cut(text, "=")
		if m.labels == nil {
			m.labels = map[string]string{}
		}
		m.labels[k] = v
	case "volume-driver":
		if text != "local" {
			return m.refuse("leave out volume-driver", "volumes are folders of yours: there is no driver %s", quoted(text))
		}
	case "volume-opt":
		return m.refuse("mount it on the host and use type=bind", "options of a volume are mounts that take the host's root")
	case "tmpfs-size":
		size, err := cgroup.ParseBytes(text)
		if err != nil {
			return badFlag("--mount", m.value, err, "")
		}
		m.tmpfsOptions = append(m.tmpfsOptions, "size="+strconv.FormatInt(size, 10))
	case "tmpfs-mode":
		mode, err := strconv.ParseUint(text, 8, 12)
		if err != nil {
			return m.refuse("write it in octal, as in 1770", "%s is not a file mode", quoted(text))
		}
		m.tmpfsOptions = append(m.tmpfsOptions, "mode="+strconv.FormatUint(mode, 8))
	default:
		return m.refuse(orNearest(key, mountKeys, "the keys are "+words(mountKeys)), "no key %s", quoted(key))
	}
	return nil
}

var mountKeys = []string{"bind-create-src", "bind-propagation", "bind-recursive", "readonly", "source", "target", "tmpfs-mode",
	"tmpfs-size", "type", "volume-label", "volume-nocopy", "volume-subpath"}

func (m *mountFlag) boolean(key, text string, hasValue bool) (bool, error) {
	if !hasValue {
		return true, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, m.refuse("write "+key+"=true or "+key+"=false", "%s is neither true nor false", quoted(text))
	}
	return on, nil
}

// mountBind refuses a source that does not exist, unlike -v.
func (b *builder) mountBind(m *mountFlag) error {
	source := m.source
	if source == "" {
		return m.refuse("add source=PATH", "no source")
	}
	if source[0] == '.' {
		abs, err := filepath.Abs(source)
		if err != nil {
			return badFlag("--mount", m.value, err, "")
		}
		source = abs
	}
	if source[0] != '/' {
		return m.refuse("write ./"+source+" or the whole path", "the source %s is not an absolute path", quoted(source))
	}
	switch _, err := os.Stat(source); {
	case os.IsNotExist(err) && m.create:
		b.makeDirs = append(b.makeDirs, source)
	case err != nil:
		return badFlag("--mount", m.value, hint.Cause(err), "make the source first, or use --volume, which makes a folder")
	}
	how, ro := "rbind", readOnlyOptions(m.readOnly)
	switch m.recursive {
	case "disabled":
		how = "bind"
	case "writable":
		// The runtime-spec tells the two apart: "ro" is this mount, "rro" all of them.
		ro = ro[:min(1, len(ro))] // "ro" alone: submounts stay as they are
	}
	if (m.recursive == "writable" || m.recursive == "readonly") && !m.readOnly {
		return m.refuse("add readonly", "bind-recursive=%s goes with readonly", m.recursive)
	}
	bind := bindMount("--mount", m.value, source, m.dest, how, m.propagation, ro)
	bind.chown = m.chown
	return b.add(bind)
}

func (b *builder) mountVolume(m *mountFlag) error {
	if why := badName(m.source); m.source != "" && why != "" {
		return m.refuse("name a volume with letters, digits, _ . and -, or write type=bind for a folder", "%s is no name of a volume: %s", quoted(m.source), why)
	}
	if m.subpath != "" {
		if m.source == "" {
			return m.refuse("name the volume: source=NAME", "an anonymous volume is empty and has no subpath")
		}
		if !filepath.IsLocal(m.subpath) {
			return m.refuse("give a path inside the volume", "the subpath %s leaves the volume", quoted(m.subpath))
		}
	}
	v := volumeMount("--mount", m.value, m.source, m.dest, m.readOnly)
	v.volume.NoCopy, v.volume.Subpath, v.volume.Labels = m.noCopy, m.subpath, m.labels
	v.chown = m.chown
	return b.add(v)
}

func (b *builder) mountTmpfs(m *mountFlag) error {
	if m.source != "" {
		return m.refuse("leave out source", "a tmpfs has no source")
	}
	options := m.tmpfsOptions
	if m.readOnly {
		options = append(options, "ro")
	}
	return b.addTmpfs("--mount", m.value, m.dest, options)
}
