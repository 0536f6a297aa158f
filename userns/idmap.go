package userns

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/host"
)

// writeMaps gives the new user namespace of pid, a child of this process that
// waits for it, the maps of m.
func writeMaps(pid int, m *Mapping) error {
	for _, lines := range [][]IDMap{m.UID, m.GID} {
		if err := check(lines); err != nil {
			return hint.New("map IDs", err, "")
		}
	}
	if m.SingleID {
		return writeDirect(pid, m)
	}
	if isRoot() {
		// With CAP_SETUID no program has to vouch for the ranges.
		err := writeDirect(pid, m)
		if !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return runTools(host.Here(), pid, m)
}

// writeDirect writes the maps as the user who made the namespace. The kernel
// lets an unprivileged one map only his own ids, and his group only after
// setgroups is denied (user_namespaces(7), CVE-2014-8989).
func writeDirect(pid int, m *Mapping) error {
	dir := "/proc/" + strconv.Itoa(pid) + "/"
	files := [][2]string{{"gid_map", format(m.GID)}, {"uid_map", format(m.UID)}}
	if m.SingleID {
		files = append([][2]string{{"setgroups", "deny"}}, files...)
	}
	for _, f := range files {
		// No O_TRUNC and one write: the file takes a map once.
		file, err := os.OpenFile(dir+f[0], os.O_WRONLY, 0)
		if err == nil {
			_, err = file.WriteString(f[1])
			_ = file.Close()
		}
		if err != nil {
			why := host.Here().WhyNoUserNS(err)
			return hint.New("write "+f[0]+" of the user's namespace", err, why.Fix)
		}
	}
	return nil
}

// runTools runs newuidmap and newgidmap side by side: 1.3 ms instead of 2.4.
func runTools(s *host.System, pid int, m *Mapping) error {
	uid := beginTool(s, "newuidmap", pid, m.UID)
	gid := beginTool(s, "newgidmap", pid, m.GID)
	uerr, gerr := uid.end(), gid.end()
	if uerr != nil {
		return uerr
	}
	return gerr
}

// idTool is a newuidmap or newgidmap on its way.
type idTool struct {
	s       *host.System
	name    string
	command *host.Command
	err     error
}

func beginTool(s *host.System, name string, pid int, maps []IDMap) *idTool {
	t := &idTool{s: s, name: name}
	path := s.LookPath(name)
	if path == "" {
		t.err = unix.ENOENT
		return t
	}
	args := []string{strconv.Itoa(pid)}
	for _, l := range maps {
		for _, v := range []uint32{l.Inside, l.Outside, l.Size} {
			args = append(args, strconv.FormatUint(uint64(v), 10))
		}
	}
	t.command, t.err = host.Begin(path, args...)
	return t
}

func (t *idTool) end() error {
	err := t.err
	if err == nil {
		_, err = t.command.End()
	}
	if err == nil {
		return nil
	}
	return diagnose(t.s, t.name, err)
}

// diagnose finds which of its causes made the tool fail. What the host shows
// comes first, since a tool without privilege only says that a write failed.
func diagnose(s *host.System, name string, err error) error {
	op := "map subordinate IDs with " + name
	if f := s.IDMapTool(name); !f.OK {
		return f.Err(op)
	}
	var failed *host.CommandError
	if !errors.As(err, &failed) {
		return hint.New(op, err, "")
	}
	said := failed.Said
	for _, c := range spoken {
		if strings.Contains(said, c.part) {
			return hint.New(op, errors.New(c.cause+" ("+failed.Error()+")"), c.fix(s))
		}
	}
	if pid := s.Tracer(); pid != "" && strings.Contains(said, "write to") {
		return hint.New(op, fmt.Errorf("%w (process %s traces this one, and what it executes gains no privilege then)", failed, pid), "start a container without strace first, and trace while that one runs")
	}
	if strings.Contains(said, "write to") { // "write to uid_map failed: Operation not permitted"
		f := s.WhyNoUserNS(unix.EPERM)
		return hint.New(op, fmt.Errorf("%w (%s)", failed, f.Evidence), f.Fix)
	}
	return hint.New(op, failed, "run `"+name+"` by hand to see more")
}

// spoken is what shadow's newuidmap says (src/newuidmap.c, lib/idmapping.c), and
// what that means.
var spoken = []struct {
	part, cause string
	fix         func(*host.System) string
}{
	{"not allowed", "the range is smaller than asked for, or not this user's", rangeFix},
	{"Cannot determine your user name", "this user ID has no entry in the host's user database",
		func(*host.System) string { return "add a passwd entry for the user, or log in as one that has one" }},
	{"owned by a different user", "the current group is not the login group, or the process changed hands",
		func(*host.System) string { return "start rc outside of newgrp and sg, from a shell of the login group" }},
	{"set caps", "the tool could not use its privilege", capsFix},
	{"seteuid", "the tool could not use its privilege", capsFix},
	{"setuid", "the tool could not use its privilege", capsFix},
}

func rangeFix(s *host.System) string {
	r := s.SubordinateRanges()
	return fmt.Sprintf("look at %s for %s; a range of 65536 for users and for groups is usual", r.From, r.User)
}

func capsFix(*host.System) string {
	return "give it CAP_SETUID and CAP_SETGID in the outer container, or sudo chmod u+s the tool"
}
