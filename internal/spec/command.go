package spec

import (
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// command merges entrypoint and command (moby, daemon/commit.go, merge): the
// image's Cmd holds only while neither --entrypoint nor a command is given, and
// an empty --entrypoint resets the image's. Shell forms are the image's own:
// they arrive as ["/bin/sh", "-c", …] already.
func (b *builder) command() error {
	entrypoint, args := b.img.Entrypoint, b.o.Command
	if b.o.Entrypoint != nil {
		entrypoint = nil
		if *b.o.Entrypoint != "" {
			entrypoint = []string{*b.o.Entrypoint}
		}
	} else if len(args) == 0 {
		args = b.img.Cmd
	}
	all := slices.Concat(entrypoint, args)
	if len(all) == 0 {
		return hint.Newf("run the container", "give the command after the image's name", "no command is given, and the image names none")
	}
	for _, a := range all {
		if strings.Contains(a, "\x00") { // only an image can hold one; execve would cut there
			return hint.Newf("command of the image", "rebuild the image, or give a command", "a NUL byte in %s", quoted(a))
		}
	}
	b.spec.Process.Args = all
	return nil
}

// workdir is --workdir, else the image's; init makes it where it is missing.
func (b *builder) workdir() error {
	dir, op := b.img.WorkingDir, "the image's WORKDIR"
	if b.o.Workdir != "" {
		dir, op = b.o.Workdir, "--workdir"
	}
	if dir == "" {
		dir = "/"
	}
	if dir[0] != '/' || strings.Contains(dir, "\x00") {
		return refuse(op, dir, "give --workdir an absolute path", "not an absolute path")
	}
	b.spec.Process.Cwd = path.Clean(dir)
	return nil
}

// hostname is the short id unless -h says otherwise; a namespace that is not the
// container's own keeps the name it has.
func (b *builder) hostname() error {
	name := b.o.Hostname
	if name != "" {
		switch {
		case b.plan.UTS.Kind != KindPrivate:
			// moby, runconfig.ErrConflictUTSHostname
			return refuse("--hostname", name, "leave out --hostname or --uts="+b.o.UTS, "the name in a UTS namespace that is not the container's own cannot be changed")
		case b.plan.Network.Kind == KindContainer:
			// moby, runconfig.ErrConflictNetworkHostname
			return refuse("--hostname", name, "leave out --hostname", "a container on the network of %s has that one's host name", quoted(b.plan.Network.Container))
		case !domain(name) || len(name) > 64: // utsname(7): __NEW_UTS_LEN
			return refuse("--hostname", name, "use letters, digits, - and ., at most 64", "not a host name")
		}
	}
	switch {
	case b.plan.UTS.Kind != KindPrivate:
		return nil
	case name != "":
	case b.plan.Network.Kind == KindHost:
		name = hostName() // as Docker: programs look up their own name in the host's files
	case b.plan.Network.Kind == KindContainer && b.in.Sandbox != nil:
		name = b.in.Sandbox.Hostname
	}
	if name == "" {
		name = b.in.ID[:min(12, len(b.in.ID))]
	}
	b.spec.Hostname = name
	return nil
}

// hostName is this host's own name.
func hostName() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "localhost" // cannot fail with a valid pointer
	}
	return unix.ByteSliceToString(uts.Nodename[:])
}
