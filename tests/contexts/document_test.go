package contexts

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

const file = "../../docs/contexts.md"

const head = `# Where limits come from

Limits of memory, processors, processes and disks are the kernel's cgroups, and a user has no say there before somebody gives them a part
of the tree. This is what rc does with what it finds, from every place in which it may be typed. Each row was run, as a user without
rights, in a Debian 13 with systemd; ` + "`tests/contexts`" + ` wrote this file (` + "`make test-vm VM=contexts`" + ` compares it,
` + "`RC_WRITE_DOCS=1`" + ` writes it anew). The user of the first rows has uid 1000 and lingers (` + "`loginctl enable-linger`" + `), "plain" has uid 1001 and does not.

The order: the unit, container or hand-made subtree in which rc stands, where that was delegated to the user; else one scope of the user's
own systemd for all of their containers, which the keeper asks for once, when it is born; else none. Then a container that asks for no limit
starts all the same, and one that asks is refused with what to type.

Where the kernel lets rc into that scope, rc starts the container's shim in it. From a login's own cgroup it does not (the group above both is
root's), and the keeper, which lives in the scope, starts the shim, with rc's mounts, limits, nice value, processors and OOM score.

| rc is typed in | a container with limits gets its group in | why there |
|---|---|---|
`

const middle = `
And where there is none, with a limit asked for:

| rc is typed in | it says |
|---|---|
`

const tail = `
On a host without systemd, on a hybrid or version 1 host, and in a container whose cgroup is read-only, the answer is a line of the same kind:
` + "`cgroup.TestWhyNoneIsFound`" + ` has them. A unit without ` + "`Delegate=yes`" + ` ends the rc that it started, and rc, told to stop, its container; the
container is not in the unit's cgroup. With ` + "`Delegate=yes`" + ` it is.

A logout ends everything of a user who does not linger, containers too. ` + "`rc run -d`" + ` says so, once in a login. The keeper and the containers of
a user who lingers outlive the login, the unit or the job that typed the first rc.
`

// document compares the page with what was seen, or writes it.
func document(t *testing.T, rows []row) {
	var b strings.Builder
	b.WriteString(head)
	for _, r := range rows {
		if r.group != "" {
			fmt.Fprintf(&b, "| %s | `%s` | %s |\n", r.place, r.group, r.says)
		}
	}
	b.WriteString(middle)
	for _, r := range rows {
		if r.group == "" {
			fmt.Fprintf(&b, "| %s | %s |\n", r.place, quote(r.says))
		}
	}
	b.WriteString(tail)
	if os.Getenv("RC_WRITE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	now, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(now) != b.String() {
		t.Errorf("%s says something else; RC_WRITE_DOCS=1 writes it anew:\n%s", file, b.String())
	}
}

var changing = regexp.MustCompile(`session-c?[0-9]+\.scope`)

// quote makes a line of rc's a cell: as code, and without what changes at each run.
func quote(line string) string {
	return "``" + strings.ReplaceAll(changing.ReplaceAllString(line, "session-N.scope"), "|", `\|`) + "``"
}
