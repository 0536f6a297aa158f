// Package host says what this machine gives rc: one probe for each feature,
// with the evidence and with what to type where it is missing. `rc info` shows
// them all, and error messages quote the one that explains them.
package host

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// Finding is the result of one probe.
type Finding struct {
	Name     string // the feature, as `rc info` prints it
	OK       bool
	Evidence string // what was tried or read, and what came back
	Fix      string // what to type; "" when OK or when nothing is known
}

// Err turns a failed finding into the refusal of op; nil when the feature is there.
func (f Finding) Err(op string) error {
	if f.OK {
		return nil
	}
	return hint.New(op, errors.New(f.Evidence), f.Fix)
}

// System is the host that the probes look at. Tests give a fake one.
type System struct {
	Root      string                                            // before every path of /proc, /etc, /dev, /usr; "" is the real one
	UID, GID  int                                               // the caller
	Env       func(name string) string                          // environment
	Run       func(path string, args ...string) (string, error) // runs a program, gives its standard output
	TryUserNS func() error                                      // makes a user namespace and one that needs rights in it, for a moment
}

// Here is this machine and the calling user.
func Here() *System {
	return &System{UID: os.Getuid(), GID: os.Getgid(), Env: os.Getenv, Run: Output, TryUserNS: tryUserNS}
}

// All runs every probe that needs no state of rc's.
func (s *System) All() []Finding {
	findings := []Finding{s.Kernel(), s.UserNamespaces(), s.SubordinateIDs()}
	findings = append(findings, s.IDMapTools()...)
	return append(findings, s.Fuse(), s.FuseOverlayfs(), s.Slirp4netns(), s.Tun(),
		s.Seccomp(), s.Landlock(), s.Keys(), s.RuntimeDir())
}

// read is the trimmed text of a file; false when it cannot be read.
func (s *System) read(path string) (string, bool) {
	data, err := linux.ReadFile(s.Root + path)
	return strings.TrimSpace(string(data)), err == nil
}

// sysctl reads kernel.some_name from /proc/sys.
func (s *System) sysctl(name string) (string, bool) {
	return s.read("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
}

// status is a field of /proc/self/status, "" when there is none.
func (s *System) status(field string) string {
	text, _ := s.read("/proc/self/status")
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// LookPath finds a program in PATH and then where distributions keep set-uid
// and system ones, which cron and su leave out of PATH. "" when it is nowhere.
func (s *System) LookPath(name string) string {
	dirs := strings.Split(s.Env("PATH"), ":")
	for _, dir := range append(dirs, "/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin") {
		if !strings.HasPrefix(dir, "/") {
			continue // a relative entry would run what lies in the current folder
		}
		var st unix.Stat_t
		path := s.Root + dir + "/" + name
		if unix.Stat(path, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && st.Mode&0o111 != 0 {
			return path
		}
	}
	return ""
}

// Package names the package of a program, by family of distributions.
type Package struct{ Debian, Fedora, Alpine, Arch, Suse string }

// Install is the command that installs p on this distribution.
func (s *System) Install(p Package) string {
	text, _ := s.read("/etc/os-release")
	ids := ""
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if key == "ID" || key == "ID_LIKE" {
			ids += " " + strings.Trim(value, `"'`)
		}
	}
	for _, family := range []struct{ ids, command, name string }{
		{"debian ubuntu", "apt-get install", p.Debian},
		{"fedora rhel centos", "dnf install", p.Fedora},
		{"alpine", "apk add", p.Alpine},
		{"arch", "pacman -S", p.Arch},
		{"suse opensuse sles", "zypper install", p.Suse},
	} {
		for id := range strings.FieldsSeq(ids) {
			if family.name != "" && strings.Contains(" "+family.ids+" ", " "+id+" ") {
				return "sudo " + family.command + " " + family.name
			}
		}
	}
	return fmt.Sprintf("install the package %s", p.Debian)
}

// tryUserNS clones a user and a mount namespace and executes a file that does
// not exist in them: ENOENT comes from the far end, everything was allowed. The
// mount namespace is there because Ubuntu's AppArmor lets anybody make the user
// namespace and only then withholds the rights in it.
func tryUserNS() error {
	attr := &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNS}}
	_, err := syscall.ForkExec("/proc/self/does-not-exist", []string{"probe"}, attr)
	if err == syscall.ENOENT {
		return nil
	}
	return err
}
