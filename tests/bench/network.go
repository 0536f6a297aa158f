package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Three kinds of ways, each with its peers.
const (
	between = "Container to container"
	out     = "Out: from a container to a server on the host"
	in      = "In: from the host to a published port"
)

// path is one way from a client to a server.
type path struct {
	kind, name string
	tool       string   // rc, podman, slirp4netns, pasta, veth or host
	network    string   // bridge, slirp4netns, pasta or an MTU: what the tool was asked for
	client     []string // in front of the client's command; none: on the host
	traffic    string   // the client's program, as it is called there
	address    string   // host:port of the server
	looks      []look
}

// look is one measurement of a path: what tests/bench/traffic prints, and the
// processor time of everything that stood between.
type look struct {
	Send, Receive float64 // bytes a second
	Moved         int64   // bytes
	CPU           time.Duration
	Connections   float64 // a second
	RoundTrip     time.Duration
}

// median is that of one figure of all looks; 0 without any.
func (p *path) median(figure func(look) float64) float64 {
	var all []float64
	for _, l := range p.looks {
		all = append(all, figure(l))
	}
	return median(all)
}

// The figures of a look, each so that more is better but for the last two.
func sending(l look) float64    { return l.Send * 8 / 1e9 }
func receiving(l look) float64  { return l.Receive * 8 / 1e9 }
func connecting(l look) float64 { return l.Connections }
func returning(l look) float64  { return float64(l.RoundTrip.Nanoseconds()) / 1e3 }
func processing(l look) float64 { return l.CPU.Seconds() / (float64(max(l.Moved, 1)) / (1 << 30)) }

// networks sets every path up, then goes round them: each once in a round, so that
// whatever else the machine does meets all of them.
func (w *world) networks(r *report) error {
	if w.o.rounds == 0 {
		return nil
	}
	for _, t := range []tool{w.rcIn("store"), w.podmanIn("store", "crun")} {
		if err := w.ready(t); err != nil {
			r.breaks("network of "+t.name, err)
		}
	}
	lab := &lab{w: w}
	defer lab.close()
	lab.build()
	for _, p := range lab.paths {
		// Not measured: buffers and caches find their size. What does not work here is
		// named with its reason, and left out.
		if _, err := w.look(p, 100*time.Millisecond); err != nil {
			lab.broke(p.kind+", "+p.name, err)
			continue
		}
		r.paths = append(r.paths, p)
	}
	for round := range w.o.rounds {
		if w.late() {
			lab.broke("network", fmt.Errorf("%d of %d rounds: out of time", round, w.o.rounds))
			break
		}
		w.say("network, round %d of %d, %d paths", round+1, w.o.rounds, len(r.paths))
		for _, p := range r.paths {
			l, err := w.look(p, w.o.each)
			if err != nil {
				lab.broke(fmt.Sprintf("%s, %s, round %d", p.kind, p.name, round+1), err)
				continue
			}
			p.looks = append(p.looks, l)
		}
	}
	for _, line := range lab.broken {
		r.breaks("network", errors.New(line))
	}
	return nil
}

// look measures a path once. The processor time is the client's own and that of the
// user's processes which live throughout: the server, and what stands between. Work of
// the kernel counts for whom it interrupts.
func (w *world) look(p *path, each time.Duration) (l look, err error) {
	ask := func(kind string) error {
		args := append(slices.Clone(p.client), p.traffic, kind, p.address, each.String())
		text, err := w.said(args)
		if err != nil {
			return err
		}
		return json.Unmarshal([]byte(text), &l)
	}
	before := w.cpu()
	if err := ask("bulk"); err != nil {
		return l, err
	}
	for pid, now := range w.cpu() {
		if then, old := before[pid]; old {
			l.CPU += now - then
		}
	}
	bulk := l
	err = ask("small")
	l.Send, l.Receive, l.Moved, l.CPU = bulk.Send, bulk.Receive, bulk.Moved, bulk.CPU
	return l, err
}

// cpu is the processor time of each of the user's processes.
func (w *world) cpu() map[int]time.Duration {
	all := map[int]time.Duration{}
	for pid := range w.processes() {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err == nil {
			all[pid] = ticks(string(text))
		}
	}
	return all
}

// ticks reads utime and stime of /proc/PID/stat, fields 14 and 15, in hundredths of a
// second (proc_pid_stat(5)). The name before them may hold spaces and brackets.
func ticks(stat string) time.Duration {
	f := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}
