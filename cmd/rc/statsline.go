package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/engine"
)

// noValue is what Docker shows where there is no figure.
const noValue = "--"

// statsLine is Docker's object of `docker stats --format json`, and what rc knows
// of its figures: which are not there, and what stands in for which.
type statsLine struct {
	BlockIO, CPUPerc, Container, ID, MemPerc, MemUsage, Name, NetIO, PIDs string

	// CPUPressure and its like are the share of the last ten seconds in which at
	// least one of the container's tasks waited for it.
	CPUPressure, MemPressure, IOPressure string

	Missing []string
	Notes   map[string]string
	PSI     map[string]cgroup.Pressure `json:",omitempty"` // times in nanoseconds
}

// newStatsLine words what a container used; nil usage: it does not run.
func newStatsLine(c *engine.Entry, now, before *engine.Usage) *statsLine {
	l := &statsLine{Container: c.ID[:12], ID: c.ID, Name: c.Name, Missing: []string{}, Notes: map[string]string{},
		CPUPressure: noValue, MemPressure: noValue, IOPressure: noValue,
		CPUPerc: noValue, MemUsage: noValue + " / " + noValue, MemPerc: noValue, NetIO: noValue, BlockIO: noValue, PIDs: noValue}
	if now == nil {
		l.Missing = []string{"block", "cpu", "memory", "net", "pids"}
		return l
	}
	maps.Copy(l.Notes, now.Instead)
	maps.Copy(l.Notes, now.Missing)
	l.Missing = append(l.Missing, slices.Sorted(maps.Keys(now.Missing))...)
	has := func(figure string) bool { _, missing := now.Missing[figure]; return !missing }
	if percent, ok := cpuPercent(now, before); ok && has("cpu") {
		l.CPUPerc = fmt.Sprintf("%.2f%%", percent)
	}
	if has("memory") {
		l.MemUsage = binarySize(now.Memory) + " / " + binarySize(now.MemoryLimit)
		if now.MemoryLimit > 0 {
			l.MemPerc = fmt.Sprintf("%.2f%%", float64(now.Memory)/float64(now.MemoryLimit)*100)
		}
	}
	l.pressure(now.Pressure)
	if has("net") {
		l.NetIO = size(int64(now.NetRx)) + " / " + size(int64(now.NetTx))
	}
	if has("block") {
		l.BlockIO = size(int64(now.BlockRead)) + " / " + size(int64(now.BlockWrite))
	}
	if has("pids") {
		l.PIDs = strconv.FormatUint(now.PIDs, 10)
	}
	return l
}

func (l *statsLine) pressure(p map[string]cgroup.Pressure) {
	l.PSI = p
	for of, to := range map[string]*string{"cpu": &l.CPUPressure, "memory": &l.MemPressure, "io": &l.IOPressure} {
		if of, ok := p[of]; ok {
			*to = fmt.Sprintf("%.2f%%", of.Some.Avg10)
		}
	}
}

// cpuPercent is the share of one CPU's time since the sample before (Docker's
// calculateCPUPercentUnix: with all CPUs busy it is 100 times their number). It
// never falls below 0: the time of a process that nobody waited for is lost.
func cpuPercent(now, before *engine.Usage) (float64, bool) {
	if before == nil {
		return 0, false
	}
	wall := now.At.Sub(before.At)
	if wall <= 0 {
		return 0, false
	}
	return max(0, float64(now.CPU-before.CPU)/float64(wall)*100), true
}

// binarySize words bytes in units of 1024 with four digits (go-units, BytesSize).
func binarySize(n uint64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	i := 0
	for f >= 1024 && i < len(units)-1 {
		f /= 1024
		i++
	}
	return fmt.Sprintf("%.4g%s", f, units[i])
}
