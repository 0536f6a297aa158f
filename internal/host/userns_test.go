package host

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

func TestWhyNoUserNamespace(t *testing.T) {
	const root = "1 0 0:1 / / rw - ext4 /dev/sda rw\n"
	for name, c := range map[string]struct {
		files         map[string]string
		err           error
		evidence, fix string
	}{
		"no kernel support": {nil, unix.EINVAL, "the kernel has no user namespaces", "CONFIG_USER_NS"},
		"limit of zero": {map[string]string{"/proc/sys/user/max_user_namespaces": "0\n"},
			unix.ENOSPC, "user.max_user_namespaces=0", "sysctl -w user.max_user_namespaces"},
		"limit reached": {map[string]string{"/proc/sys/user/max_user_namespaces": "12\n"},
			unix.ENOSPC, "user.max_user_namespaces=12", "sysctl -w"},
		"Debian's sysctl": {map[string]string{"/proc/sys/kernel/unprivileged_userns_clone": "0\n"},
			unix.EPERM, "kernel.unprivileged_userns_clone=0", "sysctl -w kernel.unprivileged_userns_clone=1"},
		"Ubuntu": {map[string]string{
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n", "/proc/self/attr/apparmor/current": "unconfined\n",
		}, unix.EACCES, "AppArmor lets only programs with a profile", "contrib/apparmor"},
		"Ubuntu, in a profile without the rule": {map[string]string{
			"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n", "/proc/self/attr/current": "snap.code (enforce)\n",
		}, unix.EPERM, "the AppArmor profile snap.code", "userns,"},
		"Docker": {map[string]string{"/proc/self/status": "Name:\trc\nSeccomp:\t2\n", "/proc/self/mountinfo": root},
			unix.EPERM, "seccomp filter", "seccomp=unconfined"},
		"chroot": {map[string]string{"/proc/self/status": "Seccomp:\t0\n", "/proc/self/mountinfo": "9 8 0:5 / /proc rw - proc proc rw\n"},
			unix.EPERM, "in a chroot", "pivot_root"},
		"SELinux label is no profile": {map[string]string{"/proc/self/attr/current": "system_u:system_r:x_t:s0\x00", "/proc/self/mountinfo": root},
			unix.EACCES, "no setting that rc knows", "dmesg"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.files != nil {
				c.files["/proc/self/uid_map"] = "0 0 4294967295\n"
			}
			wants(t, fake(t, c.files).WhyNoUserNS(c.err), c.evidence, c.fix)
		})
	}
}

func TestUserNamespaceProbe(t *testing.T) {
	s := fake(t, map[string]string{"/proc/self/uid_map": "0 0 1\n"})
	wants(t, s.UserNamespaces(), "operation not permitted: ", "")
	s.TryUserNS = func() error { return nil }
	if f := s.UserNamespaces(); !f.OK || f.Fix != "" {
		t.Errorf("%+v", f)
	}
	// The real attempt says yes or one of the errnos that WhyNoUserNS explains.
	if err := tryUserNS(); err != nil {
		var errno unix.Errno
		if !errors.As(err, &errno) {
			t.Errorf("%v (%T) is no errno", err, err)
		}
		t.Logf("this host refuses user namespaces: %v", err)
	}
}
