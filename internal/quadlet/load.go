package quadlet

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// load reads a file and its drop-ins. What cannot be read is a fault of it.
func (g *generator) load(at found) {
	f := &file{path: at.path, name: at.name, kind: kindOf(at.name), unit: &source{}}
	g.files = append(g.files, f)
	err := at.err
	var text string
	if err == nil {
		text, err = g.walk.read(at.path)
	}
	if err != nil {
		f.fault(place{file: at.path}, "", "make it a readable text file, or remove it", "it cannot be read: %w", hint.Cause(err))
		return
	}
	f.unit = parse(at.path, text)
	for _, path := range g.dropIns(f) {
		text, err := g.walk.read(path)
		if err != nil {
			f.fault(place{file: path}, "", "make it a readable text file, or remove it", "it cannot be read: %w", hint.Cause(err))
			continue
		}
		f.unit.merge(parse(path, text))
	}
	for _, x := range f.unit.faults {
		f.fault(x.at, "", x.hint, "%s", x.why)
	}
}

// dropIns are the paths of a file's drop-ins, in the order in which they count: by
// their names. Of two with one name the more special folder's is taken, and of those
// the one whose folder comes first (systemd.unit(5); podman-systemd.unit(5)).
func (g *generator) dropIns(f *file) []string {
	paths := map[string]string{}
	for _, folder := range dropInFolders(f.name, f.kind.ext) {
		for _, dir := range g.walk.dropIns[folder] {
			entries, err := os.ReadDir(dir)
			if err != nil {
				f.fault(place{file: dir}, "", "make the folder readable, or remove it", "it cannot be read: %w", hint.Cause(err))
			}
			for _, e := range entries {
				name := e.Name()
				if _, ok := paths[name]; !ok && strings.HasSuffix(name, ".conf") && name[0] != '.' {
					paths[name] = filepath.Join(dir, name)
				}
			}
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		list = append(list, paths[name])
	}
	return list
}

// dropInFolders are the names of the folders with drop-ins for a file, the most
// special one first: a-b@c.container.d, a-b@.container.d, a-.container.d, container.d.
func dropInFolders(name, ext string) []string {
	base := strings.TrimSuffix(name, ext)
	list := []string{name + ".d"}
	if front, instance, ok := strings.Cut(base, "@"); ok {
		if instance != "" {
			list = append(list, front+"@"+ext+".d")
		}
		base = front
	}
	for i := len(base) - 2; i > 0; i-- {
		if base[i] == '-' {
			list = append(list, base[:i+1]+ext+".d")
		}
	}
	return append(list, ext[1:]+".d")
}
