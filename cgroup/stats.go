package cgroup

import (
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// Stats is what a container used since its start. Fields of a controller that
// is not in Controllers are zero, except CPU's three times, which every group counts.
type Stats struct {
	Controllers []string

	CPU struct {
		Usage, User, System time.Duration
		Periods             uint64 // windows of the CPU limit that passed
		ThrottledPeriods    uint64 // and those in which it was reached
		Throttled           time.Duration
	}
	Memory struct { // bytes
		Current      uint64 // with page cache
		InactiveFile uint64 // cache that can go at once
		Peak         uint64 // 0 before Linux 5.19
		Limit        uint64 // 0: none
		Swap         uint64
		OOMKills     uint64 // processes
	}
	PIDs struct {
		Current uint64 // processes and threads
		Limit   uint64 // 0: none
		Refused uint64 // forks that failed because of the limit
	}
	IO struct {
		ReadBytes, WriteBytes uint64
		Reads, Writes         uint64
	}
	// Pressure is by "cpu", "memory" and "io"; empty where the kernel keeps none
	// (CONFIG_PSI, psi=0, cgroup.pressure).
	Pressure map[string]Pressure
}

// Pressure is how much work stood still for want of something (kernel, psi.rst):
// the share of the last 10, 60 and 300 seconds in percent, and all of it.
type Pressure struct {
	Some, Full Stall // at least one task waited; all of them did
}

// Stall is a line of a pressure file.
type Stall struct {
	Avg10, Avg60, Avg300 float64 // percent
	Total                time.Duration
}

// MemoryUsed is what `docker stats` shows: usage without the page cache that can
// go at once (docker/cli, cli/command/container/stats_helpers.go).
func (s *Stats) MemoryUsed() uint64 {
	if s.Memory.InactiveFile < s.Memory.Current {
		return s.Memory.Current - s.Memory.InactiveFile
	}
	return s.Memory.Current
}

// Stats reads the group's counters.
func (g *Group) Stats() (*Stats, error) {
	d, err := openDir(g.Path)
	if err != nil {
		return nil, hint.New("read the container's counters", err, "")
	}
	defer d.close()
	cpu, err := d.read("cpu.stat")
	if err != nil {
		return nil, hint.New("read the container's counters", err, "")
	}
	s := &Stats{Controllers: d.fields(controllersFile)}
	// cpu.stat has the first three without the cpu controller, too (cgroup-v2.rst,
	// "CPU Interface Files").
	s.CPU.Usage = micros(cpu, "usage_usec")
	s.CPU.User = micros(cpu, "user_usec")
	s.CPU.System = micros(cpu, "system_usec")
	s.CPU.Periods = keyed(cpu, "nr_periods")
	s.CPU.ThrottledPeriods = keyed(cpu, "nr_throttled")
	s.CPU.Throttled = micros(cpu, "throttled_usec")

	s.Memory.Current = d.number("memory.current")
	s.Memory.Peak = d.number("memory.peak")
	s.Memory.Limit = d.number("memory.max")
	s.Memory.Swap = d.number("memory.swap.current")
	s.Memory.InactiveFile = d.key("memory.stat", "inactive_file")
	s.Memory.OOMKills = d.key("memory.events", "oom_kill")

	s.PIDs.Current = d.number("pids.current")
	s.PIDs.Limit = d.number("pids.max")
	s.PIDs.Refused = d.key("pids.events", "max")
	s.io(d)
	s.pressure(d)
	return s, nil
}

// pressure reads files of two lines: "some avg10=0.00 avg60=0.00 avg300=0.00
// total=0", and the same of "full". They are there without any controller.
func (s *Stats) pressure(d *dir) {
	for _, of := range []string{"cpu", "memory", "io"} {
		text, err := d.read(of + ".pressure")
		if err != nil { // EOPNOTSUPP when it is switched off
			continue
		}
		var p Pressure
		for line := range strings.Lines(text) {
			kind, rest, _ := strings.Cut(line, " ")
			switch kind {
			case "some":
				p.Some = stall(rest)
			case "full":
				p.Full = stall(rest)
			}
		}
		if s.Pressure == nil {
			s.Pressure = map[string]Pressure{}
		}
		s.Pressure[of] = p
	}
}

func stall(text string) (s Stall) {
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		f, _ := strconv.ParseFloat(value, 64)
		switch key {
		case "avg10":
			s.Avg10 = f
		case "avg60":
			s.Avg60 = f
		case "avg300":
			s.Avg300 = f
		case "total":
			n, _ := strconv.ParseInt(value, 10, 64)
			s.Total = time.Duration(n) * time.Microsecond
		}
	}
	return s
}

// io adds up io.stat, whose lines are "MAJOR:MINOR rbytes=N wbytes=N rios=N …".
func (s *Stats) io(d *dir) {
	for _, word := range d.fields("io.stat") {
		key, value, _ := strings.Cut(word, "=")
		n, _ := strconv.ParseUint(value, 10, 64)
		switch key {
		case "rbytes":
			s.IO.ReadBytes += n
		case "wbytes":
			s.IO.WriteBytes += n
		case "rios":
			s.IO.Reads += n
		case "wios":
			s.IO.Writes += n
		}
	}
}

// OOMKilled tells whether the kernel killed a process of the container for want
// of memory. false where no memory controller counts it.
func (g *Group) OOMKilled() (bool, error) {
	d, err := openDir(g.Path)
	if err != nil {
		return false, hint.New("ask for out-of-memory kills", err, "")
	}
	defer d.close()
	text, err := d.read("memory.events")
	// Without the controller nobody was killed by a limit of ours; the host's own
	// out-of-memory killer is not told apart from any SIGKILL.
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, hint.New("ask for out-of-memory kills", err, "")
	}
	return keyed(text, "oom_kill") > 0, nil
}

// number reads a file of one number; 0 for "max" and for a file that is not there.
func (d *dir) number(name string) uint64 {
	text, _ := d.read(name)
	n, _ := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
	return n
}

// key reads one number of a flat keyed file; 0 when it is not there.
func (d *dir) key(name, key string) uint64 {
	text, _ := d.read(name)
	return keyed(text, key)
}

func micros(text, key string) time.Duration {
	return time.Duration(keyed(text, key)) * time.Microsecond
}

// Processes are the pids in the group and below it, as our own pid namespace
// numbers them. Those of a threaded group are not told (cgroup-v2.rst, "Threads").
func (g *Group) Processes() ([]int, error) {
	d, err := openDir(g.Path)
	if err != nil {
		return nil, hint.New("list the container's processes", err, "")
	}
	defer d.close()
	pids := map[int]bool{}
	add := func(d *dir) error {
		for _, word := range d.fields(procsFile) {
			if pid, err := strconv.Atoi(word); err == nil && pid > 0 { // 0 stands for one of a namespace that is none of ours
				pids[pid] = true
			}
		}
		return nil
	}
	err = d.walk(add, func(*dir, string) error { return nil })
	_ = add(d)
	return slices.Sorted(maps.Keys(pids)), err
}

// OOMEvents opens the file that tells of kills for want of memory, for
// ReadOOMKills and to be polled for POLLERR, which is there from each change to the
// next read. ENOENT without a memory controller.
func (g *Group) OOMEvents() (*os.File, error) {
	d, err := openDir(g.Path)
	if err != nil {
		return nil, hint.New("ask for out-of-memory kills", err, "")
	}
	defer d.close()
	// O_NONBLOCK makes Go's poller take it; reads never wait.
	f, err := d.open("memory.events", unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, hint.New("ask for out-of-memory kills", err, "")
	}
	return f, nil
}

// ReadOOMKills is how many processes of the group and below it the kernel has
// killed for want of memory, read from f of OOMEvents.
func (g *Group) ReadOOMKills(f *os.File) (uint64, error) {
	buf := make([]byte, 512) // eight short lines
	n, err := f.ReadAt(buf, 0)
	if err != nil && !isEOF(err) {
		return 0, hint.New("ask for out-of-memory kills", err, "")
	}
	return keyed(string(buf[:n]), "oom_kill"), nil
}
