package spec

import (
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// autoSize is how many ids --userns=auto takes when nobody says: podman's
// smallest (containers/storage, userns.go, AutoUserNsMinSize). A range of the
// usual 65536 then holds 63 such containers.
const autoSize = 1024

// usernsMode is --userns as read.
type usernsMode struct {
	kind     string // "", auto, keep-id
	size     uint32 // of auto; 0: autoSize, or more where the user's id needs it
	uid, gid uint32 // of keep-id
}

// usernsFlag reads --userns. `host` means Docker's "no remapping": the ids of
// U0. It is a nested namespace all the same, or the container's root would own
// the shim and the sandboxes of others.
func (b *builder) usernsFlag() error {
	kind, options, hasOptions := strings.Cut(b.o.Userns, ":")
	m := usernsMode{kind: kind, uid: uint32(os.Getuid()), gid: uint32(os.Getgid())}
	switch kind {
	case "", "host":
		m.kind = ""
		if hasOptions {
			return refuse("--userns", b.o.Userns, "write --userns=host", "host takes no options")
		}
	case "auto", "keep-id":
		if joined := b.o.Joins(); len(joined) > 0 {
			// A joined network or PID namespace belongs to the user namespace of who made
			// it; from another one, ping, low ports and sysctls fail with EPERM (tried).
			return refuse("--userns", b.o.Userns, "leave out --userns", "the container lives in the user namespace of %s, which it joins", quoted(joined[0]))
		}
	default:
		return refuse("--userns", b.o.Userns, "choose auto, keep-id or host", "no such mode")
	}
	if hasOptions {
		for option := range strings.SplitSeq(options, ",") {
			if err := m.set(b.o.Userns, option); err != nil {
				return err
			}
		}
	}
	b.userns = m
	return nil
}

func (m *usernsMode) set(value, option string) error {
	key, text, _ := strings.Cut(option, "=")
	var target *uint32
	switch m.kind + " " + key {
	case "auto size":
		target = &m.size
	case "keep-id uid":
		target = &m.uid
	case "keep-id gid":
		target = &m.gid
	default:
		return refuse("--userns", value, "the options are auto:size=N and keep-id:uid=N,gid=N", "%s has no option %s", m.kind, quoted(key))
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || (key == "size" && n == 0) {
		return refuse("--userns", value, "give a number", "%s is no number of ids", quoted(text))
	}
	*target = uint32(n)
	return nil
}

// idMaps chooses the sandbox's maps inside U0.
func (b *builder) idMaps() (err error) {
	p := b.plan
	switch {
	case b.in.Sandbox != nil:
		p.UIDMap, p.GIDMap = b.in.Sandbox.UIDMap, b.in.Sandbox.GIDMap
	case b.userns.kind == "auto":
		p.UIDMap, p.GIDMap, err = b.in.Mapping.Auto(b.autoSize(), b.in.UsedIDs)
	case b.userns.kind == "keep-id":
		p.UIDMap, p.GIDMap, err = b.in.Mapping.KeepID(b.userns.uid, b.userns.gid)
	default:
		p.UIDMap, p.GIDMap = b.in.Mapping.Nested()
	}
	if err != nil {
		return badFlag("--userns", b.o.Userns, err, "")
	}
	if len(b.o.Joins()) == 0 {
		// First in the list: it owns the namespaces after it, for who makes them in
		// this order (user_namespaces(7), "Interaction of user namespaces and other types").
		own := specs.LinuxNamespace{Type: specs.UserNamespace}
		b.spec.Linux.Namespaces = slices.Insert(b.spec.Linux.Namespaces, 0, own)
	}
	p.Shifted = !isIdentity(p.UIDMap) || !isIdentity(p.GIDMap)
	b.spec.Linux.UIDMappings, b.spec.Linux.GIDMappings = ociMap(p.UIDMap), ociMap(p.GIDMap)
	if m := b.in.Mapping; m != nil && m.SingleID {
		b.warn("one id is mapped: the image's other users do not exist in the container, and chown to them fails" + becauseOf(m.Why))
	}
	return nil
}

// becauseOf is the reason and the fix of a single-id mapping, as the end of a line.
func becauseOf(why error) string {
	if why == nil {
		return ""
	}
	return " (" + why.Error() + ")"
}

// autoSize makes room for a user that was given as a number.
func (b *builder) autoSize() uint32 {
	if b.userns.size > 0 {
		return b.userns.size
	}
	size := uint32(autoSize)
	user, group, _ := strings.Cut(b.userText(), ":")
	for _, s := range append([]string{user, group}, b.o.GroupAdd...) {
		if n, err := strconv.ParseUint(s, 10, 31); err == nil {
			size = max(size, uint32(n)+1)
		}
	}
	return size
}

func isIdentity(maps []userns.IDMap) bool {
	return !slices.ContainsFunc(maps, func(l userns.IDMap) bool { return l.Inside != l.Outside })
}

func ociMap(maps []userns.IDMap) []specs.LinuxIDMapping {
	out := make([]specs.LinuxIDMapping, len(maps))
	for i, l := range maps {
		out[i] = specs.LinuxIDMapping{ContainerID: l.Inside, HostID: l.Outside, Size: l.Size}
	}
	return out
}

// notMapped is the refusal of an id that the container does not have.
func (b *builder) notMapped(flag, value, what string, id uint32) error {
	fix := "choose a mapped one: --userns=auto:size=N takes more, a larger range in /etc/subuid and /etc/subgid allows more"
	if m := b.in.Mapping; m != nil && m.SingleID {
		fix = "run as 0, or get subordinate ids"
		if h, ok := m.Why.(*hint.Error); ok && h.Fix != "" {
			fix = "run as 0, or get subordinate ids: " + h.Fix
		}
	}
	return refuse(flag, value, fix, "%s %d is not mapped in the container", what, id)
}
