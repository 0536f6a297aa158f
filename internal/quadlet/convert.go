package quadlet

import (
	"fmt"
	"strings"
)

// name finds out which service a file makes and what others call what it makes.
func (g *generator) name(f *file) {
	service := serviceName(f)
	sec := f.unit.section(f.kind.section)
	resource := ""
	if e, ok := sec.last("ServiceName"); ok {
		switch {
		case badUnitName(e.value) != "":
			f.fault(e.at, show(e), "write a name without .service", "no unit can be called so: %s", badUnitName(e.value))
		case strings.HasSuffix(e.value, ".service"):
			f.fault(e.at, show(e), "write it without .service", "that ending is added")
		default:
			service = e.value
		}
	}
	if why := badUnitName(service); why != "" {
		g.problem(f.path, "give the file another name", "no unit can be called %s.service: %s", service, why)
		f.unnamed = true
		return
	}
	service += ".service"
	if owner, ok := g.owner[service]; ok {
		g.problem(f.path, "give one of them another name, or a ServiceName=", "%s makes %s, too, and is the one that counts", owner, service)
		f.unnamed = true
		return
	}
	g.owner[service] = f.path
	switch f.kind.ext {
	case ".container":
		resource = strings.ReplaceAll(containerName(f), "%N", strings.TrimSuffix(service, ".service"))
	case ".volume":
		resource = volumeName(f)
	case ".network":
		resource = networkName(f)
	case ".image":
		resource = imageResource(f)
	}
	if ownSpecifier(resource) {
		resource = ""
	}
	if _, ok := template(f.name); !ok && strings.Contains(strings.ReplaceAll(resource, "%%", ""), "%i") {
		resource = ""
	}
	g.infos[f.name] = &info{service: service, resource: resource}
}

func imageResource(f *file) string {
	sec := f.unit.section(f.kind.section)
	if e, ok := sec.last("ImageTag"); ok {
		return e.value
	}
	e, ok := sec.last("Image")
	if !ok {
		return "missing" // its own unit says so; that is enough
	}
	return e.value
}

// ownSpecifier tells whether a name has a specifier that is something else in another
// unit (systemd.unit(5), "Specifiers"). %i is the same in the units of one instance.
func ownSpecifier(name string) bool {
	for _, s := range []string{"%n", "%N", "%p", "%P", "%I", "%j", "%J", "%f", "%y", "%Y"} {
		if strings.Contains(strings.ReplaceAll(name, "%%", ""), s) {
			return true
		}
	}
	return false
}

// badUnitName says why name.service is no unit (systemd.unit(5); basic/unit-name.c).
func badUnitName(name string) string {
	const most = 255 - len(".service")
	switch {
	case name == "" || name[0] == '@':
		return "it has no name"
	case len(name) > most:
		return "it is too long"
	case strings.Count(name, "@") > 1:
		return "it has two @"
	case name[0] == '.':
		return "it begins with a dot"
	}
	for _, r := range name {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(`:-_.\@`, r)
		if !ok {
			return "it may have letters, digits and : - _ . \\ @ only"
		}
	}
	return ""
}

// convert makes the unit of a file, or one that fails with what is wrong.
func (g *generator) convert(f *file) {
	if f.unnamed {
		g.Problems = append(g.Problems, f.sorted()...)
		return
	}
	var s *service
	if f.kind.convert == nil {
		at := f.unit.section(f.kind.section).place(f)
		f.fault(at, "", f.kind.fix, "%s", f.kind.instead)
	} else {
		unread := len(f.faults) > 0 // what is missing may stand in what could not be read
		f.checkKeys()
		if f.unit.section(f.kind.section) != nil && !unread {
			s = f.kind.convert(g, f)
		}
	}
	u := Unit{Name: g.infos[f.name].service, Source: f.path}
	u.Links = f.install(u.Name)
	if len(f.faults) > 0 {
		g.Problems = append(g.Problems, f.sorted()...)
		s, u.Failed = g.failing(f), true
	}
	u.Text = s.text(f.path)
	g.Units = append(g.Units, u)
}

// maxShown is how many faults a unit says.
const maxShown = 20

// failing is a unit whose start says what is wrong with the file: on its standard
// error, which is the unit's journal, and as its status text, which systemctl status
// shows without one.
func (g *generator) failing(f *file) *service {
	s := &service{}
	s.add("Unit", "Description", specifiers(f.path)+", which rc cannot run")
	s.add("Unit", "SourcePath", specifiers(f.path))
	s.add("Service", "Type", "oneshot")
	s.add("Service", "NotifyAccess", "main")
	s.add("Service", "SyslogIdentifier", "%N")
	args := []string{"quadlet", "--fail"}
	for i, err := range f.sorted() {
		if i == maxShown {
			args = append(args, fmt.Sprintf("and %d more: rc quadlet --dry-run shows them", len(f.faults)-maxShown))
			break
		}
		args = append(args, literal(strings.Join(strings.Fields(err.Error()), " ")))
	}
	s.add("Service", "ExecStart", g.command(s, "", args...))
	return s
}
