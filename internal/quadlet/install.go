package quadlet

import (
	"strings"
)

// install reads [Install] as `systemctl enable` would, which has no say in generated
// units: Alias=, WantedBy=, RequiredBy=, UpheldBy=, and DefaultInstance= of a template.
func (f *file) install(service string) (links []Link) {
	sec := f.unit.section("Install")
	if sec == nil {
		return nil
	}
	target, base := service, service
	if instance, ok := template(service); ok && instance == "" {
		e, given := sec.last("DefaultInstance")
		if !given {
			return nil // it is for the instances that are links to it
		}
		target = strings.TrimSuffix(service, ".service") + e.value + ".service"
		if badUnitName(strings.TrimSuffix(target, ".service")) != "" {
			f.fault(e.at, show(e), "write a name of letters and digits", "no instance can be called so")
			return nil
		}
	}
	for _, by := range []struct{ key, folder string }{{"WantedBy", "wants"}, {"RequiredBy", "requires"}, {"UpheldBy", "upholds"}} {
		for _, w := range f.installed(sec, by.key, service) {
			links = append(links, Link{w + "." + by.folder + "/" + target, "../" + base})
		}
	}
	for _, w := range f.installed(sec, "Alias", service) {
		if w != service {
			links = append(links, Link{w, base})
		}
	}
	return links
}

// installed are the names of units in a key of [Install].
func (f *file) installed(sec *section, key, service string) []string {
	name := strings.TrimSuffix(service, ".service")
	instance, _ := template(service)
	prefix, _, _ := strings.Cut(name, "@")
	specifiers := strings.NewReplacer("%%", "%", "%n", service, "%N", name, "%p", prefix, "%i", instance)
	var list []string
	for _, e := range sec.all(key) {
		for _, w := range strings.Fields(e.value) {
			w = specifiers.Replace(w)
			base, kind, dot := lastCut(w, ".")
			if !dot || !unitTypes[kind] || badUnitName(base) != "" || key == "Alias" && kind != "service" {
				f.fault(e.at, show(e), "write a unit's name, as default.target", "%q cannot be linked to", w)
				continue
			}
			list = append(list, w)
		}
	}
	return list
}

// unitTypes are those of systemd.unit(5).
var unitTypes = map[string]bool{"service": true, "socket": true, "device": true, "mount": true, "automount": true, "swap": true,
	"target": true, "path": true, "timer": true, "slice": true, "scope": true}

func lastCut(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
