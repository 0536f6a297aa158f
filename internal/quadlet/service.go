package quadlet

import (
	"path"
	"slices"
	"strings"
)

// service is a unit in the making: sections in their order, and the command line of
// rc that the keys add to.
type service struct {
	sections []*outSection
	global   []string // rc's flags before the verb
	args     []string // the verb and its flags
}

type outSection struct {
	name  string
	lines [][2]string
}

func (s *service) section(name string) *outSection {
	for _, sec := range s.sections {
		if sec.name == name {
			return sec
		}
	}
	sec := &outSection{name: name}
	s.sections = append(s.sections, sec)
	return sec
}

func (s *service) add(section, key, value string) {
	sec := s.section(section)
	sec.lines = append(sec.lines, [2]string{key, value})
}

// lookup is the last value of a key, "" without one.
func (s *service) lookup(section, key string) string {
	value := ""
	for _, l := range s.section(section).lines {
		if l[0] == key {
			value = l[1]
		}
	}
	return value
}

// setDefault adds what the file does not say itself.
func (s *service) setDefault(section, key, value string) {
	if !slices.ContainsFunc(s.section(section).lines, func(l [2]string) bool { return l[0] == key }) {
		s.add(section, key, value)
	}
}

// after makes the unit need another one and wait for it.
func (s *service) after(unit string) {
	lines := s.section("Unit").lines
	if slices.Contains(lines, [2]string{"Requires", unit}) && slices.Contains(lines, [2]string{"After", unit}) {
		return
	}
	s.add("Unit", "Requires", unit)
	s.add("Unit", "After", unit)
}

// text is the unit's file.
func (s *service) text(source string) string {
	var b strings.Builder
	b.WriteString("# Made by rc-quadlet of " + source + ": change that file, not this one.\n")
	for _, sec := range s.sections {
		if len(sec.lines) == 0 {
			continue
		}
		b.WriteString("\n[" + sec.name + "]\n")
		for _, l := range sec.lines {
			b.WriteString(l[0] + "=" + l[1] + "\n")
		}
	}
	return b.String()
}

// own are sections that say something to rc and not to systemd.
func (f *file) own(section string) bool { return section == f.kind.section || section == "Quadlet" }

// newService begins a unit with what the file says to systemd.
func (g *generator) newService(f *file) *service {
	s := &service{}
	s.add("Unit", "SourcePath", specifiers(f.path))
	s.section("Service")
	for _, sec := range f.unit.sections {
		if f.own(sec.name) {
			continue
		}
		for _, e := range sec.entries {
			value := e.value
			if sec.name == "Unit" && slices.Contains(dependencies, e.key) {
				value = g.translate(f, e)
			}
			s.add(sec.name, e.key, value)
		}
	}
	return s
}

// dependencies are the keys of [Unit] that name units, where names of quadlet files
// stand for their services (podman-systemd.unit(5), "Dependency between Quadlet units").
var dependencies = []string{"After", "Before", "BindsTo", "Conflicts", "OnFailure", "OnSuccess", "PartOf", "PropagatesReloadTo",
	"PropagatesStopTo", "ReloadPropagatedFrom", "Requires", "Requisite", "StopPropagatedFrom", "Upholds", "Wants"}

func (g *generator) translate(f *file, e entry) string {
	names := strings.Fields(e.value)
	for i, name := range names {
		if kindOf(name) == nil {
			continue
		}
		if in := g.refer(f, e, name); in != nil {
			names[i] = in.service
		}
	}
	return strings.Join(names, " ")
}

// refer finds the file that a key of f names; nil, with the fault noted, without one.
func (g *generator) refer(f *file, e entry, name string) *info {
	in := g.infos[name]
	if in == nil {
		f.fault(e.at, show(e), "write the file, or correct the name", "there is no file %s", name)
		return nil
	}
	if instance, ok := template(name); ok && instance == "" {
		// The instance of a template is that of the unit that names it.
		if _, ok := template(f.name); !ok {
			f.fault(e.at, show(e), "name an instance, made by a link NAME@INSTANCE"+path.Ext(name), "%s is a template", name)
			return nil
		}
		one := *in
		one.service = strings.Replace(in.service, "@.", "@%i.", 1)
		return &one
	}
	return in
}

// resource is refer for what needs the name of the volume, image or container.
func (g *generator) resource(f *file, e entry, name string) *info {
	in := g.refer(f, e, name)
	if in != nil && in.resource == "" {
		f.fault(e.at, show(e), "name it in that file, by ContainerName=, VolumeName= or NetworkName=", "what %s makes is called by a specifier that means something else here", name)
		return nil
	}
	return in
}

// waitForNetwork makes a unit that may pull an image wait for the network, unless the
// file says otherwise.
func (g *generator) waitForNetwork(f *file, s *service) {
	if e, ok := f.unit.section("Quadlet").last("DefaultDependencies"); ok {
		on, valid := boolean(e.value)
		if !valid {
			f.fault(e.at, show(e), "write yes or no", "neither true nor false")
		}
		if !on {
			return
		}
	}
	unit := "network-online.target"
	if g.User {
		// A user's systemd has no such target (systemd issue 3312).
		unit = networkService
		g.waits = true
	}
	s.add("Unit", "Wants", unit)
	s.add("Unit", "After", unit)
}

const networkService = "rc-network-online.service"

// networkUnit waits, for a user's units, until the host's systemd calls the network
// up. Where no job for it is queued nothing on this host waits for the network, and
// neither does this one: podman's counterpart then waits for its time-out of 90 s
// (podman issue 24796).
func networkUnit() Unit {
	const script = `until systemctl is-active --quiet network-online.target || ` +
		`[ -z "$$(systemctl show -P Job network-online.target)" ]; do sleep 0.3; done`
	s := &service{}
	s.add("Unit", "Description", "Wait until the host's network is up")
	s.add("Service", "Type", "oneshot")
	s.add("Service", "RemainAfterExit", "yes")
	s.add("Service", "TimeoutStartSec", "90")
	s.add("Service", "ExecStart", "-/bin/sh -c '"+script+"'")
	return Unit{Name: networkService, Text: s.text("the .container and .image files")}
}

// once makes a unit one of those that do a thing once.
func (s *service) once() {
	s.setDefault("Service", "Type", "oneshot")
	s.setDefault("Service", "RemainAfterExit", "yes")
	s.setDefault("Service", "SyslogIdentifier", "%N")
}

// command is a command line of rc's. prefix may be "-", for one that may fail.
func (g *generator) command(s *service, prefix string, args ...string) string {
	return prefix + commandLine(slices.Concat([]string{literal(g.Program)}, s.global, args))
}

// pass adds the words of GlobalArgs= and PodmanArgs=.
func (f *file) pass(to *[]string, name string) {
	for _, w := range f.words(name) {
		*to = append(*to, w.value)
	}
}
