// Package quadlet turns quadlet files (podman-systemd.unit(5)) into the services of
// systemd that run them with rc. It reads folders and makes texts; it starts nothing,
// asks nobody and knows no other package of rc's, because systemd waits for it at
// every boot and every daemon-reload (systemd.generator(7)).
//
// A file with a fault becomes a service that fails with the fault's words when it is
// started, so that it is seen where one looks for it: in systemctl status and in the
// journal. It never keeps the other files from becoming services.
package quadlet

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// Options say for whom the services are made.
type Options struct {
	User    bool   // for a user's systemd; else for the system's
	Program string // absolute path of rc, which the services execute
	Dirs    []Dir
}

// Unit is one generated file of systemd's.
type Unit struct {
	Name   string // NAME.service
	Source string // the quadlet file; "" for a unit that the others need
	Text   string
	Links  []Link
	Failed bool // starting it only says what is wrong
}

// Link is a symbolic link that does what `systemctl enable` does for other units:
// Name is below the folder of units, as default.target.wants/web.service.
type Link struct{ Name, Target string }

// Result is what came of all files. Each problem is one line that names a file.
type Result struct {
	Units    []Unit
	Problems []error // *hint.Error; of a file whose unit says it too, or that has none
	Notes    []string
}

// Generate reads the folders, the first one with a file of a name wins, and makes
// the units, ordered by name of file.
func Generate(o Options) *Result {
	g := &generator{Options: o, infos: map[string]*info{}, owner: map[string]string{}}
	files := g.find()
	for _, f := range files {
		g.load(f)
	}
	for _, f := range g.files {
		g.protect(f.path, func() { g.name(f) })
	}
	for _, f := range g.files {
		g.protect(f.path, func() { g.convert(f) })
	}
	if g.waits {
		g.Units = append(g.Units, networkUnit())
	}
	return &g.Result
}

// generator is one run.
type generator struct {
	Options
	Result
	walk  *walk
	files []*file
	infos map[string]*info  // by the name of a quadlet file
	owner map[string]string // which file has made the service of this name
	waits bool              // a unit waits for the network, by networkUnit
}

// info is what other files have to know of one.
type info struct {
	service  string // NAME.service, or NAME@.service
	resource string // of the container, volume, image or network; "" where another unit cannot know it
}

// file is one quadlet file with its drop-ins.
type file struct {
	path, name string
	kind       *kind
	unit       *source
	faults     []faultAt
	unnamed    bool // no service can have its name: said, and nothing made
}

type faultAt struct {
	at  place
	err error
}

// fault notes what is wrong at a place of f.
func (f *file) fault(at place, what, fix, format string, args ...any) {
	op := at.String()
	if what != "" {
		op += ": " + what
	}
	f.faults = append(f.faults, faultAt{at, hint.Newf(op, fix, format, args...)})
}

// sorted are the faults in the order of the file's lines.
func (f *file) sorted() []error {
	slices.SortStableFunc(f.faults, func(a, b faultAt) int {
		if a.at.file != b.at.file {
			return 0 // the file itself and its drop-ins, as they were read
		}
		return a.at.line - b.at.line
	})
	var list []error
	for _, x := range f.faults {
		list = append(list, x.err)
	}
	return list
}

// protect keeps one file's surprise from the other files: a generator that dies has
// made no unit at all, and the host boots without its services.
func (g *generator) protect(path string, do func()) {
	defer func() {
		if r := recover(); r != nil {
			g.problem(path, "report it, with the file", "rc has a fault of its own: %v", r)
		}
	}()
	do()
}

func (g *generator) problem(op, fix, format string, args ...any) {
	g.Problems = append(g.Problems, hint.Newf(op, fix, format, args...))
}

// kind is a kind of quadlet file.
type kind struct {
	ext     string // with the dot
	section string
	suffix  string // of the service's name
	keys    []key
	convert func(*generator, *file) *service
	// instead says why rc does not have such a thing, and fix what to do.
	instead, fix string
}

func kindOf(name string) *kind {
	for i := range kinds {
		if path.Ext(name) == kinds[i].ext {
			return &kinds[i]
		}
	}
	return nil
}

// kinds is filled by init, since what it holds refers to it.
var kinds []kind

func init() {
	const pods = "run its containers each for itself, on one network: Network=NAME.network"
	kinds = []kind{
		{ext: ".container", section: "Container", keys: containerKeys, convert: (*generator).container},
		{ext: ".volume", section: "Volume", suffix: "-volume", keys: volumeKeys, convert: (*generator).volume},
		{ext: ".image", section: "Image", suffix: "-image", keys: imageKeys, convert: (*generator).image},
		{ext: ".network", section: "Network", suffix: "-network", keys: networkKeys, convert: (*generator).networkFile},
		{ext: ".build", section: "Build", suffix: "-build", instead: noBuilds, fix: buildFix},
		{ext: ".pod", section: "Pod", suffix: "-pod", instead: "rc has no pods yet", fix: pods},
		{ext: ".kube", section: "Kube", instead: "rc reads no Kubernetes files yet", fix: "write a .container file for each container"},
		{ext: ".artifact", section: "Artifact", suffix: "-artifact", instead: "rc has no artifacts", fix: "put the files into a volume or an image"},
	}
}

const (
	noBuilds = "rc builds no images yet"
	buildFix = "build the image elsewhere, rc load or rc pull it, and name it: Image=NAME"
)

// serviceName is the name of the service without its ending. What makes it the name of
// a template goes to the end: data@.volume is data-volume@.service.
func serviceName(f *file) string {
	base := strings.TrimSuffix(f.name, f.kind.ext)
	if front, instance, ok := strings.Cut(base, "@"); ok {
		return front + f.kind.suffix + "@" + instance
	}
	return base + f.kind.suffix
}

// template tells whether name is that of a template or an instance, and which part of
// it the instance is ("" for the template itself).
func template(name string) (instance string, ok bool) {
	_, instance, ok = strings.Cut(strings.TrimSuffix(name, path.Ext(name)), "@")
	return instance, ok
}

// place is a line of a file.
type place struct {
	file string
	line int
}

func (p place) String() string {
	if p.line == 0 {
		return p.file
	}
	return fmt.Sprintf("%s:%d", p.file, p.line)
}
