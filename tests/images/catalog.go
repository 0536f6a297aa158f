package images

import (
	"archive/tar"
	"fmt"
	"sort"
	"strings"
)

// Catalog makes every image by its repository name. It fails only without a
// static busybox.
func Catalog() (map[string]*Artifact, error) {
	out := map[string]*Artifact{}
	if _, err := busyboxLayer(); err != nil {
		return nil, err
	}
	for _, set := range []map[string]func() *Artifact{ordinary, layered, hostile} {
		for name, build := range set {
			out[name] = build()
		}
	}
	return out, nil
}

// Names lists the catalogue in order.
func Names(all map[string]*Artifact) []string {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func shellConfig() Config { return Config{Env: []string{path}, Cmd: []string{"sh"}} }

// with is an image of the base and one layer more.
func with(entries ...Entry) Image {
	return Image{Config: shellConfig(), Layers: append(base(Gzip), MakeLayer(Gzip, entries...))}
}

// Alpine is the image that `rc run alpine` gets in tests and in the demo.
func Alpine() *Artifact {
	return with(File("etc/motd", 0o644, "made on the spot from busybox\n")).Build()
}

// ordinary images, as people make them.
var ordinary = map[string]func() *Artifact{
	"library/alpine":  Alpine,
	"library/busybox": func() *Artifact { return Image{Config: shellConfig(), Layers: base(Gzip)}.Build() },
	"test/docker":     func() *Artifact { return Image{Config: shellConfig(), Layers: base(Gzip), Docker: true}.Build() },
	"test/zstd":       func() *Artifact { return Image{Config: shellConfig(), Layers: base(Zstd)}.Build() },
	"test/plain":      func() *Artifact { return Image{Config: shellConfig(), Layers: base(Plain)}.Build() },
	"test/entrypoint": func() *Artifact {
		i := with()
		i.Config.Entrypoint, i.Config.Cmd = []string{"/bin/echo", "entry"}, []string{"default"}
		return i.Build()
	},
	"test/nocmd": func() *Artifact {
		i := with()
		i.Config.Cmd = nil
		return i.Build()
	},
	"test/app": func() *Artifact {
		i := with(Dir("data", 0o755).Own(1000, 1000), File("data/seed", 0o644, "from the image\n").Own(1000, 1000))
		i.Config = Config{
			User: "app", Env: []string{path, "GREETING=hello"}, Cmd: []string{"sh", "-c", "id -un; pwd; echo $GREETING"},
			WorkingDir: "/home/app", StopSignal: "SIGUSR1", Labels: map[string]string{"maker": "mkimage"},
			Volumes: map[string]struct{}{"/data": {}}, ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		}
		return i.Build()
	},
	"test/nouser": func() *Artifact {
		i := with()
		i.Config.User = "ghost"
		return i.Build()
	},
	"test/multi": func() *Artifact {
		foreign := with(File("etc/foreign", 0o644, "x"))
		foreign.Arch = foreignArch()
		native := with(File("etc/native", 0o644, "x"))
		return Index(foreign.Build(), native.Build())
	},
	"test/foreign": func() *Artifact {
		i := with()
		i.Arch = foreignArch()
		return i.Build()
	},
	"test/foreignindex": func() *Artifact {
		i := with()
		i.Arch = foreignArch()
		return Index(i.Build())
	},
	"test/windows": func() *Artifact {
		i := with()
		i.OS = "windows"
		return i.Build()
	},
}

// foreignArch is one that this machine cannot be.
func foreignArch() string { return "s390x" }

// layered images: what unions and stores get wrong.
var layered = map[string]func() *Artifact{
	"test/whiteouts": func() *Artifact {
		i := with(
			Dir("w", 0o755), File("w/gone", 0o644, "lower"), File("w/stays", 0o644, "lower"),
			Dir("w/opaque", 0o755), File("w/opaque/hidden", 0o644, "lower"),
			Dir("w/replaced", 0o755), File("w/replaced/inside", 0o644, "lower"))
		i.Layers = append(i.Layers, MakeLayer(Gzip,
			Dir("w", 0o755), File("w/.wh.gone", 0o644, ""),
			Dir("w/opaque", 0o755), File("w/opaque/.wh..wh..opq", 0o644, ""), File("w/opaque/seen", 0o644, "upper"),
			File("w/replaced", 0o644, "now a file")))
		return i.Build()
	},
	"test/attributes": func() *Artifact {
		return with(
			Dir("a", 0o755), File("a/xattr", 0o644, "x").Xattr("user.colour", "blue"),
			File("a/setuid", 0o4755, "x"), File("a/owned", 0o640, "x").Own(1234, 4321),
			File("a/one", 0o644, "same"), Hardlink("a/two", "a/one"),
			File("a/latin-\xe9", 0o644, "not UTF-8"), Symlink("a/dangling", "/nowhere"),
			Device("a/fifo", tar.TypeFifo, 0, 0),
		).Build()
	},
	"test/layers128": func() *Artifact {
		i := with(Dir("l", 0o755))
		for n := len(i.Layers); n < 128; n++ {
			i.Layers = append(i.Layers, MakeLayer(Gzip, File(fmt.Sprintf("l/%d", n), 0o644, "x"), File("l/last", 0o644, fmt.Sprint(n))))
		}
		return i.Build()
	},
	"test/big": func() *Artifact { // 8 MB that no compression makes smaller
		return with(File("big", 0o644, noise(8<<20))).Build()
	},
}

// noise is the same incompressible text each time (xorshift64).
func noise(n int) string {
	var b strings.Builder
	b.Grow(n)
	x := uint64(88172645463325252)
	for range n / 8 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		for s := 0; s < 64; s += 8 {
			b.WriteByte(byte(x >> s))
		}
	}
	return b.String()
}
