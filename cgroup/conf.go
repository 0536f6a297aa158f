package cgroup

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// hugePages limits each size of huge pages twice, as runc does: what is touched,
// where too much is SIGBUS, and what is reserved, where too much is ENOMEM from
// mmap(2) (hugetlb_rsvd, Linux 5.7; hugetlb.rst of cgroup-v1, "reservation").
func (r Resources) hugePages() (s []setting, err error) {
	for _, size := range slices.Sorted(maps.Keys(r.Hugetlb)) {
		if !pageSize(size) {
			return nil, refuse("--hugetlb", "write it as the kernel does: ls /sys/fs/cgroup/*/hugetlb.*.max; 2MB or 1GB on most machines", "no size of huge pages is written "+strconv.Quote(size))
		}
		value := "max"
		if n := r.Hugetlb[size]; n >= 0 {
			value = strconv.FormatInt(n, 10)
		}
		for _, kind := range []string{".rsvd.max", ".max"} {
			s = append(s, setting{controller: "hugetlb", file: "hugetlb." + size + kind, value: value, mirror: true, flag: "--hugetlb", optional: kind != ".max"})
		}
	}
	return s, nil
}

// pageSize tells whether s is a size in the kernel's words: mm/hugetlb_cgroup.c,
// mem_fmt, writes KB, MB or GB after a whole number.
func pageSize(s string) bool {
	n := len(s) - 2
	return n > 0 && slices.Contains([]string{"KB", "MB", "GB"}, s[n:]) && s[0] != '0' && digits(s[:n])
}

// conf adds the files that the user wrote by name. They come last and win over
// the flags for the same file, as in runc and crun ("unified" of the runtime-spec).
func (r Resources) conf(s []setting) ([]setting, error) {
	for _, file := range slices.Sorted(maps.Keys(r.Conf)) {
		controller, err := CheckConf(file, r.Conf[file])
		if err != nil {
			return nil, err
		}
		s = slices.DeleteFunc(s, func(o setting) bool { return o.file == file })
		for line := range strings.SplitSeq(r.Conf[file], "\n") { // io.max and its like take a line for each disk
			s = append(s, setting{controller: controller, file: file, value: line, flag: "--cgroup-conf " + file})
		}
	}
	return s, nil
}

// CheckConf refuses what is no interface file of a controller, or one that would
// undo what rc does with the group, and names the controller: "" for the core.
func CheckConf(file, value string) (controller string, err error) {
	op := "--cgroup-conf " + strconv.Quote(file)
	controller, rest, ok := strings.Cut(file, ".")
	switch {
	case !ok || rest == "" || strings.Trim(file, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "":
		return "", hint.Newf(op, "write FILE=VALUE, as in memory.high=512M", "not the name of a file of a controller")
	case strings.TrimSpace(value) == "":
		return "", hint.Newf(op, "write FILE=VALUE, as in memory.high=512M", "no value is given")
	case controller == "cgroup" && file != "cgroup.max.depth" && file != "cgroup.max.descendants":
		return "", hint.Newf(op, "leave it out", "this file is rc's own to write")
	case controller == "cgroup":
		controller = ""
	}
	return controller, nil
}

// whyNotApplied words what the kernel said to the value of a limit; nil stays nil.
func whyNotApplied(set setting, err error) error {
	fix := ""
	switch {
	case err == nil || errors.Is(err, unix.ENOENT) && set.optional:
		return nil
	case errors.Is(err, unix.ENOENT) && set.controller == "hugetlb":
		fix = "name a size that this machine has: ls /sys/kernel/mm/hugepages"
	case errors.Is(err, unix.ENOENT):
		fix = "this kernel has no such file: see cgroup-v2.rst of its documentation"
	case errors.Is(err, unix.ENODEV) && set.disk != "":
		fix = "name a whole disk: lsblk"
	case errors.Is(err, unix.ENODEV): // io.weight of a disk without io.cost says EOPNOTSUPP
		fix = "give the MAJOR:MINOR of a whole disk: lsblk"
	case errors.Is(err, unix.ENOSPC): // of a cpuset: nothing is left of it
		fix = "name some that the group above has: cat cpuset.cpus.effective there"
	case errors.Is(err, unix.EOPNOTSUPP):
		fix = "its scheduler has no weights: echo bfq | sudo tee /sys/block/DISK/queue/scheduler; or limit the rate: --device-read-bps"
	case errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ERANGE):
		fix = "see what this file takes: cgroup-v2.rst of the kernel's documentation"
	}
	value := set.value
	if set.disk != "" {
		value = set.disk + " " + value
	}
	return hint.New("apply "+set.flag+" ("+value+")", err, fix)
}
