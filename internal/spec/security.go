package spec

import (
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// security is what --security-opt says, besides what goes straight into the plan.
type security struct {
	unmask          []string // paths, as podman-run(1): unmask=ALL or unmask=/a:/b
	unmaskAll       bool
	mask            []string
	writableCgroups bool
}

// securityOpts reads --security-opt: Docker's keys (docker/cli, parseSecurityOpts;
// moby, parseSecurityOpt) and podman's mask and unmask. Then it sets what
// --privileged and the default leave of the masked paths.
func (b *builder) securityOpts() error {
	b.security.writableCgroups = b.o.Privileged
	b.plan.Seccomp.Unconfined = b.o.Privileged // a profile that is named holds all the same
	for _, value := range b.o.SecurityOpt {
		key, text, ok := strings.Cut(value, "=")
		if !ok {
			key, text, ok = strings.Cut(value, ":") // Docker's old spelling
		}
		switch {
		case key == "no-new-privileges" || key == "writable-cgroups":
			if err := b.securitySwitch(value, key, text, ok); err != nil {
				return err
			}
			continue
		case !ok || text == "":
			return refuse("--security-opt", value, "write KEY=VALUE", "no value")
		}
		if err := b.securityOpt(value, key, text); err != nil {
			return err
		}
	}
	b.maskPaths()
	return nil
}

func (b *builder) securitySwitch(value, key, text string, given bool) error {
	on, err := true, error(nil)
	if given {
		if on, err = strconv.ParseBool(text); err != nil {
			return refuse("--security-opt", value, "write "+key+"=true or "+key+"=false", "%s is neither true nor false", quoted(text))
		}
	}
	if key == "no-new-privileges" {
		// Off unless asked for, as in Docker: set-uid programs of an image (sudo, ping)
		// are expected to work, and lead no further than the sandbox's root.
		b.spec.Process.NoNewPrivileges = on
	} else {
		b.security.writableCgroups = on
	}
	return nil
}

func (b *builder) securityOpt(value, key, text string) error {
	switch key {
	case "seccomp":
		return b.seccompOpt(value, text)
	case "apparmor":
		if text != "unconfined" {
			// Docker's own profile would be wanted by name, and a profile that is not
			// loaded must not look as if it were in force.
			return refuse("--security-opt", value, "leave it out, or write apparmor=unconfined", "no AppArmor profile is applied to a rootless container: loading one takes the host's root")
		}
	case "label":
		if text != "disable" {
			return refuse("--security-opt", value, "leave it out, or write label=disable", "no SELinux label is set on a container here")
		}
	case "systempaths":
		if text != "unconfined" {
			return refuse("--security-opt", value, "write systempaths=unconfined", "no such choice")
		}
		b.security.unmaskAll = true
	case "unmask":
		return b.pathList(value, text, &b.security.unmask)
	case "mask":
		return b.pathList(value, text, &b.security.mask)
	default:
		keys := []string{"apparmor", "label", "mask", "no-new-privileges", "seccomp", "systempaths", "unmask", "writable-cgroups"}
		return refuse("--security-opt", value, orNearest(key, keys, "the keys are "+words(keys)), "no such option")
	}
	return nil
}

// seccompOpt takes unconfined, Docker's `builtin` for the default, or a file.
func (b *builder) seccompOpt(value, text string) error {
	s := &b.plan.Seccomp
	switch text {
	case "unconfined":
		s.Unconfined, s.Path = true, ""
		return nil
	case "builtin", "default":
		s.Unconfined, s.Path = false, ""
		return nil
	}
	file, err := filepath.Abs(text)
	if err != nil {
		return badFlag("--security-opt", value, err, "")
	}
	data, err := readFlagFile("--security-opt", file)
	if err != nil {
		return err
	}
	if !json.Valid(data) {
		return refuse("--security-opt", value, "give a profile in Docker's JSON (docs.docker.com/engine/security/seccomp)", "the file is not JSON")
	}
	s.Unconfined, s.Path = false, file
	return nil
}

func (b *builder) pathList(value, text string, list *[]string) error {
	for p := range strings.SplitSeq(text, ":") {
		if p == "ALL" && list == &b.security.unmask {
			b.security.unmaskAll = true
			continue
		}
		if p == "" || p[0] != '/' || path.Clean(p) == "/" {
			return refuse("--security-opt", value, "write absolute paths with : between them", "%s is not an absolute path below /", quoted(p))
		}
		*list = append(*list, path.Clean(p))
	}
	return nil
}

// maskPaths sets the masked and the read-only paths. --privileged has neither,
// but mask= adds to nothing, too.
func (b *builder) maskPaths() {
	kept := func(paths []string) (out []string) {
		for _, p := range paths {
			if !b.unmasked(p) {
				out = append(out, p)
			}
		}
		return out
	}
	l := b.spec.Linux
	if !b.o.Privileged && !b.security.unmaskAll {
		l.MaskedPaths, l.ReadonlyPaths = kept(maskedPaths()), kept(readonlyPaths())
	}
	for _, p := range b.security.mask {
		if !slices.Contains(l.MaskedPaths, p) {
			l.MaskedPaths = append(l.MaskedPaths, p)
		}
	}
}

// unmasked matches as podman does: a pattern, or a path and what is below it.
func (b *builder) unmasked(p string) bool {
	return slices.ContainsFunc(b.security.unmask, func(u string) bool {
		ok, err := path.Match(u, p)
		return ok && err == nil || within(p, u)
	})
}

// maskedPaths is Docker's list (moby, daemon/pkg/oci/defaults.go, 28.3):
// GHSA-6fw5-f8r9-fgfm for interrupts and thermal_throttle, GHSA-jq35-85cj-fj4p
// for powercap: side channels that show other users' work.
func maskedPaths() []string {
	list := []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"}
	// Every CPU has the folder or none: one look where Docker takes one a CPU.
	throttle := func(cpu int) string {
		return "/sys/devices/system/cpu/cpu" + strconv.Itoa(cpu) + "/thermal_throttle"
	}
	if _, err := os.Lstat(throttle(0)); err != nil {
		return list
	}
	for _, cpu := range hostCPUs("possible") {
		list = append(list, throttle(cpu))
	}
	return list
}

// readonlyPaths is Docker's list, from the same place.
func readonlyPaths() []string {
	// To an ordinary user's container these files are somebody else's anyway. They
	// count when rc runs as root: the container's root is the host's uid 0 then, and
	// /proc/sys asks for that uid and for no capability (kernel,
	// fs/proc/proc_sysctl.c, test_perm). Tried: with --privileged, which has no such
	// list, root's container writes kernel.core_pattern.
	return []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
}
