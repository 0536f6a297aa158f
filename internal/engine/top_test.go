package engine

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func idMap(id int) []syscall.SysProcIDMap {
	return []syscall.SysProcIDMap{{ContainerID: 0, HostID: id, Size: 1}}
}

func TestFilterTop(t *testing.T) {
	const out = "UID          PID    PPID CMD\nroot           1       0 /sbin/init splash\nme            42       1 sh -c  sleep\nme           -       - thread\n" +
		"you           43       1 other\nyou          -       - not ours\nme           44      42\n"
	table, err := filterTop(out, []int{42, 44})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range table {
		got = append(got, strings.Join(row, "|"))
	}
	if want := "UID|PID|PPID|CMD,me|42|1|sh -c sleep,me|-|-|thread,me|44|42|"; strings.Join(got, ",") != want {
		t.Errorf("%v\nwant %s", got, want)
	}
	for _, bad := range []string{"", "UID CMD\nme sh\n", "PID CMD\nabc sh\n"} {
		if table, err := filterTop(bad, []int{1}); err == nil {
			t.Errorf("%q: %v", bad, table)
		}
	}
}

func TestCheckTop(t *testing.T) {
	for options, ok := range map[string]bool{
		"-ef": true, "aux": true, "-o pid,comm": true, "-o pid=PID": true, "-o pid= PIDS -o comm": true,
		"-o comm=PID": false, "-eo ppid=PID2 -o pid": false, "-o pid,comm=PIDX": false,
	} {
		if err := checkTop(strings.Fields(options)); (err == nil) != ok {
			t.Errorf("%s: %v", options, err)
		}
	}
}

func TestNetBytes(t *testing.T) {
	const head = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n"
	rx, tx := netBytes(head + "    lo:    1000    5    0    0    0     0          0         0     1000    5    0    0    0     0       0          0\n" +
		"  tap0:110       1    0    0    0     0          0         0      602       7    0    0    0     0       0          0\n" +
		"  eth1:     5       1    0    0    0     0          0         0      7       7    0    0    0     0       0          0\n torn: 1 2\n")
	if rx != 115 || tx != 609 {
		t.Errorf("%d %d", rx, tx)
	}
}

func TestKibibytes(t *testing.T) {
	const text = "Rss:                2000 kB\nPss:                 944 kB\nSwapPss:               0 kB\n"
	for key, want := range map[string]uint64{"Pss:": 944 << 10, "Rss:": 2000 << 10, "SwapPss:": 0, "Nosuch:": 0} {
		if got := kibibytes(text, key); got != want {
			t.Errorf("%s %d, want %d", key, got, want)
		}
	}
	if HostMemory() < 1<<20 {
		t.Error(fmt.Sprint("this host has ", HostMemory(), " bytes of memory"))
	}
}
