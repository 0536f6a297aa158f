package names

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// BenchmarkOwnName is one question for a container's name, without sockets.
func BenchmarkOwnName(b *testing.B) {
	s := fuzzServer()
	packet, from := pack(b, "web.", dnsmessage.TypeA), netip.MustParseAddr("127.1.0.2")
	b.ReportAllocs()
	for b.Loop() {
		if reply, _ := s.answer(netA.ID, from, packet, false); len(reply) == 0 {
			b.Fatal("no answer")
		}
	}
}

// BenchmarkRate asks at a steady rate on the loopback, askers and server in this
// process: the time a question takes, CPU for each (both sides), resident memory.
// For the figures: go test -run - -bench Rate -benchtime 5s ./slirp/names
func BenchmarkRate(b *testing.B) {
	for _, name := range []string{"web.", "example.org."} {
		for _, rate := range []int{1000, 10000} {
			b.Run(fmt.Sprintf("%s%d/s", name, rate), func(b *testing.B) { steady(b, name, rate) })
		}
	}
}

func steady(b *testing.B, name string, rate int) {
	r := newRig(b, Options{}, netA)
	const askers = 8
	for i := range askers {
		r.member(fmt.Sprint("w", i), on(netA, fmt.Sprint("127.1.0.", 10+i), "web"))
	}
	runtime.GC()
	base := resident()
	var mu sync.Mutex
	var took []time.Duration
	lost := 0
	cpu, start := cpuTime(), time.Now()
	total := rate * 3
	var wg sync.WaitGroup
	for i := range askers {
		wg.Go(func() {
			c := r.dial("udp", fmt.Sprint("127.1.0.", 10+i))
			defer c.Close()
			packet, buf := pack(b, name, dnsmessage.TypeA), make([]byte, 512)
			for k := i; k < total; k += askers {
				time.Sleep(time.Until(start.Add(time.Duration(k) * time.Second / time.Duration(rate))))
				at := time.Now()
				_ = c.SetDeadline(at.Add(2 * time.Second))
				_, _ = c.Write(packet)
				_, err := c.Read(buf)
				mu.Lock()
				if took = append(took, time.Since(at)); err != nil {
					lost++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	slices.Sort(took)
	b.ReportMetric(float64(total)/elapsed.Seconds(), "questions/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "µs-median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/float64(total), "µs-cpu/question")
	b.ReportMetric(float64(resident()-base), "KiB-more")
	b.ReportMetric(float64(lost), "lost")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident is the process's memory in KiB.
func resident() (kib int) {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib
		}
	}
	return 0
}

func (r *rig) dial(network, from string) net.Conn {
	local := netip.AddrPortFrom(netip.MustParseAddr(from), 0)
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local)}
	if network == "tcp" {
		d.LocalAddr = net.TCPAddrFromAddrPort(local)
	}
	c, err := d.Dial(network, r.at[netA.ID].String())
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}
