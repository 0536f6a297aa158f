package bridge

import (
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkConnect reports the median: what a start pays, the bridge being there.
func BenchmarkConnect(b *testing.B) {
	for _, c := range []struct {
		name    string
		subnets []string
		beside  int // others on the network
	}{
		{"v4", []string{"10.89.0.0/16"}, 1},
		{"v4v6", []string{"10.89.0.0/16", "fd5c:1::/64"}, 1},
		{"v4 beside 300", []string{"10.89.0.0/16"}, 300},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := open(b, nil, Options{})
			n := testNetwork("bench", c.subnets...)
			for range c.beside {
				newBox(b).join(w, on(n))
			}
			var times []time.Duration
			var cpu time.Duration // of the World's thread: what a busy host does not hide
			for b.Loop() {
				x := newBox(b)
				begin, spent := time.Now(), threadTime(w)
				x.join(w, on(n))
				times = append(times, time.Since(begin))
				cpu += threadTime(w) - spent
				w.Gone(x.id)
				x.end()
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(times[len(times)/10].Microseconds()), "µs-p10")
			b.ReportMetric(float64(times[len(times)*95/100].Microseconds()), "µs-p95")
			b.ReportMetric(float64(cpu.Microseconds())/float64(len(times)), "µs-cpu")
		})
	}
}

// BenchmarkOpen is what the first container of a keeper waits for, in part.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		w := open(b, nil, Options{})
		w.Close()
	}
}

func threadTime(w *World) time.Duration {
	var ts unix.Timespec
	_ = w.Do(func() error { return unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) })
	return time.Duration(ts.Nano())
}
