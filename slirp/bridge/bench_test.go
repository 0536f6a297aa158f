package bridge

import (
	"slices"
	"testing"
	"time"
)

// BenchmarkConnect reports the median: what a start pays, the bridge being there.
func BenchmarkConnect(b *testing.B) {
	for _, c := range []struct {
		name     string
		subnets  []string
		internal bool
	}{
		{"v4", []string{"10.89.0.0/16"}, false},
		{"v4v6", []string{"10.89.0.0/16", "fd5c:1::/64"}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			w := open(b, nil, Options{})
			n := testNetwork("bench", c.subnets...)
			first := newBox(b)
			first.join(w, on(n))
			var times []time.Duration
			for b.Loop() {
				x := newBox(b)
				begin := time.Now()
				x.join(w, on(n))
				times = append(times, time.Since(begin))
				w.Gone(x.id)
				x.end()
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "µs-median")
			b.ReportMetric(float64(times[len(times)*95/100].Microseconds()), "µs-p95")
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
