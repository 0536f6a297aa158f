package cgroup

import (
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// maxCPU bounds a cpuset's numbers, so that "0-4000000000" cannot make us build
// a list of them. The largest CONFIG_NR_CPUS of any architecture is 8192.
const maxCPU = 8192

// ParseBytes reads a size as Docker's command line does (docker/go-units,
// RAMInBytes): a number, which may have a fraction, and one of b k m g t p in
// either case, optionally followed by b or ib. All units are powers of 1024:
// "256m", "256MB" and "256MiB" are the same. "" is 0.
func ParseBytes(s string) (int64, error) {
	bad := func(why string) (int64, error) {
		return 0, hint.Newf("read the size "+strconv.Quote(s), `write a number and a unit, as in "256m" or "1.5g"`, "%s", why)
	}
	if s == "" {
		return 0, nil
	}
	end := strings.LastIndexAny(s, "0123456789.") + 1
	num, unit := s[:end], strings.ToLower(strings.TrimPrefix(s[end:], " "))
	shift, ok := unitShift(unit)
	if !ok {
		return bad("no such unit: " + strconv.Quote(unit))
	}
	// Checked by hand: ParseFloat also takes "inf", "1e9" and "0x1p4".
	whole, frac, _ := strings.Cut(num, ".")
	if whole+frac == "" || !digits(whole) || !digits(frac) {
		return bad("not a number")
	}
	n, err := strconv.ParseUint("0"+whole, 10, 63)
	if err != nil || n > (1<<63-1)>>shift {
		return bad("too large")
	}
	n <<= shift
	if frac != "" {
		// Rounded down, as go-units does: "1.5k" is 1536, "0.0001b" is 0.
		f, _ := strconv.ParseFloat("0."+frac, 64) // digits only: cannot fail
		n += uint64(f * float64(uint64(1)<<shift))
	}
	if n > 1<<63-1 {
		return bad("too large")
	}
	return int64(n), nil
}

// ParseMemorySwap is ParseBytes that also takes "-1", Docker's "no limit".
func ParseMemorySwap(s string) (int64, error) {
	if s == "-1" {
		return -1, nil
	}
	return ParseBytes(s)
}

func unitShift(unit string) (uint, bool) {
	if unit == "" || unit == "b" {
		return 0, true
	}
	i := strings.IndexByte("kmgtp", unit[0])
	if rest := unit[1:]; i < 0 || (rest != "" && rest != "b" && rest != "ib") {
		return 0, false
	}
	return uint(i+1) * 10, true
}

func digits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// ParseCPUs reads a number of CPUs with at most nine decimals, as Docker's
// --cpus does, and returns billionths of one CPU: "0.5" is 500000000. "" is 0.
func ParseCPUs(s string) (int64, error) {
	bad := func(why string) (int64, error) {
		return 0, hint.Newf("read the number of CPUs "+strconv.Quote(s), `write a number of CPUs, as in "0.5" or "2"`, "%s", why)
	}
	if s == "" {
		return 0, nil
	}
	whole, frac, _ := strings.Cut(s, ".")
	if whole+frac == "" || !digits(whole) || !digits(frac) {
		return bad("not a number")
	}
	if len(frac) > 9 {
		return bad("more than nine decimals")
	}
	n, err := strconv.ParseInt("0"+whole+frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	if err != nil {
		return bad("too large")
	}
	return n, nil
}

// ParseCpuset reads the kernel's list format (cpuset(7), "List format"): numbers
// and ranges separated by commas. The result is sorted and free of duplicates;
// "" is nil. Whether these CPUs exist is found when the limit is set.
func ParseCpuset(s string) ([]int, error) {
	if s == "" {
		return nil, nil
	}
	cpus, why := cpuList(s)
	if why != "" {
		return nil, hint.Newf("read the CPU list "+strconv.Quote(s), `write CPU numbers, as in "0-2,4"`, "%s", why)
	}
	return cpus, nil
}

func cpuList(s string) (cpus []int, why string) {
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 32)
		b, errB := strconv.ParseUint(last, 10, 32)
		switch {
		case errA != nil || errB != nil:
			return nil, strconv.Quote(part) + " is neither a number nor a range"
		case a > b:
			return nil, "the range " + part + " runs backwards"
		case b >= maxCPU:
			return nil, "no machine has a CPU " + strconv.FormatUint(b, 10)
		}
		for n := int(a); n <= int(b); n++ {
			cpus = append(cpus, n)
		}
	}
	slices.Sort(cpus)
	return slices.Compact(cpus), ""
}
