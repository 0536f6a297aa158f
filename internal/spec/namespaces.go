package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// namespaces reads --pid, --ipc and --uts, and lists the namespaces that are made
// new. User, mount and cgroup namespaces are always the container's own; a joined
// sandbox brings its user namespace along (network adds the network's).
func (b *builder) namespaces() (err error) {
	if b.plan.PID, err = parseNamespace("--pid", b.o.PID, nil); err != nil {
		return err
	}
	// shareable is Docker's word for a private one that others may join, which
	// every container's is here; none is a private one without /dev/shm.
	if b.plan.IPC, err = parseNamespace("--ipc", b.o.IPC, []string{"shareable", "none"}); err != nil {
		return err
	}
	b.noShm = b.o.IPC == "none"
	if b.plan.UTS, err = parseNamespace("--uts", b.o.UTS, nil); err != nil {
		return err
	}
	b.addNamespace(specs.MountNamespace, NamespaceMode{Kind: KindPrivate})
	b.addNamespace(specs.CgroupNamespace, NamespaceMode{Kind: KindPrivate})
	b.addNamespace(specs.PIDNamespace, b.plan.PID)
	b.addNamespace(specs.IPCNamespace, b.plan.IPC)
	b.addNamespace(specs.UTSNamespace, b.plan.UTS)
	return nil
}

func (b *builder) addNamespace(t specs.LinuxNamespaceType, mode NamespaceMode) {
	if mode.Kind != KindHost && mode.Kind != KindContainer {
		b.spec.Linux.Namespaces = append(b.spec.Linux.Namespaces, specs.LinuxNamespace{Type: t})
	}
}

// parseNamespace reads one of --pid, --ipc, --uts. The words in alsoPrivate mean
// a namespace of the container's own, too.
func parseNamespace(flag, value string, alsoPrivate []string) (NamespaceMode, error) {
	name, isContainer := strings.CutPrefix(value, "container:")
	switch {
	case value == "" || value == "private" || slices.Contains(alsoPrivate, value):
		return NamespaceMode{Kind: KindPrivate}, nil
	case value == "host":
		return NamespaceMode{Kind: KindHost}, nil
	case isContainer && name != "":
		return NamespaceMode{Kind: KindContainer, Container: name}, nil
	case isContainer:
		return NamespaceMode{}, refuse(flag, value, "write container:NAME or container:ID", "no container is named")
	}
	return NamespaceMode{}, refuse(flag, value, "choose "+words(append([]string{"private", "host", "container:NAME"}, alsoPrivate...)), "no such mode")
}

// Joins lists the containers whose namespaces o joins, as typed, each once. They
// must all be of one sandbox: the engine, which can look them up, checks that.
func (o *Options) Joins() []string {
	var names []string
	for _, value := range append([]string{o.PID, o.IPC, o.UTS}, o.Network...) {
		if name, ok := strings.CutPrefix(value, "container:"); ok && name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
