package slirp

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// limitNames are for people; the order is the kernel's numbers.
var limitNames = [limits]string{
	"processor time", "file size", "data size", "stack size", "core size", "resident memory", "processes", "open files",
	"locked memory", "address space", "file locks", "pending signals", "message queues", "nice", "realtime priority", "realtime time",
}

// ApplyTo gives the waiting child pid what p says. less names what the kernel does
// not let us give, because we have less of it ourselves: a hard limit, a nice value
// or an OOM score cannot be made better by a user.
func (p *Process) ApplyTo(pid int) (less []string, err error) {
	if len(p.Limits) > limits {
		return nil, fmt.Errorf("%d limits: %w", len(p.Limits), unix.EINVAL)
	}
	for which, want := range p.Limits {
		lower, err := applyLimit(pid, which, want)
		if err != nil {
			return nil, fmt.Errorf("limit of %s: %w", limitNames[which], err)
		}
		if lower {
			less = append(less, "the hard limit of "+limitNames[which])
		}
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, pid, p.Nice); errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		less = append(less, "the nice value")
	} else if err != nil {
		return nil, os.NewSyscallError("setpriority", err)
	}
	var set unix.CPUSet
	if len(p.CPUs) > len(set) {
		return nil, fmt.Errorf("%d words of processors: %w", len(p.CPUs), unix.EINVAL)
	}
	for i, word := range p.CPUs {
		for bit := range bits.UintSize {
			if word>>bit&1 != 0 {
				set.Set(i*bits.UintSize + bit)
			}
		}
	}
	if len(p.CPUs) > 0 {
		if err := unix.SchedSetaffinity(pid, &set); err != nil {
			return nil, os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return p.applyScore(pid, less)
}

func (p *Process) applyScore(pid int, less []string) ([]string, error) {
	now, err := readScore(pid)
	if err != nil || now == p.OOMScoreAdj {
		return less, err
	}
	err = os.WriteFile(scoreFile(pid), []byte(strconv.Itoa(p.OOMScoreAdj)), 0)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return append(less, "the OOM score"), nil
	}
	return less, err
}

// applyLimit sets one; lower tells that our own hard limit is below want's.
func applyLimit(pid, which int, want Limit) (lower bool, err error) {
	l := unix.Rlimit{Cur: want.Cur, Max: want.Max}
	err = unix.Prlimit(pid, which, &l, nil)
	if !errors.Is(err, unix.EPERM) {
		return false, err
	}
	var now unix.Rlimit
	if err := unix.Prlimit(pid, which, nil, &now); err != nil {
		return false, err
	}
	l = unix.Rlimit{Cur: min(want.Cur, now.Max), Max: now.Max}
	return true, unix.Prlimit(pid, which, &l, nil)
}

func scoreFile(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/oom_score_adj" }

func readScore(pid int) (int, error) {
	text, err := os.ReadFile(scoreFile(pid))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
