package spec

import (
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// tmpfsFlags reads --tmpfs PATH[:OPTIONS].
func (b *builder) tmpfsFlags() error {
	for _, value := range b.o.Tmpfs {
		dest, list, _ := strings.Cut(value, ":")
		var options []string
		if list != "" {
			options = strings.Split(list, ",")
		}
		if err := b.addTmpfs("--tmpfs", value, dest, options); err != nil {
			return err
		}
	}
	return nil
}

// addTmpfs merges options over Docker's noexec,nosuid,nodev: of the options that
// exclude each other, the last one counts (moby/sys/mount, MergeTmpfsOptions).
func (b *builder) addTmpfs(flag, value, dest string, options []string) error {
	merged := []string{"noexec", "nosuid", "nodev"}
	for _, o := range options {
		slot, why := tmpfsSlot(o)
		// Refused here: the kernel's answer to an unknown option is EINVAL in init,
		// after everything was made, and names no flag.
		if why != "" {
			return refuse(flag, value, "the options are size, mode, uid, gid, nr_inodes, nr_blocks, mpol, ro, rw, exec, suid, dev, sync, dirsync, noatime, nodiratime, relatime, strictatime, and their no-forms",
				"%s: %s", quoted(o), why)
		}
		merged = slices.DeleteFunc(merged, func(m string) bool {
			s, _ := tmpfsSlot(m)
			return s == slot
		})
		if !tmpfsDefault(o) {
			merged = append(merged, o)
		}
	}
	return b.add(mount{flag: flag, value: value, spec: specs.Mount{Destination: dest, Type: "tmpfs", Source: "tmpfs", Options: merged}})
}

// tmpfsDefault tells whether an option asks for what a new mount is without it.
func tmpfsDefault(option string) bool {
	switch option {
	case "defaults", "private", "rprivate", "slave", "rslave", "rw", "exec", "suid", "dev", "async", "atime", "diratime",
		"mand", "nomand", "norelatime", "nostrictatime": // mand: without effect since Linux 5.15
		return true
	}
	return false
}

// tmpfsSlot names what an option decides; two options of one slot exclude each
// other. why is not empty for what tmpfs(5) and mount(8) do not know.
func tmpfsSlot(option string) (slot, why string) {
	switch option {
	case "defaults", "private", "rprivate", "slave", "rslave": // without meaning for a mount that nobody shares
		return "defaults", ""
	case "ro", "rw":
		return "ro", ""
	case "exec", "noexec", "suid", "nosuid", "dev", "nodev", "diratime", "nodiratime", "mand", "nomand":
		return strings.TrimPrefix(option, "no"), ""
	case "sync", "async", "dirsync":
		return "sync", ""
	case "atime", "noatime", "relatime", "norelatime", "strictatime", "nostrictatime":
		return "atime", ""
	}
	key, text, ok := strings.Cut(option, "=")
	if !ok {
		return "", "no option of a tmpfs"
	}
	switch key {
	case "size", "nr_blocks", "nr_inodes":
		digits := strings.TrimRight(text, "kKmMgG")
		if key == "size" {
			digits = strings.TrimSuffix(strings.TrimRight(text, "kKmMgGtT"), "%")
		}
		if _, err := strconv.ParseUint(digits, 10, 63); err != nil || len(text)-len(digits) > 1 {
			return "", "not a size"
		}
	case "mode":
		if _, err := strconv.ParseUint(text, 8, 12); err != nil {
			return "", "not a file mode in octal"
		}
	case "uid", "gid":
		if _, err := strconv.ParseUint(text, 10, 31); err != nil {
			return "", "not the number of an id"
		}
	case "mpol":
	default:
		return "", "no option of a tmpfs"
	}
	return key, ""
}
