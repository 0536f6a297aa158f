package keeper

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// Run with -test.bench=. -test.run=^$; RC_NET names a real rc-net to measure.

func benchAttach(b *testing.B, ports ...slirp.Port) {
	h := newBenchHost(b)
	s := h.sandbox()
	for b.Loop() {
		c, err := slirp.Dial(h.runtime)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := c.Attach(slirp.Attach{ID: "bench", PID: s.pid, Ports: ports}, s.netns, s.userns, nil); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		c.Close()
		for len(h.children("slirp4netns")) > 0 {
			time.Sleep(time.Millisecond)
		}
		b.StartTimer()
	}
	b.ReportMetric(pss(h.keeperPID()), "keeper-PSS-KiB")
}

func BenchmarkAttach(b *testing.B) { benchAttach(b) }

func BenchmarkAttachWithPort(b *testing.B) {
	benchAttach(b, slirp.Port{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"})
}

func BenchmarkStartKeeper(b *testing.B) {
	h := newBenchHost(b)
	for b.Loop() {
		c := h.mustStart()
		b.StopTimer()
		c.Close()
		h.stop()
		b.StartTimer()
	}
}

func BenchmarkDialHello(b *testing.B) {
	h := newBenchHost(b)
	keep := h.mustStart()
	defer keep.Close()
	for b.Loop() {
		if h.keeperPID() == 0 {
			b.Fatal("no keeper")
		}
	}
}

func newBenchHost(b *testing.B) *host {
	b.Helper()
	m, err := userns.Resolve()
	if err != nil {
		b.Skip(err)
	}
	dir, err := os.MkdirTemp("", "rc-net-bench-")
	if err != nil {
		b.Fatal(err)
	}
	h := &host{b, dir, m}
	b.Cleanup(func() { h.stop(); _ = os.RemoveAll(dir) })
	return h
}

// pss is a process's share of memory in KiB; 0 where that may not be read.
func pss(pid int) float64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for line := range bytes.Lines(data) {
		var kib float64
		if n, _ := fmt.Sscanf(string(line), "Pss: %f kB", &kib); n == 1 {
			return kib
		}
	}
	return 0
}
