package host

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// UserNamespaces probes, by making one, that the caller may make user
// namespaces and use rights in them.
func (s *System) UserNamespaces() Finding {
	err := s.TryUserNS()
	if err == nil {
		return Finding{Name: "user namespaces", OK: true, Evidence: "made one with a mount namespace in it"}
	}
	return s.WhyNoUserNS(err)
}

// WhyNoUserNS explains err, the kernel's answer to clone, unshare or the first
// privileged call in a user namespace, from the settings that can cause it.
func (s *System) WhyNoUserNS(err error) Finding {
	f := Finding{Name: "user namespaces"}
	cause, fix := s.userNSCause(err)
	f.Evidence, f.Fix = fmt.Sprintf("%v: %s", err, cause), fix
	return f
}

func (s *System) userNSCause(err error) (cause, fix string) {
	if _, ok := s.read("/proc/self/uid_map"); !ok {
		return "the kernel has no user namespaces, or /proc is not mounted", "use a kernel with CONFIG_USER_NS=y"
	}
	// Most specific first: a limit has an errno of its own, the others share EPERM.
	limit, _ := s.sysctl("user.max_user_namespaces")
	if limit == "0" || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EUSERS) {
		return "the limit user.max_user_namespaces=" + limit + " is reached (or 32 levels of nesting)",
			"sudo sysctl -w user.max_user_namespaces=15000"
	}
	if v, ok := s.sysctl("kernel.unprivileged_userns_clone"); ok && v == "0" && s.UID != 0 {
		return "kernel.unprivileged_userns_clone=0 forbids them to users", "sudo sysctl -w kernel.unprivileged_userns_clone=1"
	}
	if cause, fix = s.appArmorCause(); cause != "" {
		return cause, fix
	}
	if s.status("Seccomp") == "2" {
		return "a seccomp filter is on this process, as in a container",
			"start the outer container with --security-opt seccomp=unconfined"
	}
	if s.chrooted() {
		return "the caller is in a chroot, where the kernel forbids them (user_namespaces(7))",
			"enter the folder with pivot_root (bwrap, systemd-nspawn) instead of chroot"
	}
	return "no setting that rc knows explains it (SELinux, or another security module?)", "see the kernel log: sudo dmesg | tail"
}

// appArmorCause knows Ubuntu's restriction (23.10 and later), which is lifted
// only for programs that a profile names, and a profile without `userns`.
func (s *System) appArmorCause() (cause, fix string) {
	label, ok := s.read("/proc/self/attr/apparmor/current")
	if !ok {
		label, _ = s.read("/proc/self/attr/current")
	}
	profile, _, _ := strings.Cut(label, " ")
	v, _ := s.sysctl("kernel.apparmor_restrict_unprivileged_userns")
	if v == "1" && (profile == "unconfined" || profile == "unprivileged_userns" || profile == "") {
		return "AppArmor lets only programs with a profile use them (kernel.apparmor_restrict_unprivileged_userns=1)",
			"install rc's AppArmor profile (contrib/apparmor), or sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
	}
	// SELinux labels have colons and are no profile.
	if profile != "" && profile != "unconfined" && !strings.Contains(profile, ":") {
		return "the AppArmor profile " + profile + " is on this process", "add the rule `userns,` to that profile, or start rc outside of it"
	}
	return "", ""
}

// chrooted says whether the root folder is not a mount point, which is what the
// kernel's rule comes down to. No evidence counts as no.
func (s *System) chrooted() bool {
	text, ok := s.read("/proc/self/mountinfo")
	if !ok || text == "" {
		return false
	}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 4 && f[4] == "/" {
			return false
		}
	}
	return true
}
