package images

import (
	"encoding/json"
	"runtime"
)

// Media types of image-spec (media-types.md) and of Docker's schema 2.
const (
	ociManifest    = "application/vnd.oci.image.manifest.v1+json"
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	ociConfig      = "application/vnd.oci.image.config.v1+json"
	ociLayer       = "application/vnd.oci.image.layer.v1.tar"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
)

// Config is the part of an image config that containers see (image-spec, config.md).
type Config struct {
	User         string              `json:",omitempty"`
	Env          []string            `json:",omitempty"`
	Entrypoint   []string            `json:",omitempty"`
	Cmd          []string            `json:",omitempty"`
	WorkingDir   string              `json:",omitempty"`
	Volumes      map[string]struct{} `json:",omitempty"`
	ExposedPorts map[string]struct{} `json:",omitempty"`
	Labels       map[string]string   `json:",omitempty"`
	StopSignal   string              `json:",omitempty"`
	Healthcheck  map[string][]string `json:",omitempty"` // {"Test": {"CMD", …}}
}

// Image is what Build makes an artifact of.
type Image struct {
	Config   Config
	Layers   []Layer
	Arch, OS string // "" is this machine's
	Docker   bool   // Docker's media types instead of OCI's
	DiffIDs  []string
}

// Artifact is a manifest or an index with all that it refers to.
type Artifact struct {
	MediaType string
	Data      []byte
	Blobs     map[string][]byte // config and layers, by digest
	Children  []*Artifact       // of an index
	arch, os  string
	config    string // digest of the config
	layers    []Layer
}

// Digest of the manifest or index.
func (a *Artifact) Digest() string { return digest(a.Data) }

type descriptor struct {
	MediaType string    `json:"mediaType"`
	Digest    string    `json:"digest"`
	Size      int       `json:"size"`
	Platform  *platform `json:"platform,omitempty"`
	// Annotations of an entry in an OCI layout's index.json.
	Annotations map[string]string `json:"annotations,omitempty"`
}

type platform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
}

// Build writes config and manifest.
func (i Image) Build() *Artifact {
	a := &Artifact{MediaType: ociManifest, Blobs: map[string][]byte{}, arch: i.Arch, os: i.OS, layers: i.Layers}
	if a.arch == "" {
		a.arch = runtime.GOARCH
	}
	if a.os == "" {
		a.os = "linux"
	}
	configType, layerType := ociConfig, ociLayer
	if i.Docker {
		a.MediaType, configType, layerType = dockerManifest, dockerConfig, dockerLayer
	}
	var layers []descriptor
	diffIDs := []string{}
	for _, l := range i.Layers {
		t := layerType
		switch {
		case i.Docker && l.Compression == Gzip:
			t += ".gzip"
		case l.Compression != Plain:
			t += "+" + string(l.Compression)
		}
		d := digest(l.Data)
		a.Blobs[d] = l.Data
		layers = append(layers, descriptor{MediaType: t, Digest: d, Size: len(l.Data)})
		diffIDs = append(diffIDs, l.DiffID)
	}
	if i.DiffIDs != nil {
		diffIDs = i.DiffIDs
	}
	config := mustJSON(map[string]any{
		"created": epoch.UTC(), "architecture": a.arch, "os": a.os, "config": i.Config,
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	a.config = digest(config)
	a.Blobs[a.config] = config
	a.Data = mustJSON(map[string]any{
		"schemaVersion": 2, "mediaType": a.MediaType,
		"config": descriptor{MediaType: configType, Digest: a.config, Size: len(config)},
		"layers": layers,
	})
	return a
}

// Index names one artifact per platform.
func Index(children ...*Artifact) *Artifact {
	var manifests []descriptor
	for _, c := range children {
		manifests = append(manifests, descriptor{MediaType: c.MediaType, Digest: c.Digest(), Size: len(c.Data),
			Platform: &platform{Architecture: c.arch, OS: c.os}})
	}
	return &Artifact{MediaType: ociIndex, Children: children,
		Data: mustJSON(map[string]any{"schemaVersion": 2, "mediaType": ociIndex, "manifests": manifests})}
}

// All blobs of an artifact and of its children, manifests included.
func (a *Artifact) all() map[string][]byte {
	out := map[string][]byte{a.Digest(): a.Data}
	for d, b := range a.Blobs {
		out[d] = b
	}
	for _, c := range a.Children {
		for d, b := range c.all() {
			out[d] = b
		}
	}
	return out
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own structs come here
	}
	return data
}
