package fuse

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkMount reports medians, in microseconds: ready, from a prepared
// container folder to a mount that answers; end, until mount and helper are gone.
// The layers are tiny, so that copy's figure is its cost a layer.
func BenchmarkMount(b *testing.B) {
	for _, d := range Drivers {
		for _, n := range []int{1, 10, 128} {
			b.Run(fmt.Sprintf("%s/%d", d, n), func(b *testing.B) { benchMount(b, d, n) })
		}
	}
}

func benchMount(b *testing.B, d Driver, n int) {
	needDriver(b, d)
	var layers []string
	for i := range n {
		layers = append(layers, newLayer(b, kernelFormat).file(fmt.Sprintf("f%d", i), "x").dir)
	}
	var boxes []*box
	for range b.N {
		boxes = append(boxes, newBox(b, d, layers...))
	}
	var ready, end []time.Duration
	b.ResetTimer()
	for _, box := range boxes {
		box.Volatile = true
		start := time.Now()
		m, err := Mount(d, box.Rootfs)
		must(b, err)
		ready = append(ready, time.Since(start))
		start = time.Now()
		must(b, m.Close())
		if m.Helper != nil {
			must(b, m.Helper.Wait())
		}
		end = append(end, time.Since(start))
	}
	median := func(d []time.Duration) float64 {
		slices.Sort(d)
		return float64(d[len(d)/2].Microseconds())
	}
	b.ReportMetric(median(ready), "ready-µs")
	b.ReportMetric(median(end), "end-µs")
	b.ReportMetric(0, "ns/op")
}
