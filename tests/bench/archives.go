package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

// dataFiles are in the image of the rows about files, each of dataSize bytes: what a
// container changes first is copied up then.
const (
	dataFiles = 100
	dataSize  = 64 << 10
	filesName = "localhost/bench-files:latest"
)

// loadLimit is for an image of 100 layers on a busy machine: Docker takes 0.1 s for each.
const loadLimit = 2 * time.Minute

func layered(n int) string { return fmt.Sprintf("localhost/bench-layers-%d:latest", n) }

// loadLayers gives a tool the root file system in n layers, all but the first small.
func (w *world) loadLayers(t tool, n int) error {
	base, err := w.entries()
	if err != nil {
		return err
	}
	all := []images.Layer{images.MakeLayer(images.Plain, base...)}
	for i := 1; i < n; i++ {
		all = append(all, images.MakeLayer(images.Plain, images.Dir("layers", 0o755), images.File(fmt.Sprintf("layers/%d", i), 0o644, "a layer\n")))
	}
	return w.loadImage(t, layered(n), all)
}

// loadFiles gives a tool the root file system with files to change.
func (w *world) loadFiles(t tool) error {
	base, err := w.entries()
	if err != nil {
		return err
	}
	base = append(base, images.Dir("data", 0o755))
	for i := range dataFiles {
		base = append(base, images.File(fmt.Sprintf("data/%d", i), 0o644, strings.Repeat("0123456789abcde\n", dataSize/16)))
	}
	return w.loadImage(t, filesName, []images.Layer{images.MakeLayer(images.Plain, base...)})
}

// loadImage loads layers under a name, through an archive as `docker save` writes it.
func (w *world) loadImage(t tool, name string, layers []images.Layer) error {
	path := filepath.Join(w.o.dir, "image.archive")
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	config := images.Config{Env: []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}}
	err = images.Image{Config: config, Layers: layers}.Build().WriteDockerArchive(f, name)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	_, err = w.within(loadLimit, t.line("load", "-q", "-i", path))
	return err
}

// entries are the members of rootfs.tar.
func (w *world) entries() ([]images.Entry, error) {
	f, err := os.Open(w.o.dir + "/rootfs.tar")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []images.Entry
	for t := tar.NewReader(f); ; {
		h, err := t.Next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		all = append(all, images.Entry{Header: *h, Body: body})
	}
}

// importMany adds images of one small layer each, until there are as many as asked for.
func (w *world) importMany(t tool) error {
	path := filepath.Join(w.o.dir, "small.archive")
	defer os.Remove(path)
	for i := 1; i < w.o.images; i++ {
		layer := images.MakeLayer(images.Plain, images.File("number", 0o644, fmt.Sprintln(i)))
		if err := os.WriteFile(path, layer.Raw, 0o644); err != nil {
			return err
		}
		if _, err := w.timed(t.line("import", path, fmt.Sprintf("localhost/bench-many-%d:latest", i))); err != nil {
			return fmt.Errorf("image %d: %w", i, err)
		}
		if i%100 == 99 {
			w.say("%d images", i+1)
		}
	}
	return nil
}

// usage is what a folder takes on the disk, in bytes: blocks, each file once.
func usage(root string) (total int64) {
	seen := map[uint64]bool{}
	// What cannot be read or is gone by now counts nothing.
	_ = filepath.WalkDir(root, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		if !seen[st.Ino] {
			seen[st.Ino] = true
			total += st.Blocks * 512
		}
		return nil
	})
	return total
}
