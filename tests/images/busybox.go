package images

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// path is Docker's default PATH for a container.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// busyboxLayer holds /bin/busybox of this machine with a link for each applet.
var busyboxLayer = sync.OnceValues(func() ([]Entry, error) {
	file, err := exec.LookPath("busybox")
	if err != nil {
		return nil, fmt.Errorf("%w: install busybox-static (tests/setup does)", err)
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	f, err := elf.NewFile(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return nil, fmt.Errorf("%s needs shared libraries: install busybox-static", file)
		}
	}
	list, err := exec.Command(file, "--list").Output()
	if err != nil {
		return nil, fmt.Errorf("%s --list: %w", file, err)
	}
	entries := []Entry{Dir("bin", 0o755), File("bin/busybox", 0o755, string(body))}
	for _, applet := range strings.Fields(string(list)) {
		if applet != "busybox" && !strings.Contains(applet, "/") {
			entries = append(entries, Symlink("bin/"+applet, "busybox"))
		}
	}
	return entries, nil
})

// baseLayer is the rest of a small distribution. /tmp is 1777 and /home/app
// belongs to somebody else, as in real images.
func baseLayer() []Entry {
	return []Entry{
		Dir("dev", 0o755), Dir("etc", 0o755), Dir("home", 0o755), Dir("home/app", 0o755).Own(1000, 1000),
		Dir("proc", 0o555), Dir("root", 0o700), Dir("run", 0o755), Dir("sbin", 0o755), Dir("sys", 0o555),
		{Header: tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}},
		Dir("usr", 0o755), Dir("usr/bin", 0o755), Dir("var", 0o755), Dir("var/log", 0o755),
		File("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\ndaemon:x:2:2:daemon:/sbin:/bin/false\napp:x:1000:1000:app:/home/app:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		File("etc/group", 0o644, "root:x:0:\ndaemon:x:2:\naudio:x:29:app\napp:x:1000:\nextra:x:2000:\nnobody:x:65534:\n"),
		File("etc/os-release", 0o644, "ID=rctest\nNAME=\"rc test image\"\nVERSION_ID=3.99\n"),
	}
}

// bases holds the layers that most images begin with: packing the same two
// megabytes for each would be most of the catalogue's time.
var bases = map[Compression]func() []Layer{
	Gzip:  sync.OnceValue(func() []Layer { return packBase(Gzip) }),
	Zstd:  sync.OnceValue(func() []Layer { return packBase(Zstd) }),
	Plain: sync.OnceValue(func() []Layer { return packBase(Plain) }),
}

// base returns the two layers that nearly every image here begins with.
func base(c Compression) []Layer { return slices.Clone(bases[c]()) }

func packBase(c Compression) []Layer {
	bb, err := busyboxLayer()
	if err != nil {
		panic(err) // Catalog asked before
	}
	return []Layer{MakeLayer(c, bb...), MakeLayer(c, baseLayer()...)}
}
