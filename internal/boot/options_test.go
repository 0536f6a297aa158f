package boot

import (
	"bufio"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	const atime = unix.MOUNT_ATTR__ATIME
	for line, want := range map[string]options{
		"":                    {},
		"bind":                {},
		"rbind":               {recursive: true},
		"defaults,async":      {},
		"ro":                  {set: unix.MOUNT_ATTR_RDONLY, shallow: true},
		"rro":                 {set: unix.MOUNT_ATTR_RDONLY},
		"rw":                  {clear: unix.MOUNT_ATTR_RDONLY},
		"ro,rw":               {clear: unix.MOUNT_ATTR_RDONLY}, // the last one counts
		"rw,ro":               {set: unix.MOUNT_ATTR_RDONLY, shallow: true},
		"nosuid,noexec":       {set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC},
		"nodev,dev":           {clear: unix.MOUNT_ATTR_NODEV},
		"exec,suid":           {clear: unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NOSUID},
		"noatime":             {set: unix.MOUNT_ATTR_NOATIME, clear: atime &^ unix.MOUNT_ATTR_NOATIME},
		"noatime,strictatime": {set: unix.MOUNT_ATTR_STRICTATIME, clear: atime},
		"nosymfollow":         {set: unix.MOUNT_ATTR_NOSYMFOLLOW},
		"shared":              {propagation: unix.MS_SHARED},
		"rslave":              {propagation: unix.MS_SLAVE},
		"rshared,private":     {propagation: unix.MS_PRIVATE},
		"runbindable":         {propagation: unix.MS_UNBINDABLE},
		"size=64k,mode=1777":  {data: [][2]string{{"size", "64k"}, {"mode", "1777"}}},
		"newinstance,gid=5":   {data: [][2]string{{"newinstance", ""}, {"gid", "5"}}},
		"context=a=b":         {data: [][2]string{{"context", "a=b"}}},
		"tmpcopyup":           {},
	} {
		if want.propagation == 0 {
			want.propagation = unix.MS_PRIVATE
		}
		got := parseOptions(strings.Split(line, ","))
		if line == "" {
			got = parseOptions(nil)
		}
		// Of the time options, what is set must also be cleared first; which of
		// the other bits are cleared is the parser's own affair.
		if want.clear&atime != 0 {
			want.clear, got.clear = want.clear&^atime, got.clear&^atime
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, want %+v", line, got, want)
		}
	}
}

// Every attribute that can be set can be taken back, where mount(8) has a word.
func TestAttributesAreMountsOwn(t *testing.T) {
	for _, pair := range [][2]string{{"ro", "rw"}, {"nosuid", "suid"}, {"nodev", "dev"}, {"noexec", "exec"}} {
		if attributes[pair[0]].set != attributes[pair[1]].clear || attributes[pair[0]].set == 0 {
			t.Errorf("%v are no opposites", pair)
		}
	}
}

// The kernel's header is the authority on the numbers.
func TestCapabilityNumbers(t *testing.T) {
	f, err := os.Open("/usr/include/linux/capability.h")
	if err != nil {
		t.Skipf("needs the kernel's headers: %v", err)
	}
	defer f.Close()
	line := regexp.MustCompile(`^#define (CAP_[A-Z_]+)\s+([0-9]+)\s*$`)
	seen := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		m := line.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		n, err := strconv.Atoi(m[2])
		must(t, err)
		seen++
		mask, err := capMask([]string{m[1]})
		if err != nil || mask != 1<<n {
			t.Errorf("%s is %#x (%v), the kernel says bit %d", m[1], mask, err, n)
		}
	}
	if seen < 40 {
		t.Errorf("the header names only %d", seen)
	}
}

func TestCapMask(t *testing.T) {
	if len(capNumbers) != unix.CAP_LAST_CAP+1 {
		t.Errorf("%d names, the library knows %d", len(capNumbers), unix.CAP_LAST_CAP+1)
	}
	for want, names := range map[uint64][]string{
		0:                       nil,
		1:                       {"CAP_CHOWN"},
		1<<40 | 1<<21 | 1:       {"CAP_CHECKPOINT_RESTORE", "CAP_SYS_ADMIN", "CAP_CHOWN", "CAP_CHOWN"},
		1<<41 - 1:               capNumbers,
		1 << unix.CAP_NET_RAW:   {"CAP_NET_RAW"},
		1<<unix.CAP_BPF | 1<<31: {"CAP_BPF", "CAP_SETFCAP"},
	} {
		if got, err := capMask(names); err != nil || got != want {
			t.Errorf("%v: %#x %v", names, got, err)
		}
	}
	for _, name := range []string{"", "CHOWN", "cap_chown", "ALL", "CAP_NEW_IN_2040"} {
		_, err := capMask([]string{"CAP_CHOWN", name})
		wantErr(t, err, nil, "unknown capability")
	}
}

func TestRlimitNames(t *testing.T) {
	if len(rlimits) != 16 { // RLIM_NLIMITS, asm-generic/resource.h
		t.Errorf("%d limits", len(rlimits))
	}
	seen := map[int]string{}
	for name, n := range rlimits {
		if other := seen[n]; other != "" || n < 0 || n > 15 {
			t.Errorf("%s is number %d, as is %s", name, n, other)
		}
		seen[n] = name
	}
}

func TestNewMountFix(t *testing.T) {
	for kind, want := range map[string]string{"proc": "--pid=host", "sysfs": "/sys,", "mqueue": "does not let a user namespace mount mqueue"} {
		if got := newMountFix(kind, unix.EPERM); !strings.Contains(got, want) {
			t.Errorf("%s: %q", kind, got)
		}
		if got := newMountFix(kind, unix.EINVAL); got != "" {
			t.Errorf("%s: advice %q for another error", kind, got)
		}
	}
}
