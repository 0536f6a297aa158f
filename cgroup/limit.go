package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// apply writes one limit and sees to it that it is in force.
func (d *dir) apply(set setting) error {
	if set.disk != "" {
		return d.applyDisk(set)
	}
	if set.file == ioWeight && set.flag == "--blkio-weight" {
		return d.weigh(set, "")
	}
	err := d.write(set.file, set.value)
	if errors.Is(err, unix.ENOSPC) && set.value == emptyList {
		err = d.writeAll(set.file)
	}
	switch {
	// The one file whose write succeeds and still does not hold.
	case err == nil && set.file == "cpuset.cpus":
		return d.cpusHold(set)
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOENT) && set.file == "memory.swap.max":
		// No swap accounting. Without swap on the host the limit holds by itself.
		if set.optional || !hostHasSwap() {
			return nil
		}
		return hint.New("apply --memory-swap", err, "boot with swapaccount=1 on the kernel's command line, or leave --memory-swap out")
	}
	return whyNotApplied(set, err)
}

// writeAll gives a group all CPUs or memory nodes of the one above it: where
// processes stand in it the kernel does not let the list be emptied (ENOSPC;
// kernel/cgroup/cpuset.c, validate_change).
func (d *dir) writeAll(file string) error {
	up, err := d.at("..")
	if err != nil {
		return err
	}
	defer up.close()
	all, err := up.read(file + ".effective")
	if err != nil {
		return err
	}
	return d.write(file, strings.TrimSpace(all))
}

// cpusHold checks a cpuset against what the kernel made of it: CPUs that the
// parent does not have are dropped in silence, and when none is left the
// parent's own are used (cgroup-v2.rst, "cpuset.cpus.effective").
func (d *dir) cpusHold(set setting) error {
	asked, _ := cpuList(set.value)
	text, err := d.read("cpuset.cpus.effective")
	if err != nil {
		return hint.New("apply "+set.flag, err, "")
	}
	effective, _ := cpuList(text)
	for _, cpu := range asked {
		if !slices.Contains(effective, cpu) {
			return hint.Newf("apply "+set.flag+"="+set.value, "ask for CPUs that the parent group has: cat "+filepath.Dir(d.path)+"/cpuset.cpus.effective",
				"CPU %d is not available", cpu)
		}
	}
	return nil
}

func hostHasSwap() bool {
	text, err := os.ReadFile("/proc/swaps")
	return err != nil || strings.Count(string(text), "\n") > 1
}
