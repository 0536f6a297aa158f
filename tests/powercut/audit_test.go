package powercut

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// auditor looks at the store after a boot, with rc and as its user.
type auditor struct {
	t *testing.T
	g *guest.Guest
	l *ledger
	// known are all containers by name: status and exit code.
	known map[string]container
}

type container struct {
	ID, Name string
	State    struct {
		Status   string
		Running  bool
		ExitCode int
	}
}

// do runs a line in the guest. Anything but exit code 0 is a failure of the drill.
func (a *auditor) do(line string) string {
	a.t.Helper()
	r := a.try(line)
	if r.Err != nil || r.Code != 0 {
		a.t.Errorf("after the cut: %s => %d %v\n%s%s", line, r.Code, r.Err, r.Stdout, r.Stderr)
	}
	return r.Stdout
}

func (a *auditor) try(line string) guest.Result {
	// A command takes seconds at most; one that hangs is a finding, not the end.
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	return a.g.Run(ctx, guest.User, line)
}

// audit checks everything that was promised and that the store is sound.
func (a *auditor) audit() {
	a.t.Helper()
	if out := a.do("rc ps -a 2>&1"); strings.Contains(out, "rc: ") {
		a.t.Errorf("rc ps -a complains:\n%s", out)
	} else if strings.Contains(out, "Up ") {
		a.t.Errorf("nothing was started since the boot, and rc ps -a says Up:\n%s", out)
	}
	a.containers()
	a.images()
	a.volumes()
	a.names()
}

func (a *auditor) containers() {
	a.t.Helper()
	a.known = map[string]container{}
	ids := strings.Fields(a.do("rc ps -aq --no-trunc"))
	if len(ids) > 0 {
		var all []container
		if err := json.Unmarshal([]byte(a.do("rc inspect "+strings.Join(ids, " "))), &all); err != nil {
			a.t.Errorf("rc inspect of all containers: %v", err)
		}
		for _, c := range all {
			a.known[strings.TrimPrefix(c.Name, "/")] = c
			if c.State.Running {
				a.t.Errorf("inspect says that %s runs", c.Name)
			}
		}
	}
	for name, code := range a.l.exits {
		c, ok := a.known[name]
		if !ok {
			a.t.Errorf("container %s is gone; its end with %s was acknowledged", name, code)
		} else if c.State.Status != "exited" || fmt.Sprint(c.State.ExitCode) != code {
			a.t.Errorf("container %s: %s (%d), acknowledged was an end with %s", name, c.State.Status, c.State.ExitCode, code)
		}
	}
	for now, before := range a.l.renamed {
		if _, ok := a.known[before]; ok {
			a.t.Errorf("container %s is there again, %s was acknowledged as its name", before, now)
		}
	}
}

// images are run, each by each of its names: that they are listed says little.
func (a *auditor) images() {
	a.t.Helper()
	if out := a.do("rc images 2>&1"); strings.Contains(out, "rc: ") {
		a.t.Errorf("rc images complains:\n%s", out)
	}
	var listed []struct{ RepoTags []string }
	if ids := strings.Fields(a.do("rc images -q | sort -u")); len(ids) > 0 {
		if err := json.Unmarshal([]byte(a.do("rc inspect "+strings.Join(ids, " "))), &listed); err != nil {
			a.t.Errorf("rc inspect of all images: %v", err)
		}
	}
	there := map[string]bool{}
	var script strings.Builder
	for _, i := range listed {
		for _, tag := range i.RepoTags {
			name := strings.TrimSuffix(strings.TrimPrefix(tag, "docker.io/library/"), ":latest")
			there[name] = true
			fmt.Fprintf(&script, "echo %s $(rc run --rm --network none %s sh -c 'true; cat /name 2>&1' 2>&1 || echo failed)\n", name, name)
		}
	}
	for name := range a.l.images {
		if !there[name] {
			a.t.Errorf("image %s is gone; it was acknowledged", name)
		}
	}
	for line := range strings.Lines(a.do(script.String())) {
		name, said, _ := strings.Cut(strings.TrimSpace(line), " ")
		want := strings.TrimLeft(name, "mts")
		if want == "base" {
			want = name
		}
		if said != want {
			a.t.Errorf("image %s: its file says %q, want %q", name, said, want)
		}
	}
}

func (a *auditor) volumes() {
	a.t.Helper()
	listed := map[string]bool{}
	if !a.l.missing["volume"] {
		names := strings.Fields(a.do("rc volume ls -q"))
		for _, name := range names {
			listed[name] = true
		}
		if len(names) > 0 {
			a.do("rc volume inspect " + strings.Join(names, " ") + " >/dev/null")
		}
		for _, name := range slices.Sorted(maps.Keys(a.l.volumes)) {
			if !listed[name] {
				a.t.Errorf("volume %s is gone; it was acknowledged", name)
			}
		}
	}
	for volume, lines := range a.l.lines {
		if !a.l.missing["volume"] && !listed[volume] {
			a.t.Errorf("volume %s is not listed, %d lines in it were synced", volume, len(lines))
		}
		got := map[string]bool{}
		for _, line := range strings.Fields(a.do("cat ~/.local/share/rc/volumes/" + volume + "/_data/lines")) {
			got[line] = true
		}
		for line := range lines {
			if !got[line] {
				a.t.Errorf("volume %s has lost line %s, which was synced", volume, line)
			}
		}
	}
	if len(a.l.lines) > 0 {
		a.do("rc run --rm --network none -v long:/v base sh -c 'cat /v/lines >/dev/null || ! [ -s /v/lines ]'")
	}
}

// names of the cut's victims are free or held by somebody who is there.
func (a *auditor) names() {
	a.t.Helper()
	for name := range a.l.names {
		if _, ok := a.known[name]; !ok {
			a.do("rc run --rm --network none --name " + name + " base true")
		}
	}
	clear(a.l.names)
}

// leftovers are what may remain of a store from which everything was removed, as
// patterns of paths below it.
const leftovers = `find . -mindepth 2 \( -path './hosts/*' -o -path './cache/*' -o -path './storage/*' -o -path './places/*' \) -prune -o -path './*/.lock' -o -print`

// clear removes everything and looks for what is left.
func (a *auditor) clear() {
	a.t.Helper()
	// Layers of a pull that was cut off are kept for a day, for the next pull to go
	// on from: the day passes.
	if r := a.g.Run(context.Background(), guest.Root, "date -s '2 days'"); r.Code != 0 || r.Err != nil {
		a.t.Errorf("the guest's clock: %+v", r)
	}
	a.do("ids=$(rc ps -aq) && { [ -z \"$ids\" ] || rc rm -f $ids; }")
	a.do("ids=$(rc images -q | sort -u) && { [ -z \"$ids\" ] || rc rmi -f $ids; }")
	if a.l.missing["volume"] {
		a.do("rm -rf ~/.local/share/rc/volumes/*")
	} else {
		a.do("names=$(rc volume ls -q) && { [ -z \"$names\" ] || rc volume rm $names; }")
	}
	a.do("rc system prune -af")
	a.do("rc ps") // finishes deletions that were cut off
	if left := a.do("cd ~/.local/share/rc && " + leftovers); left != "" {
		a.t.Errorf("everything was removed, and this is left:\n%s", left)
	}
	if left := a.do("cd ~/.local/share/rc/storage && find rc/dir rc-images -mindepth 1 -maxdepth 1 -type d"); left != "" {
		a.t.Errorf("all images were removed, and this is left of the layers:\n%s", left)
	}
	a.l.empty()
}
