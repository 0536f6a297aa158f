package engine

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// userHZ is the unit of times in /proc/PID/stat: 100 a second on every
// architecture that rc builds for (sysconf(3), _SC_CLK_TCK).
const userHZ = 100

// Usage is what a running container has used so far. A figure that nobody can
// tell is in Missing with the reason, and 0 here; one that does not come from the
// controller that Docker would ask is in Instead with what it is.
type Usage struct {
	At          time.Time
	CPU         time.Duration
	Memory      uint64 // bytes
	MemoryLimit uint64 // bytes: the container's, or the host's memory
	NetRx       uint64 // bytes
	NetTx       uint64
	BlockRead   uint64 // bytes
	BlockWrite  uint64
	PIDs        uint64                     // processes and threads
	Pressure    map[string]cgroup.Pressure // by cpu, memory, io; empty without a cgroup

	Missing map[string]string // by cpu, memory, net, block, pids
	Instead map[string]string
}

func (u *Usage) missing(figure, why string) { u.Missing[figure] = why }

// Usages measures the running ones among the containers, by id.
func (e *Engine) Usages(list []*Entry) (map[string]*Usage, error) {
	table, err := readProcesses()
	if err != nil {
		return nil, err
	}
	memory := HostMemory()
	usages := map[string]*Usage{}
	for _, c := range list {
		if c.Alive && c.State.PID > 0 && (c.State.Status == record.Running || c.State.Status == record.Paused) {
			usages[c.ID] = usage(c, table, memory)
		}
	}
	return usages, nil
}

func usage(c *Entry, table *processTable, memory uint64) *Usage {
	u := &Usage{At: time.Now(), MemoryLimit: memory, Missing: map[string]string{}, Instead: map[string]string{}}
	var s *cgroup.Stats
	if c.State.Cgroup != "" {
		s, _ = cgroup.Open(c.State.Cgroup).Stats()
	}
	procs := table.of(c)
	has := func(controller string) bool { return s != nil && slices.Contains(s.Controllers, controller) }
	if s != nil { // cpu.stat is there without the controller, too
		u.CPU, u.Pressure = s.CPU.Usage, s.Pressure
	} else {
		u.cpuOf(procs)
	}
	if has("memory") {
		u.Memory = s.MemoryUsed()
		if l := s.Memory.Limit; l > 0 && (memory == 0 || l < memory) {
			u.MemoryLimit = l
		}
	} else {
		u.memoryOf(procs)
	}
	if has("pids") {
		u.PIDs = s.PIDs.Current
	} else {
		for _, p := range procs {
			u.PIDs += p.threads
		}
		u.Instead["pids"] = "counted in /proc: no pids controller"
	}
	if has("io") {
		u.BlockRead, u.BlockWrite = s.IO.ReadBytes, s.IO.WriteBytes
	} else {
		u.blockOf(procs)
	}
	u.network(c)
	return u
}

// cpuOf adds up the processes' times with those of their children that ended.
func (u *Usage) cpuOf(procs []process) {
	var ticks uint64
	for _, p := range procs {
		ticks += p.ticks
	}
	u.CPU = time.Duration(ticks) * time.Second / userHZ
	u.Instead["cpu"] = "times of /proc, to 10 ms: no cgroup"
}

// memoryOf is the proportional set size: memory that several processes share is
// counted once among them (proc(5), smaps_rollup).
func (u *Usage) memoryOf(procs []process) {
	for _, p := range procs {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/smaps_rollup")
		if os.IsPermission(err) {
			u.Memory = 0
			u.missing("memory", "no memory controller, and smaps_rollup of a process cannot be read")
			return
		}
		u.Memory += kibibytes(string(text), "Pss:") // of one that ended meanwhile, none
	}
	u.Instead["memory"] = "PSS of its processes: no memory controller"
}

// kibibytes finds "Key:   12 kB" and gives bytes.
func kibibytes(text, key string) uint64 {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, key); ok {
			n, _ := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// blockOf adds up /proc/PID/io, which counts children that ended, too. It is
// readable by the process's own uid alone (mode 0400).
func (u *Usage) blockOf(procs []process) {
	for _, p := range procs {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/io")
		if os.IsPermission(err) {
			u.BlockRead, u.BlockWrite = 0, 0
			u.missing("block", "no io controller, and /proc/PID/io of a subordinate id's process cannot be read")
			return
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			n, _ := strconv.ParseUint(value, 10, 64)
			switch key {
			case "read_bytes":
				u.BlockRead += n
			case "write_bytes":
				u.BlockWrite += n
			}
		}
	}
	u.Instead["block"] = "read_bytes and write_bytes of /proc: no io controller"
}

// network reads the counters of the container's network namespace.
func (u *Usage) network(c *Entry) {
	if c.Network == "host" {
		u.missing("net", "its network is the host's")
		return
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(c.State.PID) + "/net/dev")
	if err != nil {
		u.missing("net", hint.Cause(err).Error())
		return
	}
	u.NetRx, u.NetTx = netBytes(string(text))
}

// netBytes adds up /proc/net/dev but for the loopback, as Docker does.
func netBytes(text string) (rx, tx uint64) {
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || strings.TrimSpace(name) == "lo" || len(f) < 9 {
			continue
		}
		r, _ := strconv.ParseUint(f[0], 10, 64)
		t, _ := strconv.ParseUint(f[8], 10, 64)
		rx, tx = rx+r, tx+t
	}
	return rx, tx
}

// HostMemory is MemTotal, in bytes: the limit of who has none.
func HostMemory() uint64 {
	text, _ := os.ReadFile("/proc/meminfo")
	return kibibytes(string(text), "MemTotal:")
}
