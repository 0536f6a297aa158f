package limits

import (
	"fmt"
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

const mib = 1 << 20

// disk limits are for /dev/vda, on which the user's home is; all by direct I/O,
// since what the page cache takes is written back by the kernel.
func (l *lab) disk() {
	l.do(run("", "load write /disk/f "+fmt.Sprint(8*mib)))
	free := l.do(run("", "load read /disk/f "+fmt.Sprint(8*mib)))
	l.Logf("without a limit: %s bytes/s", free)
	l.near("--device-write-bps=/dev/vda:1mb", l.do(run("--device-write-bps=/dev/vda:1mb", "load write /disk/f "+fmt.Sprint(4*mib))), mib, 0.15*mib)
	l.near("--device-read-bps=/dev/vda:1mb", l.do(run("--device-read-bps=/dev/vda:1mb", "load read /disk/f "+fmt.Sprint(4*mib))), mib, 0.15*mib)
	l.near("--device-write-iops=/dev/vda:50", l.do(run("--device-write-iops=/dev/vda:50", "load iops /disk/g 250")), 50, 7.5)

	l.start("--device-write-bps=/dev/vda:1mb --device-read-bps=/dev/vda:3mb")
	l.near("an exec", l.do("rc exec box load write /disk/f "+fmt.Sprint(4*mib)), mib, 0.15*mib)
	l.do("rc update --device-write-bps=/dev/vda:2mb box")
	l.near("after update", l.do("rc exec box load write /disk/f "+fmt.Sprint(8*mib)), 2*mib, 0.30*mib)
	l.near("what was not updated", l.do("rc exec box load read /disk/f "+fmt.Sprint(8*mib)), 3*mib, 0.45*mib)
	// Two at once have it together.
	l.near("two execs", l.do("(rc exec box load write /disk/f "+fmt.Sprint(4*mib)+"; rc exec box true) & rc exec box load write /disk/g "+fmt.Sprint(4*mib)+"; wait"), mib, 0.3*mib)
	l.do("rc update --device-write-bps=/dev/vda:0 box")
	l.is("io.max", l.file("box", "io.max"), "254:0 rbps=3145728 wbps=max riops=max wiops=max")
	l.do("rc update --device-read-bps=/dev/vda:0 --device-read-iops=/dev/vda:100 --device-write-iops=/dev/vda:100 box")
	l.is("io.max", l.file("box", "io.max"), "254:0 rbps=max wbps=max riops=100 wiops=100")

	l.says(run("--device-read-bps=/dev/null:1mb", "true"), "/dev/null", "no block device")
	l.says(run("--device-read-bps=/dev/nosuch:1mb", "true"), "/dev/nosuch")
	l.partition()
}

// A partition's limit is its disk's, with a line that says so.
func (l *lab) partition() {
	r := l.as(guest.Root, `truncate -s 8M /tmp/img && mbr() { dd of=/tmp/img bs=1 seek=$1 conv=notrunc status=none; } &&
		printf '\0\0\0\0\x83\0\0\0\0\x08\0\0\0\x20\0\0' | mbr 446 && printf '\x55\xaa' | mbr 510 && losetup -P -f --show /tmp/img`)
	loop := strings.TrimSpace(r.Stdout)
	if r.Code != 0 {
		l.Logf("no disk with a partition here: %s", r.Stderr)
		return
	}
	defer l.as(guest.Root, "losetup -d "+loop)
	number := l.do("cat /sys/block/" + strings.TrimPrefix(loop, "/dev/") + "/dev")
	out := l.try("rc run -d --name part --network none --device-read-bps=" + loop + "p1:1mb limits load sleep 1000")
	if out.Code != 0 || !strings.Contains(out.Stderr, "whole disk") || !strings.Contains(out.Stderr, number) {
		l.Errorf("%d %s", out.Code, out.Stderr)
	}
	l.is("io.max of the partition's disk", l.file("part", "io.max"), number+" rbps=1048576 wbps=max riops=max wiops=max")
}

func (l *lab) weights() {
	l.start("--blkio-weight=200")
	l.is("io.weight of 200", l.file("box", "io.weight"), "default 1920") // 1 + 190·9999/990
	l.do("rc update --blkio-weight=10 box")
	l.is("io.weight of 10", l.file("box", "io.weight"), "default 1")
	l.do("rc update --blkio-weight=0 box")
	l.is("io.weight of none", l.file("box", "io.weight"), "default 100")
	l.says("rc update --blkio-weight=5 box", "--blkio-weight", "10 to 1000")
	l.says(run("--blkio-weight-device=/dev/vda:200", "true"), "--blkio-weight-device", "/dev/vda", "scheduler")
	if r := l.as(guest.Root, "modprobe bfq && echo bfq >/sys/block/vda/queue/scheduler"); r.Code != 0 {
		l.Logf("this kernel has no BFQ: %s", r.Stderr)
		return
	}
	defer l.as(guest.Root, "echo none >/sys/block/vda/queue/scheduler")
	l.start("--blkio-weight=200 --blkio-weight-device=/dev/vda:300")
	l.is("BFQ's", l.file("box", "io.bfq.weight"), "default 200\n254:0 300")
	l.do("rc update --blkio-weight-device=/dev/vda:0 box")
	l.is("BFQ's, lifted", l.file("box", "io.bfq.weight"), "default 200")
}
