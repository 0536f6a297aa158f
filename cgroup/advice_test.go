package cgroup

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// systemd's mark: the unit's own group is taken although other processes stand
// in it, so that the container ends with the unit.
func TestPrefersDelegatedUnit(t *testing.T) {
	const app = "/user.slice/user-1000.slice/user@1000.service/app.slice"
	f := newFake(t, app+"/job.service", everything)
	dir := f.group(app+"/job.service", 7, selfPID)
	f.foreign("/user.slice", "/user.slice/user-1000.slice")
	if err := unix.Setxattr(dir, "user.delegate", []byte("1"), 0); err != nil {
		t.Skipf("needs user extended attributes on %s: %v", os.TempDir(), err)
	}
	s := f.find()
	if s.Path != dir {
		t.Errorf("found %s, want the unit", s.Path)
	}
	says(t, errors.New(s.How), "the unit job.service is delegated")
	says(t, s.whyNotEnabled(dir, []string{"cpu"}, unix.EBUSY), "stand in it (7)", "DelegateSubgroup=main", "exec rc")

	// The user's systemd carries the mark too; its groups are its own business.
	user := f.top + "/user.slice/user-1000.slice/user@1000.service"
	must(t, unix.Setxattr(user, "user.delegate", []byte("1"), 0))
	if delegatedUnit(user) {
		t.Error("the user's systemd was taken for a unit of ours")
	}
	must(t, unix.Setxattr(dir, "user.delegate", []byte("0"), 0))
	if delegatedUnit(dir) {
		t.Error("0 was read as a mark")
	}
}

func TestHow(t *testing.T) {
	cases := []struct {
		group, stands, want string
	}{
		{"/", "/", "top of the tree"},
		{"/mine", "/mine", "rc stands in it"},
		{"/mine", "/mine/shell", "rc stands below it"},
	}
	for _, c := range cases {
		f := newFake(t, c.stands, everything)
		if c.stands == "/" {
			must(t, os.Chmod(f.top, 0o755))
		} else {
			f.group(c.stands, selfPID)
		}
		if c.stands != c.group {
			f.group(c.stands, 7)
		}
		says(t, errors.New(f.find().How), c.want)
	}
}

func TestSharedDaemons(t *testing.T) {
	for _, unit := range []string{"cron.service", "crond.service", "ssh.service", "sshd.service", "sshd@1-10.0.0.1.service", "getty@tty1.service"} {
		if !sharedDaemon(unit) {
			t.Errorf("%s would be given to one user", unit)
		}
	}
	for _, unit := range []string{"job.service", "cronjob.service", "sshdx.service"} {
		if sharedDaemon(unit) {
			t.Errorf("%s is one user's own", unit)
		}
	}
}

// The command is pasted as it is: it must be a whole one.
func TestDropInIsOneCommand(t *testing.T) {
	line := dropIn("job.service", "Delegate=yes", "sudo systemctl restart job.service")
	for _, part := range []string{
		"sudo mkdir -p /etc/systemd/system/job.service.d && ", `printf '[Service]\nDelegate=yes\n' | sudo tee /etc/systemd/system/job.service.d/delegate.conf`,
		" && sudo systemctl daemon-reload && sudo systemctl restart job.service",
	} {
		if !strings.Contains(line, part) {
			t.Errorf("%q lacks %q", line, part)
		}
	}
}

// The line for hosts without systemd must not hand over the limits of the folder
// that root made: only what the kernel calls safe (cgroups(7), "Delegation").
func TestHandMadeGivesNoLimitsAway(t *testing.T) {
	line := handMade("/sys/fs/cgroup")
	for word := range strings.FieldsSeq(line) {
		if strings.Contains(word, "memory") || strings.Contains(word, ".max") || word == "-R" {
			t.Errorf("%q gives away %s", line, word)
		}
	}
	for _, file := range []string{"cgroup.procs", "cgroup.threads", "cgroup.subtree_control", "shell/cgroup.procs", "echo $$"} {
		if !strings.Contains(line, file) {
			t.Errorf("%q lacks %s", line, file)
		}
	}
}

func TestOwner(t *testing.T) {
	if got := owner("/"); got != "root" {
		t.Errorf("/ belongs to %s", got)
	}
	if got := owner("/nowhere"); got != "somebody else" {
		t.Errorf("/nowhere belongs to %s", got)
	}
}

func TestWhyNoGroup(t *testing.T) {
	for errno, word := range map[unix.Errno]string{unix.EEXIST: "rc rm", unix.EAGAIN: "cgroup.max.descendants", unix.ENOMEM: "out of memory", unix.EACCES: "permission denied"} {
		err := whyNoGroup("/x/rc-1", &os.PathError{Op: "mkdir", Path: "/x/rc-1", Err: errno})
		says(t, err, "make the cgroup /x/rc-1", word)
		if !errors.Is(err, errno) {
			t.Errorf("%v is not %v", err, errno)
		}
	}
}

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{`/a\040b`: "/a b", `\134`: `\`, `/plain`: "/plain", `/x\0`: `/x\0`, `\011\012`: "\t\n", `\999`: `\999`} {
		if got := unescape(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestKeyed(t *testing.T) {
	const text = "populated 1\nfrozen 0\noom_kill 12\noom_kill_x 9\n"
	for key, want := range map[string]uint64{"populated": 1, "frozen": 0, "oom_kill": 12, "oom": 0, "absent": 0} {
		if got := keyed(text, key); got != want {
			t.Errorf("%s is %d, want %d", key, got, want)
		}
	}
}
