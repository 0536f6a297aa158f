package spec

import (
	"math"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/cgroup"
)

// diskLimits reads the flags about disks, with Docker's checks (docker/cli,
// opts/throttledevice.go and weightdevice.go): DEVICE:VALUE, DEVICE below /dev/.
func (b *builder) diskLimits() (err error) {
	r := &b.plan.Resources
	if b.o.BlkioWeight > math.MaxUint16 {
		return refuse("--blkio-weight", strconv.FormatUint(b.o.BlkioWeight, 10), "give 10 to 1000", "out of range")
	}
	r.BlkioWeight = uint16(b.o.BlkioWeight)
	for _, kind := range []struct {
		flag   string
		values []string
		to     *[]cgroup.DeviceLimit
		read   func(string) (uint64, error)
	}{
		{"--blkio-weight-device", b.o.BlkioWeightDevice, &r.BlkioWeightDevice, plainNumber},
		{"--device-read-bps", b.o.DeviceReadBps, &r.ReadBps, byteRate},
		{"--device-write-bps", b.o.DeviceWriteBps, &r.WriteBps, byteRate},
		{"--device-read-iops", b.o.DeviceReadIOps, &r.ReadIOps, plainNumber},
		{"--device-write-iops", b.o.DeviceWriteIOps, &r.WriteIOps, plainNumber},
	} {
		for _, value := range kind.values {
			limit, err := b.diskLimit(kind.flag, value, kind.read)
			if err != nil {
				return err
			}
			*kind.to = append(*kind.to, limit)
		}
	}
	return nil
}

func (b *builder) diskLimit(flag, value string, read func(string) (uint64, error)) (limit cgroup.DeviceLimit, err error) {
	// The last colon: a name in /dev/disk/by-path may hold others.
	at := strings.LastIndexByte(value, ':')
	if at < 0 || !strings.HasPrefix(value, "/dev/") {
		return limit, refuse(flag, value, "write /dev/NAME:VALUE, as in "+flag+" "+exampleOf(flag), "not a device and a value")
	}
	limit.Path = value[:at]
	if limit.Limit, err = read(value[at+1:]); err != nil {
		return limit, badFlag(flag, value, err, "write a number, as in "+flag+" "+exampleOf(flag))
	}
	disk, err := cgroup.FindDisk(limit.Path)
	if err != nil {
		if limit.Limit == 0 { // to lift the limit on a disk that is gone
			return limit, nil
		}
		return limit, badFlag(flag, value, err, "")
	}
	if disk.IsPartition && limit.Limit > 0 {
		b.warn(flag + " " + quoted(value) + ": " + limit.Path + " is a partition, and the kernel limits whole disks: it counts what goes to all of disk " + disk.Number)
	}
	return limit, nil
}

func exampleOf(flag string) string {
	switch {
	case strings.HasSuffix(flag, "-bps"):
		return "/dev/sda:10mb"
	case strings.HasSuffix(flag, "-iops"):
		return "/dev/sda:1000"
	}
	return "/dev/sda:500"
}

func plainNumber(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		err = err.(*strconv.NumError).Err
	}
	return n, err
}

func byteRate(s string) (uint64, error) {
	n, err := cgroup.ParseBytes(s)
	return uint64(n), err
}

// hugePages reads --hugetlb PAGESIZE:BYTES. Neither Docker nor podman has a flag
// for what the runtime-spec calls hugepageLimits; the value is written as theirs
// for disks are.
func (b *builder) hugePages() error {
	const form = "write PAGESIZE:BYTES, as in 2MB:64m; -1 is no limit"
	for _, value := range b.o.Hugetlb {
		size, bytes, ok := strings.Cut(value, ":")
		if !ok || bytes == "" {
			return refuse("--hugetlb", value, form, "not a size of pages and a limit")
		}
		n, err := cgroup.ParseMemorySwap(bytes) // takes -1
		if err != nil {
			return badFlag("--hugetlb", value, err, form)
		}
		if b.plan.Resources.Hugetlb == nil {
			b.plan.Resources.Hugetlb = map[string]int64{}
		}
		b.plan.Resources.Hugetlb[size] = n
	}
	return (cgroup.Resources{Hugetlb: b.plan.Resources.Hugetlb}).Validate()
}

// cgroupConf reads podman's --cgroup-conf FILE=VALUE. "FILE=" is for `rc update`:
// as it was without.
func (b *builder) cgroupConf() error {
	for _, value := range b.o.CgroupConf {
		file, text, ok := strings.Cut(value, "=")
		if !ok {
			return refuse("--cgroup-conf", value, "write FILE=VALUE, as in memory.high=512M", "no value is given")
		}
		if text != "" {
			if _, err := cgroup.CheckConf(file, text); err != nil {
				return badFlag("--cgroup-conf", value, err, "")
			}
		}
		conf := &b.plan.Resources.Conf
		if *conf == nil {
			*conf = map[string]string{}
		}
		if before := (*conf)[file]; before != "" && file == "io.max" {
			text = before + "\n" + text // a line for each disk
		}
		(*conf)[file] = text
	}
	return nil
}

// cgroupPlace reads where the group is to stand.
func (b *builder) cgroupPlace() error {
	b.plan.Place = cgroup.Place{Parent: b.o.CgroupParent, Fallback: b.o.CgroupFallback}
	p := &b.plan.Place
	switch b.o.Cgroups {
	case "", "enabled":
	case "split":
		p.Mode = cgroup.PlaceSplit
	case "disabled":
		p.Mode = cgroup.PlaceDisabled
	case "no-conmon":
		return refuse("--cgroups", b.o.Cgroups, "use enabled", "rc's own processes never stand in a container's cgroup")
	default:
		return refuse("--cgroups", b.o.Cgroups, "use enabled, split or disabled", "there is no such way")
	}
	if p.Mode == cgroup.PlaceDisabled {
		switch {
		case p.Parent != "":
			return refuse("--cgroup-parent", p.Parent, "leave out --cgroups=disabled", "without a cgroup there is none to stand in")
		case !b.plan.Resources.Empty():
			return refuse("--cgroups", b.o.Cgroups, "leave it out, or the limits", "without a cgroup nothing is limited")
		}
	}
	return p.Validate()
}
