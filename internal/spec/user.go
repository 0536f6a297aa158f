package spec

import (
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/userns"
)

// userText is the user as typed, else the image's; "" is root.
func (b *builder) userText() string {
	switch {
	case b.o.User != "":
		return b.o.User
	case b.userns.kind == "keep-id" && b.plan.Systemd != "":
		return "0" // systemd is nothing as another user; the kept one is its to log in
	case b.userns.kind == "keep-id":
		// podman-run(1): with keep-id the container runs as the kept user.
		return strconv.FormatUint(uint64(b.userns.uid), 10) + ":" + strconv.FormatUint(uint64(b.userns.gid), 10)
	}
	return b.img.User
}

// user sets Process.User; see Plan for what is left to init. Docker looks even a
// number up in the image's passwd, for its group and supplementary groups
// (moby/sys/user, GetExecUser). What is a number can be checked here, before
// anything starts.
func (b *builder) user() error {
	flag, text := "--user", b.userText()
	if b.o.User == "" {
		flag = "the image's USER"
	}
	name, group, hasGroup := strings.Cut(text, ":")
	if strings.Contains(group, ":") || strings.ContainsAny(text, "\x00\n") || (hasGroup && group == "") {
		return refuse(flag, text, "write USER, USER:GROUP, UID or UID:GID", "not a user and a group")
	}
	// `--user :GROUP` is root with another group (moby/sys/user, GetExecUser).
	if name == "" {
		name = "0"
	}
	u := &b.spec.Process.User
	uid, err := b.id(flag, text, "user", name, b.plan.UIDMap)
	if err != nil {
		return err
	}
	gid, err := b.id(flag, text, "group", group, b.plan.GIDMap)
	if err != nil {
		return err
	}
	u.UID, u.GID = uid, gid
	u.Username = text
	return b.groups()
}

// groups checks --group-add; init resolves the names.
func (b *builder) groups() error {
	for _, g := range b.o.GroupAdd {
		if g == "" || strings.ContainsAny(g, ":\n") {
			return refuse("--group-add", g, "give the name or the number of a group", "not a group")
		}
		if g == "keep-groups" {
			return refuse("--group-add", g, "name the groups of the image", "your own groups cannot be kept: the container has ids of its own")
		}
		if m := b.in.Mapping; m != nil && m.SingleID {
			fix := "get subordinate ids"
			if h, ok := m.Why.(*hint.Error); ok && h.Fix != "" {
				fix = h.Fix
			}
			return refuse("--group-add", g, fix, "groups cannot be set where one id is mapped (user_namespaces(7): setgroups is denied)")
		}
		if _, err := b.id("--group-add", g, "group", g, b.plan.GIDMap); err != nil {
			return err
		}
	}
	b.plan.GroupAdd = b.o.GroupAdd
	return nil
}

// id reads s as a number, which must then be mapped; a name is 0 for now.
func (b *builder) id(flag, value, what, s string, maps []userns.IDMap) (uint32, error) {
	if s == "" || strings.Trim(strings.TrimPrefix(s, "-"), "0123456789") != "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 31) // moby/sys/user: 0 to 1<<31-1
	if err != nil {
		return 0, refuse(flag, value, "give an id from 0 to 2147483647", "%s is no %s id", s, what)
	}
	if _, ok := userns.Lookup(maps, uint32(n)); !ok {
		return 0, b.notMapped(flag, value, what, uint32(n))
	}
	return uint32(n), nil
}
