package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// works are what tests/bench/traffic does to files, in the order of the table: how it
// is called there, and what it is.
var works = []struct{ key, title string }{
	{"create", "create a file of 4 KiB"}, {"stat", "stat"}, {"read", "open and read 4 KiB"}, {"list", "list a folder of 100"},
	{"rename", "rename"}, {"remove", "remove"}, {"change", "first byte changed in 64 KiB of the image"},
	{"write", "write 64 MiB, each MiB"}, {"again", "read them again, each MiB"},
}

// hostPlace is no container, and leastOf stands in front of a place where its minimum is
// meant.
const (
	hostPlace = "host"
	leastOf   = "least of "
)

// place is somewhere to work on files.
type place struct {
	name  string
	args  []string // the command, but for the folder and what follows
	work  string   // the folder
	data  string   // with files to change
	ready func() error
	micro map[string][]float64 // by kind of work: microseconds, each round
}

// fileWork does the same to files on the host and in containers of each driver.
func (w *world) fileWork(r *report) error {
	var live []*place
	for _, p := range w.places() {
		w.say("files: %s", p.name)
		if err := p.ready(); err != nil {
			r.breaks("files, "+p.name, err)
			continue
		}
		p.micro = map[string][]float64{}
		live = append(live, p)
	}
	for round := range w.o.files {
		w.say("files, round %d of %d", round+1, w.o.files)
		for _, p := range slices.Clone(live) {
			if w.late() {
				continue
			}
			if err := w.workOn(p); err != nil {
				r.breaks("files, "+p.name, err)
				live = slices.DeleteFunc(live, func(other *place) bool { return other == p })
			}
		}
		slices.Reverse(live)
	}
	for _, p := range w.inOrder(live) {
		r.places = append(r.places, p.name)
		for kind, all := range p.micro {
			r.set("files/"+kind, p.name, median(all))
			r.set("files/"+kind, leastOf+p.name, slices.Min(all))
		}
	}
	return nil
}

// inOrder puts what is left of places back into their order.
func (w *world) inOrder(live []*place) []*place {
	var names []string
	for _, p := range w.places() {
		names = append(names, p.name)
	}
	slices.SortFunc(live, func(a, b *place) int { return slices.Index(names, a.name) - slices.Index(names, b.name) })
	return live
}

func (w *world) workOn(p *place) error {
	text, err := w.said(append(slices.Clone(p.args), "files", p.work, p.data))
	if err != nil {
		return err
	}
	var one map[string]float64
	if err := json.Unmarshal([]byte(text), &one); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(text))
	}
	for kind, micro := range one {
		p.micro[kind] = append(p.micro[kind], micro)
	}
	return nil
}

func (w *world) places() []*place {
	program := w.o.dir + "/bin/traffic"
	host := w.o.dir + "/hostfiles"
	all := []*place{{name: hostPlace, args: []string{program}, work: host + "/work", data: host + "/data", ready: func() error { return w.hostFiles(host) }}}
	container := func(name string, t tool) {
		line := t.line("run", "--rm", "--network", "none", "-v", program+":"+mounted+":ro", filesName, mounted)
		all = append(all, &place{name: name, args: line, work: "/work", data: "/data", ready: func() error {
			err := w.runs(t)
			if err == nil {
				err = w.loadFiles(t)
			}
			return err
		}})
	}
	for _, driver := range []string{"overlay", "fuse-overlayfs", "copy"} {
		t := w.rcIn(driver)
		t.front = append(t.front, "--storage-driver", driver)
		container("rc, "+driver, t)
	}
	container("podman, overlay", w.podmanIn("store", "crun"))
	container("docker, overlay2", w.docker())
	return all
}

// hostFiles makes what the image brings along, as files of the user's.
func (w *world) hostFiles(root string) error {
	data := filepath.Join(root, "data")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return err
	}
	for i := range dataFiles {
		if err := os.WriteFile(filepath.Join(data, fmt.Sprint(i)), make([]byte, dataSize), 0o644); err != nil {
			return err
		}
	}
	if w.cred == nil {
		return nil
	}
	return filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, int(w.uid), int(w.cred.Gid))
	})
}
