package engine

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

// DiskUsage is what the state root holds, in bytes.
type DiskUsage struct {
	Images     []ImageUsage
	Containers []ContainerUsage
	Volumes    []VolumeUsage
	// Layers is the sum of all layers that images have, each counted once, and
	// FreeLayers of those that no container's image has.
	Layers, FreeLayers int64
	// Downloads are files of pulls that broke off, and their bytes.
	Downloads     int
	DownloadBytes int64
}

// ImageUsage is one image: Shared are the bytes of layers that another image has, too.
type ImageUsage struct {
	*record.Image
	Shared     int64
	Containers int // of any state
}

// ContainerUsage is one container and the bytes of its own layer.
type ContainerUsage struct {
	*Entry
	Written int64
}

// VolumeUsage is one volume and the bytes in it.
type VolumeUsage struct {
	*VolumeEntry
	Bytes int64
}

// Active tells whether a container has a process, or is about to have one again.
func (c *ContainerUsage) Active() bool {
	switch c.State.Status {
	case record.Running, record.Paused, record.Restarting:
		return true
	}
	return c.Alive
}

// DiskUsage measures everything. Nothing is locked: the figures are of about now.
func (e *Engine) DiskUsage() (*DiskUsage, error) {
	list, err := e.List()
	if err != nil {
		return nil, err
	}
	u := &DiskUsage{}
	written := e.writtenBy(list)
	for i := range list {
		u.Containers = append(u.Containers, ContainerUsage{list[i], written[i]})
	}
	volumes, err := e.Volumes()
	if err != nil {
		return nil, err
	}
	paths := make([]string, len(volumes))
	for i, v := range volumes {
		paths[i] = v.Mountpoint
	}
	sizes, err := e.TreeSizes(paths)
	if err != nil {
		return nil, err
	}
	for i, v := range volumes {
		u.Volumes = append(u.Volumes, VolumeUsage{v, sizes[i]})
	}
	entries, _ := os.ReadDir(e.Store.Path("cache", "blobs"))
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			u.Downloads, u.DownloadBytes = u.Downloads+1, u.DownloadBytes+info.Size()
		}
	}
	return u, e.imageUsage(u, list)
}

func (e *Engine) imageUsage(u *DiskUsage, list []*Entry) error {
	images, err := e.Images()
	if err != nil {
		return hint.New("list the images", hint.Cause(err), "")
	}
	sizes, err := e.layerSizes(images)
	if err != nil {
		return err
	}
	containers := map[string]int{}
	for i := range list {
		containers[list[i].Image]++
	}
	owners, used := map[string]int{}, map[string]bool{}
	for _, img := range images {
		for _, dir := range img.Layers {
			owners[dir]++
			used[dir] = used[dir] || containers[img.ID] > 0
		}
	}
	for _, img := range images {
		one := ImageUsage{Image: img, Containers: containers[img.ID]}
		for _, dir := range img.Layers {
			if owners[dir] > 1 {
				one.Shared += sizes[dir]
			}
		}
		u.Images = append(u.Images, one)
	}
	for dir := range owners {
		u.Layers += sizes[dir]
		if !used[dir] {
			u.FreeLayers += sizes[dir]
		}
	}
	return nil
}

// layerSizes are the bytes of each layer's folder. The layer store's own list has
// them (containers/storage, layers.go: Layer.UncompressedSize); a layer that is not
// in it is measured.
func (e *Engine) layerSizes(images []*record.Image) (map[string]int64, error) {
	var list []struct {
		ID   string `json:"id"`
		Size int64  `json:"diff-size"`
	}
	data, err := os.ReadFile(e.Store.Path("storage", "rc-layers", "layers.json"))
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, hint.New("read the list of layers", hint.Cause(err), "")
	}
	known := map[string]int64{}
	for _, l := range list {
		known[l.ID] = l.Size
	}
	sizes := map[string]int64{}
	var unknown []string
	for _, img := range images {
		for _, dir := range img.Layers {
			if _, done := sizes[dir]; done {
				continue
			}
			n, ok := known[filepath.Base(dir)]
			if sizes[dir] = n; !ok && strings.HasPrefix(dir, e.Store.Root+"/") {
				unknown = append(unknown, dir)
			}
		}
	}
	measured, err := e.TreeSizes(unknown)
	for i, dir := range unknown {
		if err == nil {
			sizes[dir] = measured[i]
		}
	}
	return sizes, err
}
