package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// memory starts idle containers in the background and adds up what stands beside
// their payloads: proportional set size, in which a page shared by n processes
// counts 1/n. On the way it times their start, their list and their end.
func (w *world) memory(r *row) (err error) {
	before := w.processes()
	defer w.killPayloads(before)
	begin := time.Now()
	for range w.o.idle {
		if _, err := w.timed(r.sleep); err != nil {
			return err
		}
	}
	r.started = time.Since(begin) / time.Duration(w.o.idle)
	if n := len(w.payloads(before)); n < w.o.idle {
		return fmt.Errorf("%d of %d containers run", n, w.o.idle)
	}
	time.Sleep(w.o.settle) // helpers settle
	for range 5 {
		took, err := w.timed(r.ps)
		if err != nil {
			return err
		}
		r.listed = append(r.listed, took)
	}
	if err := w.weigh(r, before); err != nil {
		return err
	}
	r.stopped, err = w.timed(r.stop)
	return err
}

// weigh adds up the helpers by name.
func (w *world) weigh(r *row, before map[int]string) error {
	r.pss = map[string]int{}
	r.count = map[string]int{}
	for pid, name := range w.processes() {
		if _, old := before[pid]; isPayload(pid) || (old && !shared(r.tool, name)) {
			continue
		}
		kib, err := pss(pid)
		if errors.Is(err, os.ErrPermission) {
			return errors.New("the helpers hide their memory from their own user: run as root")
		}
		if err != nil {
			continue // gone meanwhile
		}
		r.pss[name] += kib
		r.count[name]++
	}
	return nil
}

// shared tells whether a process that was there before the containers serves
// the tool's containers all the same: rc's keeper, podman's pause process.
func shared(tool, name string) bool {
	switch tool {
	case "rc":
		return strings.HasPrefix(name, "rc-")
	case "podman":
		return name == "podman" || name == "podman pause" || name == "catatonit"
	}
	return false
}

// processes lists the user's processes by name.
func (w *world) processes() map[int]string {
	found := map[int]string{}
	paths, _ := filepath.Glob("/proc/[0-9]*")
	for _, path := range paths {
		st, err := os.Stat(path)
		pid, _ := strconv.Atoi(filepath.Base(path))
		if err != nil || pid == os.Getpid() {
			continue
		}
		// A non-dumpable process's folder belongs to root (proc(5)); its status tells.
		if st.Sys().(*syscall.Stat_t).Uid != w.uid && statusUID(path) != w.uid {
			continue
		}
		if name := nameOf(path); name != "" {
			found[pid] = name
		}
	}
	return found
}

// nameOf is a process's name; what was started through /proc/self/exe is called
// "exe", and its first argument tells more.
func nameOf(path string) string {
	text, _ := os.ReadFile(path + "/comm")
	name := strings.TrimSpace(string(text))
	if name == "exe" {
		args, _ := os.ReadFile(path + "/cmdline")
		first, _, _ := strings.Cut(string(args), "\x00")
		first, _, _ = strings.Cut(first, " ")
		name = filepath.Base(first)
	}
	return name
}

func statusUID(path string) uint32 {
	text, _ := os.ReadFile(path + "/status")
	_, rest, _ := strings.Cut(string(text), "\nUid:\t")
	word, _, _ := strings.Cut(rest, "\t")
	uid, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return ^uint32(0)
	}
	return uint32(uid)
}

// isPayload knows what runs in the containers by what we told them to run.
func isPayload(pid int) bool {
	text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	return string(text) == "sleep\x001000\x00"
}

func (w *world) payloads(before map[int]string) []int {
	var pids []int
	for pid := range w.processes() {
		if _, old := before[pid]; !old && isPayload(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// killPayloads ends the containers from within, which every tool notices.
func (w *world) killPayloads(before map[int]string) {
	for _, pid := range w.payloads(before) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func pss(pid int) (kib int, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		return 0, err
	}
	return parsePSS(string(text))
}

func parsePSS(text string) (int, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "Pss:"); ok {
			return strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
		}
	}
	return 0, errors.New("no Pss line")
}
