package quadlet

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/rc-containers/rc/internal/hint"
)

// What a walk takes at most. A link to / among the files must not make systemd wait
// for a look at every folder of the host; real sets have some hundred files.
const (
	maxDepth   = 8
	maxEntries = 20000
	maxFile    = 1 << 20 // bytes; systemd's own bound of a line is the same (LONG_LINE_MAX)
	maxTotal   = 32 << 20
)

// found is a quadlet file that the walk has come by.
type found struct {
	path, name, root string
	err              error // it cannot be looked at
	masked           bool  // empty, or a link to /dev/null: as with units, there is none of this name
}

// walk goes through the folders.
type walk struct {
	g       *generator
	seen    map[[2]uint64]bool // folders by device and inode: links may lead in circles
	names   map[string]found
	list    []found
	dropIns map[string][]string // folders by their own names, as web.container.d
	entries int
	total   int64 // bytes read
	root    string
}

// find lists the files of all folders, the first of each name.
func (g *generator) find() []found {
	w := &walk{g: g, seen: map[[2]uint64]bool{}, names: map[string]found{}, dropIns: map[string][]string{}}
	for _, dir := range g.Dirs {
		w.root = dir.Path
		w.folder(dir.Path, dir.Skip, 0)
	}
	g.walk = w
	return w.list
}

func (w *walk) folder(path string, skip Skip, depth int) {
	st, err := os.Stat(path)
	switch {
	case depth == 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)):
		return // no such folder on this host
	case err != nil:
		w.g.problem("read "+path, "make it readable, or remove it", "%w", hint.Cause(err))
		return
	case !st.IsDir():
		w.g.problem("read "+path, "make it a folder", "it is no folder")
		return
	}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		id := [2]uint64{uint64(sys.Dev), sys.Ino} //nolint:unconvert // Dev has another type elsewhere
		if w.seen[id] {
			return
		}
		w.seen[id] = true
	}
	if depth > maxDepth {
		w.g.problem("read "+path, "keep the files nearer to "+w.root, "it is more than %d folders deep", maxDepth)
		return
	}
	entries, err := os.ReadDir(path) // what was read before an error is there, sorted
	if err != nil {
		w.g.problem("read "+path, "make it readable, or remove it", "%w", hint.Cause(err))
	}
	for _, e := range entries {
		if w.entries++; w.entries > maxEntries {
			if w.entries == maxEntries+1 {
				w.g.problem("read "+path, "take out what does not belong there, as a link to a large folder",
					"there are more than %d files in the folders of quadlets; the rest is not looked at", maxEntries)
			}
			return
		}
		w.entry(filepath.Join(path, e.Name()), e, skip, depth)
	}
}

func (w *walk) entry(path string, e fs.DirEntry, skip Skip, depth int) {
	name := e.Name()
	isDir := e.IsDir()
	if name[0] == '.' || skip.skips(name, depth) {
		return
	}
	known := kindOf(name) != nil
	var err error
	var st fs.FileInfo
	if e.Type()&fs.ModeSymlink != 0 && (known || filepath.Ext(name) == "" || strings.HasSuffix(name, ".d")) {
		if st, err = os.Stat(path); err == nil {
			isDir = st.IsDir()
		}
	}
	switch {
	case isDir && strings.HasSuffix(name, ".d"):
		w.dropIns[name] = append(w.dropIns[name], path)
	case isDir:
		w.folder(path, SkipNone, depth+1)
	case known:
		if err == nil && st == nil {
			st, err = os.Lstat(path)
		}
		w.file(found{path: path, name: name, root: w.root, err: err, masked: err == nil && masks(st)})
	}
}

// file takes a file in, unless one of the name came before.
func (w *walk) file(f found) {
	if was, ok := w.names[f.name]; ok {
		if was.root == f.root {
			w.g.problem(f.path, "give one of them another name, or remove it", "%s has the same name, and is the one that counts", was.path)
		} else {
			w.g.Notes = append(w.g.Notes, f.path+": "+was.path+" comes before it")
		}
		return
	}
	w.names[f.name] = f
	if !f.masked {
		w.list = append(w.list, f)
	}
}

// masks tells whether a file says that there is none: as with units, a link to
// /dev/null or an empty file (systemd.unit(5)).
func masks(st fs.FileInfo) bool {
	if st.Mode().IsRegular() {
		return st.Size() == 0
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && st.Mode()&fs.ModeCharDevice != 0 && sys.Rdev == 1<<8|3
}

// read returns a file's text. Pipes and devices are not opened: one waits for ever,
// another does something when it is opened.
func (w *walk) read(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", hint.Cause(err)
	}
	if !st.Mode().IsRegular() {
		return "", errors.New("it is no regular file")
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return "", hint.Cause(err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	w.total += int64(len(text))
	switch {
	case err != nil:
		return "", hint.Cause(err)
	case len(text) > maxFile:
		return "", errors.New("it is larger than 1 MiB")
	case w.total > maxTotal:
		return "", errors.New("the quadlet files before it have 32 MiB already")
	}
	return string(text), nil
}
