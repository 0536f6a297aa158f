package quadlet

import (
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"
)

// container makes the service of a .container file. The flags come in the order of
// podman's generator, where that says anything (pkg/systemd/quadlet, ConvertContainer).
func (g *generator) container(f *file) *service {
	s := g.newService(f)
	f.pass(&s.global, "GlobalArgs")
	g.waitForNetwork(f, s)
	name := containerName(f)
	s.args = []string{"run", "--name", name, "--replace", "--rm"}
	f.mode(s)
	f.checkService()
	f.flags(s)
	g.network(f, s)
	f.security(s)
	f.user(s)
	f.files(s)
	g.volumes(f, s)
	g.mounts(f, s)
	f.small(s)
	f.reload(g, s, name)
	f.pass(&s.args, "PodmanArgs")
	g.what(f, s)

	s.add("Service", "ExecStart", g.command(s, "", s.args...))
	// No ExecStop=: SIGTERM to the main process is what rc stop does. This is for a
	// container whose shim was killed, and for a start that came half-way.
	s.add("Service", "ExecStopPost", g.command(s, "-", "rm", "-v", "-f", name))
	return s
}

// containerName is the container's name, with systemd's specifiers.
func containerName(f *file) string {
	if e, ok := f.unit.section(f.kind.section).last("ContainerName"); ok {
		return e.value
	}
	if front, _, ok := strings.Cut(strings.TrimSuffix(f.name, f.kind.ext), "@"); ok {
		return "systemd-" + front + "_%i" // "@" has no place in a container's name
	}
	return "systemd-%N"
}

// mode is how systemd follows the container.
func (f *file) mode(s *service) {
	sec := f.unit.section(f.kind.section)
	cgroups := "split"
	if e, ok := sec.last("CgroupsMode"); ok {
		if cgroups = e.value; !slices.Contains([]string{"split", "enabled", "disabled"}, cgroups) {
			f.fault(e.at, show(e), "write split, enabled or disabled", "no such mode")
		}
	}
	s.args = append(s.args, "--cgroups="+cgroups)
	s.setDefault("Service", "Delegate", "yes")
	s.setDefault("Service", "KillMode", "mixed")
	s.setDefault("Service", "SyslogIdentifier", "%N")
	// A process that systemd's own SIGTERM ends has ended well (systemd.service(5),
	// SuccessExitStatus=); of a container's, rc hands on the exit code 128+n.
	s.add("Service", "SuccessExitStatus", "129 130 143")
	if s.lookup("Service", "Type") != "oneshot" {
		s.setDefault("Service", "Type", "notify")
		s.args = append(s.args, "--sdnotify="+f.notify(), "-d")
	}
	driver, given := f.logDriver()
	if !given && s.lookup("Service", "Type") == "oneshot" {
		return // in the foreground: what the container prints, the unit prints
	}
	s.args = append(s.args, "--log-driver="+driver)
	if driver == "journald" && !slices.ContainsFunc(f.words("LogOpt"), func(w entry) bool { return strings.HasPrefix(w.value, "tag=") }) {
		// The container's lines are called as the unit's others are.
		s.args = append(s.args, "--log-opt", "tag="+s.lookup("Service", "SyslogIdentifier"))
	}
}

func (f *file) notify() string {
	e, ok := f.unit.section(f.kind.section).last("Notify")
	if ok && strings.EqualFold(e.value, "healthy") {
		return "healthy"
	}
	if on, _ := f.boolean("Notify"); on {
		return "container"
	}
	return "conmon"
}

// logDriver is journald unless the file says otherwise: who runs a service looks for
// its output in the journal.
func (f *file) logDriver() (driver string, given bool) {
	e, ok := f.unit.section(f.kind.section).last("LogDriver")
	switch {
	case !ok:
		return "journald", false
	case e.value == "k8s-file":
		return "json-file", true
	case e.value != "journald" && e.value != "json-file" && e.value != "none":
		f.fault(e.at, show(e), "write journald, json-file or none", "rc has no such driver")
	}
	return e.value, true
}

// checkService faults what [Service] cannot say of a container.
func (f *file) checkService() {
	sec := f.unit.section("Service")
	only := func(key string, values ...string) {
		if e, ok := sec.last(key); ok && !slices.Contains(values, e.value) {
			f.fault(e.at, show(e), "write "+strings.Join(values, " or ")+", or leave it out", "rc cannot run a container so")
		}
	}
	only("Type", "notify", "oneshot")
	only("KillMode", "mixed", "control-group")
	if e, ok := sec.last("ExecStart"); ok {
		f.fault(e.at, show(e), "write the container's command as Exec= in [Container], and what comes before it as ExecStartPre=", "the service starts the container")
	}
}

// what is the image or folder, and the command.
func (g *generator) what(f *file, s *service) {
	sec := f.unit.section(f.kind.section)
	image, hasImage := sec.last("Image")
	root, hasRoot := sec.last("Rootfs")
	switch {
	case hasImage && hasRoot:
		f.fault(root.at, show(root), "leave out one of them", "Image= is there, too")
	case hasRoot:
		s.args = append(s.args, "--rootfs", f.absolute(root.value))
	case !hasImage:
		f.fault(sec.place(f), "", "name it: Image=NAME", "[Container] has no Image= (or Rootfs=)")
	}
	entrypoint := f.entrypoint(s)
	switch {
	case hasImage:
		s.args = append(s.args, g.imageName(f, s, image))
	case hasRoot:
		s.args = append(s.args, "--") // a command that begins with a dash is no flag
	}
	s.args = append(s.args, entrypoint...)
	if e, ok := last(sec, "Exec"); ok {
		command, err := Words(e.value)
		if err != nil {
			f.fault(e.at, show(e), "write it as in a unit of systemd", "%w", err)
		}
		s.args = append(s.args, command...)
	}
}

// last is section.last for a value whose quotes are read later.
func last(sec *section, key string) (entry, bool) {
	all := sec.all(key)
	if len(all) == 0 {
		return entry{}, false
	}
	return all[len(all)-1], true
}

// place is where a section stands, of a file that has none the file itself.
func (sec *section) place(f *file) place {
	if sec == nil {
		return place{file: f.path}
	}
	return sec.at
}

// imageName is the image to run: that of a .image file, or the one that is named.
func (g *generator) imageName(f *file, s *service, e entry) string {
	switch {
	case strings.HasSuffix(e.value, ".build"):
		f.fault(e.at, show(e), buildFix, "%s", noBuilds)
	case strings.HasSuffix(e.value, ".image"):
		if in := g.resource(f, e, e.value); in != nil {
			s.after(in.service)
			return in.resource
		}
	case e.value[0] == '-':
		f.fault(e.at, show(e), "name an image", "it would be a flag")
	}
	return e.value
}

// entrypoint takes podman's two spellings, a program or a JSON list; the result is
// what of a list comes before the command's words.
func (f *file) entrypoint(s *service) []string {
	e, ok := last(f.unit.section(f.kind.section), "Entrypoint")
	if !ok {
		return nil
	}
	if unquoted, ok := f.unit.section(f.kind.section).last("Entrypoint"); ok {
		e.value = unquoted.value
	} else {
		e.value = "" // "" resets the image's
	}
	if !strings.HasPrefix(e.value, "[") {
		s.args = append(s.args, "--entrypoint="+e.value)
		return nil
	}
	var list []string
	if err := json.Unmarshal([]byte(e.value), &list); err != nil || len(list) == 0 {
		f.fault(e.at, show(e), `write it as in Entrypoint=["/bin/sh","-c"]`, "no list of words in JSON")
		return nil
	}
	s.args = append(s.args, "--entrypoint="+list[0])
	return list[1:]
}

// reload makes systemctl reload do something.
func (f *file) reload(g *generator, s *service, name string) {
	sec := f.unit.section(f.kind.section)
	signal, bySignal := sec.last("ReloadSignal")
	command := f.words("ReloadCmd")
	switch {
	case bySignal && len(command) > 0:
		f.fault(signal.at, show(signal), "leave out one of them", "ReloadCmd= is there, too")
	case bySignal:
		s.add("Service", "ExecReload", g.command(s, "", "kill", "--signal", signal.value, name))
	case len(command) > 0:
		args := []string{"exec", name}
		for _, w := range command {
			args = append(args, w.value)
		}
		s.add("Service", "ExecReload", g.command(s, "", args...))
	}
}

// small are keys with a rule of their own.
func (f *file) small(s *service) {
	sec := f.unit.section(f.kind.section)
	if e, ok := sec.last("AutoUpdate"); ok {
		s.args = append(s.args, "--label", "io.containers.autoupdate="+e.value)
	}
	if e, ok := sec.last("Pull"); ok {
		if !slices.Contains([]string{"missing", "always", "never"}, e.value) {
			f.fault(e.at, show(e), "write missing, always or never", "no such policy")
		}
		s.args = append(s.args, "--pull="+e.value)
	}
	if e, ok := sec.last("HealthCmd"); ok {
		f.health(s, e)
	}
	if e, ok := sec.last("StopTimeout"); ok {
		f.stopTimeout(s, e)
	}
	for _, w := range f.words("AddDevice") {
		// Whether it is there is asked now, as podman does: a later look would need a shell.
		if device, optional := strings.CutPrefix(w.value, "-"); !optional {
			s.args = append(s.args, "--device", w.value)
		} else if path, _, _ := strings.Cut(device, ":"); exists(path) {
			s.args = append(s.args, "--device", device)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// health takes podman's spellings of a check: none, CMD, CMD-SHELL, a JSON list.
func (f *file) health(s *service, e entry) {
	command := e.value
	var list []string
	switch first, rest, _ := strings.Cut(command, " "); {
	case strings.EqualFold(command, "none"):
		s.args = append(s.args, "--no-healthcheck")
		return
	case first == "CMD" || first == "CMD-SHELL":
		command = rest
	case strings.HasPrefix(command, "["):
		if err := json.Unmarshal([]byte(command), &list); err != nil || len(list) == 0 {
			f.fault(e.at, show(e), "write a line for the shell, as HealthCmd=curl -f localhost", "no list of words in JSON")
			return
		}
		if list[0] == "CMD" || list[0] == "CMD-SHELL" {
			list = list[1:]
		}
		if command = strings.Join(list, " "); len(list) > 1 {
			command = shellLine(list)
		}
	}
	s.args = append(s.args, "--health-cmd", command)
}

// shellLine writes words for a shell.
func shellLine(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
	}
	return strings.Join(quoted, " ")
}

// stopMargin is what systemd waits longer than rc, in seconds: else its SIGKILL would
// come before rc has ended what it is stopping. systemd's own time is 90 s.
const stopMargin, stopDefault = 15, 90

func (f *file) stopTimeout(s *service, e entry) {
	n, err := strconv.Atoi(e.value)
	switch {
	case err != nil && !strings.ContainsAny(e.value, "%$"):
		f.fault(e.at, show(e), "write a number of seconds", "no number")
	case err == nil && n < 0:
		s.setDefault("Service", "TimeoutStopSec", "infinity")
	case n+stopMargin > stopDefault:
		s.setDefault("Service", "TimeoutStopSec", strconv.Itoa(n+stopMargin))
	}
	s.args = append(s.args, "--stop-timeout="+e.value)
}
