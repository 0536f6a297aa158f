package spec

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/rc-containers/rc/userns"
)

// in goes to a fresh folder with an empty src/ and a file f.
func inFolder(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	if err := os.Mkdir("src", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("f", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestVolumeFlag(t *testing.T) {
	dir := inFolder(t)
	for value, want := range map[string]string{
		dir + "/src:/d":                       "bind " + dir + "/src rbind,rprivate",
		"./src:/d":                            "bind " + dir + "/src rbind,rprivate",
		".:/d/":                               "bind " + dir + " rbind,rprivate",
		"./src:/d:ro":                         "bind " + dir + "/src rbind,rprivate,ro,rro",
		"./src:/d:rw,z,rslave":                "bind " + dir + "/src rbind,rslave",
		"./f:/d:cached,ro,private":            "bind " + dir + "/f rbind,private,ro,rro",
		"./src/../src:/a/../d:Z,nocopy":       "bind " + dir + "/src rbind,rprivate",
		dir + "//src/:/d:consistent,rprivate": "bind " + dir + "/src rbind,rprivate",
	} {
		if got := mountText(plan(t, Options{Volume: []string{value}}), "/d"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", value, got, want)
		}
	}
	p := plan(t, Options{Volume: []string{"./new/deep:/d", "./src:/s", "./src:/s"}})
	if fi, err := os.Stat("new/deep"); err != nil || !fi.IsDir() {
		t.Error(err)
	}
	if findMount(p, "/s") == nil {
		t.Error("the same -v twice is one mount")
	}
}

// U and O are work of the shim's: the plan names the mounts by their place in the list.
func TestVolumeChownAndOverlay(t *testing.T) {
	inFolder(t)
	p := plan(t, Options{Volume: []string{"./src:/deep/er:U", "./src:/o:O", "vol:/v:O", "vol:/u:U,z", "./src:/plain"},
		Mount: []string{"type=bind,src=./src,dst=/m,chown", "type=volume,src=vol,dst=/w,U=true", "type=bind,src=./src,dst=/n,chown=false"}})
	places := func(list []int) (dests []string) {
		for _, i := range list {
			dests = append(dests, p.Spec.Mounts[i].Destination)
		}
		slices.Sort(dests)
		return dests
	}
	if got := places(p.Chown); !slices.Equal(got, []string{"/deep/er", "/m", "/u", "/w"}) {
		t.Errorf("chown: %q", got)
	}
	if got := places(p.Overlay); !slices.Equal(got, []string{"/o", "/v"}) {
		t.Errorf("overlay: %q", got)
	}
	for _, dest := range []string{"/o", "/v"} {
		if o := findMount(p, dest).Options; slices.Contains(o, "rbind") {
			t.Errorf("%s: an overlay has no mounts below it: %q", dest, o)
		}
	}
	for _, v := range p.Volumes {
		if v.Destination == "/v" && !v.NoCopy {
			t.Error("the image's files would be copied into what is thrown away")
		}
	}
}

func TestVolumeRefusals(t *testing.T) {
	inFolder(t)
	for value, want := range map[string]string{
		"":                      "not a source, a destination",
		"a:b:c:d":               "not a source, a destination",
		":/d":                   "not a source, a destination",
		"/d:ro":                 "are options, and no destination",
		"./src:d":               `"d": not an absolute path`,
		"./src:/":               "the root itself",
		"./src:/x/..":           "the root itself",
		"./src:/proc":           "nothing can be mounted inside /proc",
		"./src:/proc/self":      "nothing can be mounted inside /proc",
		"x:/d":                  `"x" is no name of a volume: too short`,
		"src/sub:/d":            "write ./src/sub for a folder",
		"~/src:/d":              "the shell has not expanded ~",
		"./src:/d:bad":          `no option "bad"; the options are ro, rw`,
		"./src:/d:ro,rw":        "ro and rw at once",
		"./src:/d:U,O":          "O leaves the source as it is",
		"./src:/d:O,ro":         "leave out ro",
		"vol:/d:rw,O":           "leave out rw",
		"./src:/d:O,rslave":     "an overlay shows no mount",
		"./src:/d:ro,U":         "may not write to it",
		"./src:/d:rshared":      "cannot appear on the host; use rslave",
		"vol:/d:rslave":         "a volume has no propagation",
		"d":                     "not an absolute path",
		"./f/below:/d":          "not a directory",
		"./src:/d:":             "not a source",
		"./src:/d:z,Z":          "z and Z at once",
		"./src:/d:slave,rslave": "slave and rslave at once",
	} {
		err := Check(&Options{Volume: []string{value}})
		checkRefusal(t, err, want)
		if err != nil && !strings.Contains(err.Error(), quoted(value)) {
			t.Errorf("%v does not quote %q", err, value)
		}
	}
	checkRefusal(t, Check(&Options{Volume: []string{"./src:/d", "./f:/d"}}), `duplicate mount point /d: --volume "./src:/d" is there`)
	checkRefusal(t, Check(&Options{Volume: []string{"./src:/d"}, Tmpfs: []string{"/d/"}}), "duplicate mount point /d")
	// lxcfs shows a container its own limits in these.
	if err := Check(&Options{Volume: []string{"./f:/proc/meminfo", "./f:/proc/cpuinfo:ro"}}); err != nil {
		t.Error(err)
	}
	// What cannot be made is said when it is tried, the last thing of all.
	if os.Getuid() == 0 {
		t.Log("as root every folder can be made: that refusal is not looked at")
		return
	}
	_, err := Build(input(&Options{Command: []string{"sh"}, Volume: []string{"/proc/nope/x:/d"}}))
	checkRefusal(t, err, "make the folder")
}

func TestVolumes(t *testing.T) {
	p := plan(t, Options{Volume: []string{"data:/var/data:ro,nocopy", "/anon"}, Mount: []string{"source=other,target=/o,volume-subpath=a/b,volume-label=k=v"}})
	want := []Volume{
		{Anonymous: true, Destination: "/anon"},
		{Name: "other", Destination: "/o", Subpath: "a/b", Labels: map[string]string{"k": "v"}},
		{Name: "data", Destination: "/var/data", ReadOnly: true, NoCopy: true},
	}
	for i, v := range p.Volumes {
		m := p.Spec.Mounts[v.MountIndex]
		if m.Destination != v.Destination || m.Type != "bind" || m.Source != "" {
			t.Errorf("%+v stands for %+v", v, m)
		}
		if v.ReadOnly != slices.Contains(m.Options, "rro") {
			t.Errorf("%q", m.Options)
		}
		p.Volumes[i].MountIndex = 0
	}
	if !reflect.DeepEqual(p.Volumes, want) {
		t.Errorf("%+v", p.Volumes)
	}
}

func TestImageVolumes(t *testing.T) {
	inFolder(t)
	in := input(&Options{Command: []string{"sh"}, Volume: []string{"./src:/a"}, Tmpfs: []string{"/b"}})
	in.Image.Config.Volumes = map[string]struct{}{"/a": {}, "/b/": {}, "/c": {}, "rel": {}, "/etc/hosts": {}}
	p := mustBuild(t, in)
	var names []string
	for _, v := range p.Volumes {
		names = append(names, v.Destination)
		if !v.Anonymous || v.Name != "" {
			t.Errorf("%+v", v)
		}
	}
	same(t, "volumes", names, []string{"/c", "/rel"})
	if !strings.HasPrefix(mountText(p, "/a"), "bind") || !strings.HasPrefix(mountText(p, "/b"), "tmpfs") {
		t.Error(mountText(p, "/a"), mountText(p, "/b"))
	}
	for path, want := range map[string]string{"/": "the root itself", "/proc/self": "inside /proc", "..": "the root itself", "/a\x00b": "NUL"} {
		in := input(&Options{Command: []string{"sh"}})
		in.Image.Config.Volumes = map[string]struct{}{path: {}}
		_, err := Build(in)
		checkRefusal(t, err, want)
	}
}

func TestMountFlag(t *testing.T) {
	dir := inFolder(t)
	for value, want := range map[string]string{
		"type=bind,source=" + dir + "/src,target=/d":                          "bind " + dir + "/src rbind,rprivate",
		"type=bind,src=./src,dst=/d,readonly":                                 "bind " + dir + "/src rbind,rprivate,ro,rro",
		"type=BIND,src=.,destination=/d,ro=true,bind-propagation=rslave":      "bind " + dir + " rbind,rslave,ro,rro",
		"type=bind,src=./src,dst=/d,ro=false,bind-nonrecursive":               "bind " + dir + "/src bind,rprivate",
		"type=bind,src=./src,dst=/d,bind-recursive=disabled,ro":               "bind " + dir + "/src bind,rprivate,ro,rro",
		"type=bind,src=./src,dst=/d,bind-recursive=writable,ro":               "bind " + dir + "/src rbind,rprivate,ro",
		"type=bind,src=./src,dst=/d,bind-recursive=readonly,ro,consistency=x": "bind " + dir + "/src rbind,rprivate,ro,rro",
		"type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=1770,ro":                  "tmpfs tmpfs noexec,nosuid,nodev,size=1048576,mode=1770,ro",
		"type=tmpfs,dst=/d": "tmpfs tmpfs noexec,nosuid,nodev",
		"dst=/d":            "bind  rbind,rprivate",
		"src=vol,dst=/d,volume-nocopy=true,readonly=1,volume-driver=local": "bind  rbind,rprivate,ro,rro",
		`type=bind,"src=./src",dst=/d`:                                     "bind " + dir + "/src rbind,rprivate",
	} {
		if got := mountText(plan(t, Options{Mount: []string{value}}), "/d"); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", value, got, want)
		}
	}
	plan(t, Options{Mount: []string{"type=bind,src=./made,dst=/d,bind-create-src"}})
	if _, err := os.Stat("made"); err != nil {
		t.Error(err)
	}
}

func TestMountRefusals(t *testing.T) {
	inFolder(t)
	for value, want := range map[string]string{
		"":                               "not a list",
		"x":                              `"x" has no value`,
		"a=b,target=/d":                  `no key "a"`,
		"taget=/d":                       "did you mean target?",
		"type=bind,target=/d":            "no source; add source=PATH",
		"type=bind,src=x,target=/d":      "write ./x or the whole path",
		"type=bind,src=./nope,target=/d": "no such file or directory; make the source first",
		"type=bind,src=./src":            "no target",
		"type=bind,src=./src,dst=d":      "not an absolute path",
		"type=overlay,dst=/d":            `no type "overlay"`,
		"type=image,src=x,dst=/d":        "mounts of type image are not here",
		"type=tmpfs,src=x,dst=/d":        "a tmpfs has no source",
		"type=tmpfs,dst=/d,tmpfs-mode=9": "not a file mode",
		"type=tmpfs,dst=/d,tmpfs-size=m": "not a number",
		"type=tmpfs,dst=/d,bind-propagation=slave":            "bind-propagation is not for a mount of type tmpfs",
		"dst=/d,tmpfs-size=1m":                                "tmpfs-size is not for a mount of type volume",
		"dst=/d,tmpfs-size=1m,volume-nocopy":                  "volume-nocopy beside tmpfs-size",
		"dst=/d,volume-opt=type=nfs":                          "use type=bind",
		"dst=/d,volume-driver=x":                              `there is no driver "x"`,
		"dst=/d,volume-subpath=a":                             "name the volume",
		"src=vol,dst=/d,volume-subpath=../a":                  "leaves the volume",
		"src=v/x,dst=/d":                                      "is no name of a volume",
		"dst=/d,ro=maybe":                                     `"maybe" is neither true nor false`,
		"type=bind,src=./src,dst=/d,bind-recursive=x":         "is no value of bind-recursive",
		"type=bind,src=./src,dst=/d,bind-recursive=readonly":  "goes with readonly",
		"type=bind,src=./src,dst=/d,bind-propagation=rshared": "use rslave",
		"type=bind,src=./src,dst=/d,bind-propagation=x":       `no propagation "x"`,
		`type=bind,"src`:                                      "not a list",
	} {
		checkRefusal(t, Check(&Options{Mount: []string{value}}), want)
	}
}

func TestTmpfsFlag(t *testing.T) {
	for value, want := range map[string]string{
		"/d":                            "tmpfs tmpfs noexec,nosuid,nodev",
		"/d:size=64m,mode=1770":         "tmpfs tmpfs noexec,nosuid,nodev,size=64m,mode=1770",
		"/d:exec,size=50%,uid=5,gid=5":  "tmpfs tmpfs nosuid,nodev,size=50%,uid=5,gid=5",
		"/d:rw,suid,dev,nosuid,noatime": "tmpfs tmpfs noexec,nosuid,noatime",
		"/d:ro,rw,nr_inodes=5k":         "tmpfs tmpfs noexec,nosuid,nodev,nr_inodes=5k",
	} {
		if got := mountText(plan(t, Options{Tmpfs: []string{value}}), "/d"); got != want {
			t.Errorf("%s: %s", value, got)
		}
	}
	if got := mountText(plan(t, Options{Tmpfs: []string{"/d:ro", "/d:exec"}}), "/d"); got != "tmpfs tmpfs nosuid,nodev,exec" && got != "tmpfs tmpfs nosuid,nodev" {
		t.Error(got)
	}
	for value, want := range map[string]string{"d": "not an absolute path", "/": "the root itself", "/d:foo": `"foo": no option of a tmpfs`, "/d:size=x": "not a size",
		"/d:size=5mm": "not a size", "/d:mode=9": "octal", "/d:uid=root": "not the number", "/d:lowerdir=/etc": "no option of a tmpfs", "/proc/x": "inside /proc", "": "no destination"} {
		checkRefusal(t, Check(&Options{Tmpfs: []string{value}}), want)
	}
	_, err := Build(input(&Options{Command: []string{"sh"}, Tmpfs: []string{"/d:uid=70000"}}))
	checkRefusal(t, err, `--tmpfs "/d:uid=70000": user 70000 is not mapped`)
}

// A user's mount takes the place of a default one, and of all below it.
func TestLayout(t *testing.T) {
	inFolder(t)
	p := plan(t, Options{Volume: []string{"./src:/dev", "./f:/etc/hosts", "./src:/a/b/c", "./src:/a", "./src:/a/b"}, Tmpfs: []string{"/dev/shm"}})
	var order []string
	for _, m := range p.Spec.Mounts {
		order = append(order, m.Destination)
	}
	same(t, "order", order, []string{"/proc", "/sys", "/sys/fs/cgroup", "/dev", "/a", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/a/b", "/dev/shm", "/a/b/c"})
	if got := mountText(p, "/etc/hosts"); !strings.Contains(got, "/f ") {
		t.Error(got)
	}
	p = plan(t, Options{Volume: []string{"./src:/etc"}})
	if findMount(p, "/etc/hosts") != nil {
		t.Error("a file was mounted into the user's own folder")
	}
	p = plan(t, Options{ReadOnly: true})
	if !p.Spec.Root.Readonly || !strings.HasSuffix(mountText(p, "/etc/hosts"), ",ro") || strings.Contains(mountText(p, "/dev/shm"), "ro,") {
		t.Errorf("%+v %s", p.Spec.Root, mountText(p, "/etc/hosts"))
	}
}

func TestShmSize(t *testing.T) {
	for value, want := range map[string]string{"": "size=67108864", "0": "size=67108864", "1g": "size=1073741824"} {
		if got := mountText(plan(t, Options{ShmSize: value}), "/dev/shm"); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s", value, got)
		}
	}
	checkRefusal(t, Check(&Options{ShmSize: "1x"}), `--shm-size "1x"`)
	checkRefusal(t, Check(&Options{ShmSize: "-1"}), `--shm-size "-1"`)
}

func TestDevices(t *testing.T) {
	for value, dest := range map[string]string{"/dev/null": "/dev/null", "/dev/null:/dev/x": "/dev/x", "/dev/null:rwm": "/dev/null", "/dev/zero:/dev/y/z:rw": "/dev/y/z"} {
		host, _, _ := strings.Cut(value, ":")
		if got := mountText(plan(t, Options{Device: []string{value}}), dest); got != "bind "+host+" bind,rprivate,nosuid,noexec" {
			t.Errorf("%s: %q", value, got)
		}
	}
	for value, want := range map[string]string{
		"/dev/nope": "no such file or directory", "/etc/passwd": "not a device", "/etc": "a folder outside /dev", "/dev/pts/": "no devices in this folder", "null": "not an absolute path",
		"/dev/null:null": "not an absolute path", "/dev/null:/x:q": `"q" is not made of r, w and m`, "/dev/null:r": "needs a device cgroup", "/dev/null:/x:wm": "needs a device cgroup",
		"/dev/null:/a:rw:x": "not a path", "": "not a path", "vendor.example/gpu=0": "CDI names are not here", "/dev/null:/": "the root itself", "/dev/null:/x:rwr": "not made of",
	} {
		checkRefusal(t, Check(&Options{Device: []string{value}}), want)
	}
	checkRefusal(t, Check(&Options{Device: []string{"/dev/null:/dev/x", "/dev/zero:/dev/x"}}), "duplicate mount point /dev/x")
}

func TestDeviceFolder(t *testing.T) {
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("needs /dev/net/tun, a node in a folder of /dev")
	}
	for value, dest := range map[string]string{"/dev/net": "/dev/net/tun", "/dev/net/:/dev/n": "/dev/n/tun"} {
		if got := mountText(plan(t, Options{Device: []string{value}}), dest); !strings.HasPrefix(got, "bind /dev/net/tun ") {
			t.Errorf("%s: %q", value, got)
		}
	}
}

// --privileged shows the devices that the user can open, but no terminal of the
// host and none that init makes itself.
func TestPrivilegedDevices(t *testing.T) {
	p := plan(t, Options{Privileged: true})
	for _, m := range p.Spec.Mounts {
		switch {
		case m.Destination == "/dev/null", m.Destination == "/dev/tty", m.Destination == "/dev/console", m.Destination == "/dev/ptmx", strings.HasPrefix(m.Destination, "/dev/pts/"):
			t.Errorf("%+v", m)
		}
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err == nil {
		f.Close()
		if got := mountText(p, "/dev/net/tun"); got != "bind /dev/net/tun bind,rprivate,nosuid,noexec" {
			t.Error(got)
		}
	} else {
		t.Log("no /dev/net/tun that can be opened: that it is shown is not looked at")
	}
	p = plan(t, Options{Privileged: true, Volume: []string{"/dev:/dev"}})
	if findMount(p, "/dev/net/tun") != nil {
		t.Error("devices were mounted into the user's own /dev")
	}
}

func TestWithin(t *testing.T) {
	for _, c := range []struct {
		p, dir string
		want   bool
	}{{"/a", "/a", true}, {"/a/b", "/a", true}, {"/ab", "/a", false}, {"/a", "/a/b", false}, {"/a", "/", true}} {
		if within(c.p, c.dir) != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// Mounts never read an id map that is not there yet.
func TestTmpfsOwnerSingle(t *testing.T) {
	in := input(&Options{Command: []string{"sh"}, Tmpfs: []string{"/d:uid=0"}})
	in.Mapping = &userns.Mapping{UID: []userns.IDMap{{Size: 1}}, GID: []userns.IDMap{{Size: 1}}, SingleID: true}
	mustBuild(t, in)
}
