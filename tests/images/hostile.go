package images

import "archive/tar"

// hostile images, which a real registry holds without a word. "pwned" is what
// each tries to write outside: see the e2e scripts for what must come of it.
var hostile = map[string]func() *Artifact{
	"evil/dotdot":   func() *Artifact { return with(File("../../../../../../tmp/rc-e2e-pwned", 0o644, "pwned")).Build() },
	"evil/absolute": func() *Artifact { return with(File("/tmp/rc-e2e-pwned", 0o644, "pwned")).Build() },
	"evil/symlink": func() *Artifact {
		return with(Symlink("esc", "../../../../../../../../tmp"), File("esc/rc-e2e-pwned", 0o644, "pwned")).Build()
	},
	"evil/abssymlink": func() *Artifact {
		return with(Symlink("esc", "/tmp"), File("esc/rc-e2e-pwned", 0o644, "pwned")).Build()
	},
	"evil/hardlink": func() *Artifact {
		return with(Hardlink("shadow", "../../../../../../../../../etc/hostname")).Build()
	},
	"evil/hardlinkvia": func() *Artifact {
		return with(Symlink("esc", "../../../../../../../../etc"), Hardlink("stolen", "esc/hostname")).Build()
	},
	"evil/whiteout": func() *Artifact {
		return with(Symlink("esc", "../../../../../../../../tmp"), File("esc/.wh.rc-e2e-victim", 0o644, "")).Build()
	},
	"evil/whiteoutdot": func() *Artifact { return with(File("etc/.wh...", 0o644, "")).Build() },
	"evil/device": func() *Artifact {
		return with(Device("dev/kmem", tar.TypeChar, 1, 2), Device("disk", tar.TypeBlock, 8, 0)).Build()
	},
	// The kernel reads user.overlay.* of a layer as its own marks: with them an
	// image could point a file at another one or hide a folder
	// (Documentation/filesystems/overlayfs.rst, "redirect_dir", "metacopy").
	"evil/overlayxattr": func() *Artifact {
		return with(
			Dir("o", 0o755).Xattr("user.overlay.opaque", "y"), File("o/file", 0o644, "kept").Xattr("user.overlay.metacopy", ""),
			Dir("redirected", 0o755).Xattr("user.overlay.redirect", "/etc"),
			File("escaped", 0o644, "x").Xattr("user.overlay.overlay.opaque", "y")).Build()
	},
	"evil/diffid": func() *Artifact { // the config promises other content than the layers have
		i := with()
		for range i.Layers {
			i.DiffIDs = append(i.DiffIDs, digest([]byte("something else")))
		}
		return i.Build()
	},
	"evil/passwd": func() *Artifact {
		return replaced("etc/passwd", Symlink("etc/passwd", "../../../../../../../../etc/passwd"))
	},
	"evil/passwdproc": func() *Artifact {
		return replaced("etc/passwd", Symlink("etc/passwd", "/proc/self/environ"))
	},
	"evil/passwdfifo": func() *Artifact { return replaced("etc/passwd", Device("etc/passwd", tar.TypeFifo, 0, 0)) },
	"evil/dev":        func() *Artifact { return replaced("dev/", Symlink("dev", "/etc")) },
	"evil/proc":       func() *Artifact { return replaced("proc/", Symlink("proc", "/etc")) },
	"evil/sys":        func() *Artifact { return replaced("sys/", Symlink("sys", "../../../../../tmp")) },
	"evil/etc":        func() *Artifact { return replacedAll("etc", Symlink("etc", "../../../../../../tmp")) },
	"evil/workdir": func() *Artifact {
		i := with(Symlink("work", "../../../../../../../tmp"))
		i.Config.WorkingDir = "/work/rc-e2e-pwned"
		return i.Build()
	},
	"evil/volume": func() *Artifact {
		i := with(Symlink("vol", "../../../../../../../tmp"))
		i.Config.Volumes = map[string]struct{}{"/vol/rc-e2e-pwned": {}}
		return i.Build()
	},
	"evil/volumedots": func() *Artifact {
		i := with()
		i.Config.Volumes = map[string]struct{}{"/../../../../tmp/rc-e2e-pwned": {}}
		return i.Build()
	},
	"evil/env": func() *Artifact { // a loader or a helper of ours must not see these
		i := with()
		i.Config.Env = append(i.Config.Env, "LD_PRELOAD=/evil.so", "NOEQUALS", "=empty", "RC_ROOT=/tmp/rc-e2e-pwned", "XDG_RUNTIME_DIR=/tmp/rc-e2e-pwned")
		return i.Build()
	},
}

// replaced is the base without the entry name, and with e in its place.
func replaced(name string, e Entry) *Artifact {
	return filtered(func(n string) bool { return n == name }, e)
}

// replacedAll leaves out the folder and all that is in it.
func replacedAll(dir string, e Entry) *Artifact {
	return filtered(func(n string) bool { return n == dir+"/" || len(n) > len(dir) && n[:len(dir)+1] == dir+"/" }, e)
}

func filtered(drop func(string) bool, e Entry) *Artifact {
	entries := []Entry{}
	for _, b := range baseLayer() {
		if !drop(b.Name) {
			entries = append(entries, b)
		}
	}
	return Image{Config: shellConfig(), Layers: []Layer{base(Gzip)[0], MakeLayer(Gzip, append(entries, e)...)}}.Build()
}
