package cgroup

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// DeviceLimit is a limit on one disk.
type DeviceLimit struct {
	Path  string // of the device node, "/dev/vda"; looked up anew at each start
	Limit uint64 // bytes or requests a second, or a weight; 0: none
}

// Disk is what the kernel can limit: a whole block device.
type Disk struct {
	Number      string // "MAJOR:MINOR"
	IsPartition bool   // the path names a part of it
}

// FindDisk looks up a device node. For a partition it is the disk that holds it:
// the kernel schedules and limits whole devices, and refuses a partition's number
// with ENODEV (block/blk-cgroup.c, blkg_conf_open_bdev). systemd does the same with
// IOReadBandwidthMax= and its like (systemd.resource-control(5)).
func FindDisk(path string) (Disk, error) { return findDisk(path, "/sys/dev/block") }

func findDisk(path, sys string) (Disk, error) {
	op := "find the disk " + path
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return Disk{}, hint.New(op, err, "name a block device, as in /dev/sda: lsblk")
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return Disk{}, hint.Newf(op, "name a block device, as in /dev/sda: lsblk", "it is no block device")
	}
	number := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev)))
	return wholeDisk(number, sys), nil
}

// wholeDisk turns a partition's number into its disk's. Each entry of sys is a link
// to the device's folder, and a partition's folder stands in its disk's
// (Documentation/admin-guide/sysfs-rules.rst).
func wholeDisk(number, sys string) Disk {
	if _, err := os.Stat(sys + "/" + number + "/partition"); err != nil {
		return Disk{Number: number}
	}
	text, err := os.ReadFile(sys + "/" + number + "/../dev")
	if err != nil {
		return Disk{Number: number} // the kernel will say what it thinks of it
	}
	return Disk{strings.TrimSpace(string(text)), true}
}

// diskOf is FindDisk; tests, which have no disks, put their own here.
var diskOf = FindDisk

const (
	ioMax    = "io.max"
	ioWeight = "io.weight"

	// The range is that of version 1, which Docker kept (moby,
	// daemon/daemon_unix.go: blkio weight).
	minBlkioWeight, maxBlkioWeight = 10, 1000
)

// io are the limits on disks.
func (r Resources) io() (s []setting, err error) {
	if w := uint64(r.BlkioWeight); w != 0 {
		if err := checkBlkioWeight("--blkio-weight", w); err != nil {
			return nil, err
		}
		s = append(s, setting{controller: "io", file: ioWeight, value: strconv.FormatUint(w, 10), flag: "--blkio-weight"})
	}
	for _, d := range r.BlkioWeightDevice {
		if d.Limit == 0 {
			continue
		}
		if err := checkBlkioWeight("--blkio-weight-device", d.Limit); err != nil {
			return nil, err
		}
		s = append(s, setting{controller: "io", file: ioWeight, value: strconv.FormatUint(d.Limit, 10), flag: "--blkio-weight-device", disk: d.Path})
	}
	for _, kind := range []struct {
		flag, key string
		list      []DeviceLimit
	}{
		{"--device-read-bps", "rbps", r.ReadBps}, {"--device-write-bps", "wbps", r.WriteBps},
		{"--device-read-iops", "riops", r.ReadIOps}, {"--device-write-iops", "wiops", r.WriteIOps},
	} {
		for _, d := range kind.list {
			if d.Limit > 0 { // Docker: 0 is no limit
				s = append(s, setting{controller: "io", file: ioMax, value: kind.key + "=" + strconv.FormatUint(d.Limit, 10), flag: kind.flag, disk: d.Path})
			}
		}
	}
	return s, nil
}

func checkBlkioWeight(flag string, w uint64) error {
	if w < minBlkioWeight || w > maxBlkioWeight {
		return refuse(flag, "give 10 to 1000", "out of range")
	}
	return nil
}

// applyDisk writes the line of one disk.
func (d *dir) applyDisk(set setting) error {
	disk, err := diskOf(set.disk)
	if err != nil {
		if set.optional { // a disk that is gone has no limit
			return nil
		}
		return err
	}
	if set.file == ioWeight {
		return d.weigh(set, disk.Number+" ")
	}
	err = d.write(set.file, disk.Number+" "+set.value)
	return whyNotApplied(set, err)
}

// weigh writes a weight of version 1 (10 to 1000, where 500 was the default) in
// both places where version 2 may look for it, as systemd does, because the two
// belong to different schedulers and nobody tells which one a disk uses: BFQ's own
// file, in BFQ's range of 1 to 1000 as it is (runc, fs2/io.go), and that of
// io.cost, on runc's and crun's straight line from 10–1000 to 1–10000.
func (d *dir) weigh(set setting, line string) error {
	bfq, cost := set.value, set.value
	if w, err := strconv.ParseUint(set.value, 10, 16); err == nil {
		cost = strconv.FormatUint(costWeight(w), 10)
	} else if line == "" {
		bfq, cost = "100", "default 100" // both defaults are 100 (cgroup-v2.rst; bfq-iosched.rst)
	}
	var refused error
	written := false
	for _, to := range []struct{ file, value string }{{"io.bfq.weight", bfq}, {ioWeight, cost}} {
		if !d.has(to.file) {
			continue
		}
		// One disk: the scheduler that it has not refuses (EOPNOTSUPP).
		if err := d.write(to.file, line+to.value); err != nil {
			refused = err
			continue
		}
		written = true
	}
	switch {
	case written || set.optional:
		return nil
	case refused != nil:
		return whyNotApplied(set, refused)
	}
	return hint.Newf("apply "+set.flag, "load one: sudo modprobe bfq; or limit the rate: --device-read-bps, --device-write-bps",
		"this kernel has no scheduler of disks with weights (neither io.bfq.weight nor io.weight)")
}

// costWeight is runc's ConvertBlkIOToIOWeightValue and crun's CONVERT_WEIGHT_TO_CGROUPS_V2.
func costWeight(w uint64) uint64 { return 1 + (w-minBlkioWeight)*9999/990 }
