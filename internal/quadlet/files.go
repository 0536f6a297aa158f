package quadlet

import (
	"encoding/csv"
	"path/filepath"
	"slices"
	"strings"
)

// network reads Network=. Several are several bridge networks; whether they exist is
// seen at the start.
func (g *generator) network(f *file, s *service) {
	for _, e := range f.unit.section(f.kind.section).all("Network") {
		name, options, hasOptions := strings.Cut(e.value, ":")
		value := e.value
		switch {
		case strings.HasSuffix(name, ".network"):
			if in := g.resource(f, e, name); in != nil {
				s.after(in.service)
				if value = in.resource; hasOptions {
					value += ":" + options
				}
			}
		case strings.HasSuffix(name, ".container"):
			if hasOptions {
				f.fault(e.at, show(e), "leave out what follows the colon", "the network of another container takes no options")
			}
			if in := g.resource(f, e, name); in != nil {
				s.after(in.service)
				value = "container:" + in.resource
			}
		case name == "container" && options == "", name == "ns", hasOptions && (name == "host" || name == "none"):
			f.fault(e.at, show(e), "write NAME.network, the name of a network, host, none, slirp4netns, pasta, NAME.container or container:NAME", "rc has no such network")
		}
		s.args = append(s.args, "--network", value)
	}
}

// security are the keys that become --security-opt.
func (f *file) security(s *service) {
	opt := func(value string) { s.args = append(s.args, "--security-opt", value) }
	if on, _ := f.boolean("NoNewPrivileges"); on {
		opt("no-new-privileges")
	}
	if on, _ := f.boolean("SecurityLabelDisable"); on {
		opt("label=disable")
	}
	if e, ok := f.unit.section(f.kind.section).last("SeccompProfile"); ok {
		if e.value != "unconfined" {
			e.value = f.absolute(e.value)
		}
		opt("seccomp=" + e.value)
	}
	for _, key := range []string{"Mask", "Unmask"} {
		for _, w := range f.words(key) {
			opt(strings.ToLower(key) + "=" + w.value)
		}
	}
}

func (f *file) user(s *service) {
	sec := f.unit.section(f.kind.section)
	user, hasUser := sec.last("User")
	group, hasGroup := sec.last("Group")
	switch {
	case hasGroup && !hasUser:
		f.fault(group.at, show(group), "give User=, too", "a group needs a user")
	case hasGroup:
		s.args = append(s.args, "--user", user.value+":"+group.value)
	case hasUser:
		s.args = append(s.args, "--user", user.value)
	}
}

// files are the keys that show the container something of the host's, or hide it.
func (f *file) files(s *service) {
	sec := f.unit.section(f.kind.section)
	for _, w := range f.words("EnvironmentFile") {
		if w.value == "" || w.value[0] == '-' {
			f.fault(w.at, show(w), "leave out the dash, or write EnvironmentFile=-… in [Service] and Environment=KEY here", "the file of a container's variables must be there")
			continue
		}
		s.args = append(s.args, "--env-file", f.absolute(w.value))
	}
	readOnly, given := f.boolean("ReadOnly")
	if given {
		s.args = append(s.args, onOff("--read-only", readOnly))
	}
	if with, given := f.boolean("ReadOnlyTmpfs"); readOnly && (with || !given) {
		// What podman mounts there unless told otherwise, where nothing else is mounted.
		for _, path := range []string{"/run", "/tmp", "/var/tmp"} {
			if !f.mounted(path) {
				s.args = append(s.args, "--tmpfs", path)
			}
		}
	}
	if on, _ := f.boolean("VolatileTmp"); on && !readOnly {
		s.args = append(s.args, "--tmpfs", "/tmp:rw,size=512M,mode=1777")
	}
	if e, ok := sec.last("Timezone"); ok {
		if e.value == "local" {
			s.args = append(s.args, "--volume", "/etc/localtime:/etc/localtime:ro")
		} else {
			s.args = append(s.args, "--env", "TZ="+e.value)
		}
	}
}

// mounted tells whether the file mounts something at a path itself.
func (f *file) mounted(path string) bool {
	sec := f.unit.section(f.kind.section)
	for _, key := range []string{"Volume", "Tmpfs"} {
		for _, e := range sec.all(key) {
			if slices.Contains(strings.Split(e.value, ":"), path) {
				return true
			}
		}
	}
	for _, w := range f.words("Mount") {
		for part := range strings.SplitSeq(w.value, ",") {
			_, at, _ := strings.Cut(part, "=")
			if at == path {
				return true
			}
		}
	}
	return false
}

// volumes reads Volume=[SOURCE:]PATH[:OPTIONS].
func (g *generator) volumes(f *file, s *service) {
	for _, e := range f.unit.section(f.kind.section).all("Volume") {
		value := e.value
		if source, rest, ok := strings.Cut(value, ":"); ok {
			value = g.storage(f, s, e, source) + ":" + rest
		}
		s.args = append(s.args, "--volume", value)
	}
}

// storage is what a source means: a folder, the volume of a file, or one by name.
func (g *generator) storage(f *file, s *service, e entry, source string) string {
	switch {
	case strings.HasPrefix(source, "/"), strings.HasPrefix(source, "."):
		source = f.absolute(source)
		if !strings.ContainsAny(source, " \t\"'\\") { // words of their own there
			s.add("Unit", "RequiresMountsFor", source)
		}
	case strings.HasSuffix(source, ".volume"):
		if in := g.resource(f, e, source); in != nil {
			s.after(in.service)
			return in.resource
		}
	}
	return source
}

// mounts reads Mount=type=TYPE,source=…,….
func (g *generator) mounts(f *file, s *service) {
	for _, w := range f.words("Mount") {
		parts, err := csv.NewReader(strings.NewReader(w.value)).Read()
		if err != nil {
			f.fault(w.at, show(w), "write it as in type=volume,source=NAME,target=/PATH", "no list with commas: %w", err)
			continue
		}
		kind := ""
		for _, p := range parts {
			if key, value, _ := strings.Cut(p, "="); key == "type" {
				kind = value
			}
		}
		if !slices.Contains([]string{"bind", "volume", "tmpfs"}, kind) {
			f.fault(w.at, show(w), "write type=bind, volume or tmpfs", "rc has no mounts of type %q", kind)
			continue
		}
		for i, p := range parts {
			key, value, ok := strings.Cut(p, "=")
			if (key == "source" || key == "src") && ok && value != "" && kind != "tmpfs" {
				parts[i] = key + "=" + g.storage(f, s, w, value)
			}
		}
		var b strings.Builder
		out := csv.NewWriter(&b)
		_ = out.Write(parts) // into memory
		out.Flush()
		s.args = append(s.args, "--mount", strings.TrimSuffix(b.String(), "\n"))
	}
}

// absolute makes a path that begins where the file is one from the root. One with a
// specifier of systemd's first is what that says (podman-systemd.unit(5), "Relative
// paths"). The folder's own name is nobody's pattern: nothing in it is expanded.
func (f *file) absolute(path string) string {
	specifier := len(path) > 1 && path[0] == '%' && path[1] != '%'
	if filepath.IsAbs(path) || specifier {
		return path
	}
	folder, err := filepath.Abs(filepath.Dir(f.path))
	if err != nil {
		folder = filepath.Dir(f.path)
	}
	return literal(folder) + "/" + strings.TrimPrefix(filepath.Clean(path), "./")
}
