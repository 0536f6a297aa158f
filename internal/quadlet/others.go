package quadlet

import (
	"runtime"
	"slices"
	"strings"
)

// volume makes the service of a .volume file: rc volume create, which leaves one that
// is there as it is.
func (g *generator) volume(f *file) *service {
	s := g.newService(f)
	f.pass(&s.global, "GlobalArgs")
	s.args = []string{"volume", "create"}
	f.flags(s)
	f.pass(&s.args, "PodmanArgs")
	s.args = append(s.args, volumeName(f))
	s.once()
	s.add("Service", "ExecStart", g.command(s, "", s.args...))
	return s
}

func volumeName(f *file) string { return f.resourceName("VolumeName") }

// networkFile makes the service of a .network file: rc network create, which leaves
// one that is there as it is.
func (g *generator) networkFile(f *file) *service {
	s := g.newService(f)
	f.pass(&s.global, "GlobalArgs")
	s.args = []string{"network", "create", "--ignore"}
	f.flags(s)
	f.pass(&s.args, "PodmanArgs")
	s.args = append(s.args, networkName(f))
	s.once()
	s.add("Service", "ExecStart", g.command(s, "", s.args...))
	if on, _ := f.boolean("NetworkDeleteOnStop"); on {
		s.add("Service", "ExecStopPost", g.command(s, "", "network", "rm", networkName(f)))
	}
	return s
}

func networkName(f *file) string { return f.resourceName("NetworkName") }

// resourceName is what a key says, or podman's name for what the file makes.
func (f *file) resourceName(key string) string {
	if e, ok := f.unit.section(f.kind.section).last(key); ok {
		return e.value
	}
	base := strings.TrimSuffix(f.name, f.kind.ext)
	if front, _, ok := strings.Cut(base, "@"); ok {
		return "systemd-" + front + "_%i"
	}
	return "systemd-" + base
}

// image makes the service of a .image file: rc pull.
func (g *generator) image(f *file) *service {
	s := g.newService(f)
	f.pass(&s.global, "GlobalArgs")
	sec := f.unit.section(f.kind.section)
	if e, ok := sec.last("Policy"); !ok || e.value != "never" {
		g.waitForNetwork(f, s)
	}
	image, ok := sec.last("Image")
	if !ok {
		f.fault(sec.place(f), "", "name it: Image=NAME", "[Image] has no Image=")
		return s
	}
	f.checkImage(image)
	f.flags(s)
	if p := f.platform(); p != "" {
		s.args = append(s.args, "--platform", p)
	}
	f.pass(&s.args, "PodmanArgs")
	if e, ok := sec.last("AuthFile"); ok {
		s.add("Service", "Environment", quoteWord("REGISTRY_AUTH_FILE="+f.absolute(e.value)))
	}
	s.once()
	s.add("Service", "ExecStart", g.pull(f, s, image.value))
	if e, ok := sec.last("ImageTag"); ok && e.value != image.value {
		s.add("Service", "ExecStart", g.command(s, "", "tag", image.value, e.value))
	}
	return s
}

// transports are podman's names of places that are no registries.
var transports = []string{"docker-archive:", "oci-archive:", "oci:", "dir:", "containers-storage:", "docker-daemon:", "sif:"}

func (f *file) checkImage(e entry) {
	switch {
	case strings.HasPrefix(e.value, "-"):
		f.fault(e.at, show(e), "name an image", "it would be a flag")
	case strings.HasPrefix(e.value, "docker://"):
		f.fault(e.at, show(e), "write "+strings.TrimPrefix(e.value, "docker://"), "rc takes names of images")
	case slices.ContainsFunc(transports, func(t string) bool { return strings.HasPrefix(e.value, t) }):
		f.fault(e.at, show(e), "load it once: rc load -i FILE", "rc pulls from registries only")
	}
}

// pull is the command of a policy. rc pull asks the registry each time; missing is
// for hosts that boot without a network.
func (g *generator) pull(f *file, s *service, image string) string {
	e, ok := f.unit.section(f.kind.section).last("Policy")
	inspect := g.command(s, "", "image", "inspect", "--format", "{{.Id}}", image)
	if !ok || e.value == "always" {
		return g.command(s, "", slices.Concat([]string{"pull"}, s.args, []string{image})...)
	}
	switch e.value {
	case "missing":
		rc := slices.Concat([]string{literal(g.Program)}, s.global)
		script := shellLine(slices.Concat(rc, []string{"image", "inspect", "--format", "{{.Id}}", image})) + " >/dev/null 2>&1 || exec " +
			shellLine(slices.Concat(rc, []string{"pull"}, s.args, []string{image}))
		return commandLine([]string{"/bin/sh", "-c", script})
	case "never":
		return inspect
	}
	f.fault(e.at, show(e), "write always, missing or never", "no such policy")
	return inspect
}

// platform is --platform of Arch=, OS= and Variant=.
func (f *file) platform() string {
	sec := f.unit.section(f.kind.section)
	arch, hasArch := sec.last("Arch")
	system, hasOS := sec.last("OS")
	variant, hasVariant := sec.last("Variant")
	if !hasArch && !hasOS && !hasVariant {
		return ""
	}
	if !hasOS {
		system.value = "linux"
	}
	if !hasArch {
		arch.value = runtime.GOARCH
	}
	// uname's words for what images call by Go's.
	if goName, ok := map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch.value]; ok {
		arch.value = goName
	}
	p := system.value + "/" + arch.value
	if hasVariant {
		// podman's own example says Variant=arm/v7 (podman-systemd.unit(5)).
		p += "/" + variant.value[strings.LastIndexByte(variant.value, '/')+1:]
	}
	return p
}
