// Package limits shows in the guest, as its lingering user from an ssh-like login,
// that limits are real: each at a start, after `rc update`, lifted, and under the
// load of `rc exec`.
//
//	RC_GUEST=1 RC_BIN=$PWD/bin go test ./tests/limits -v
package limits

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// lab is a guest with an image.
type lab struct {
	*testing.T
	g *guest.Guest
}

// image makes the image "limits": busybox, and the program load.
const image = `set -e
d=$(mktemp -d)
mkdir -p $d/bin $d/tmp $d/etc
cp /bin/busybox /share/load $d/bin/
for name in sh sleep cat ls true kill seq timeout echo; do ln -s busybox $d/bin/$name; done
echo root:x:0:0::/:/bin/sh >$d/etc/passwd
tar -C $d -cf - . | rc import - limits
mkdir -m 777 -p disk`

func TestLimits(t *testing.T) {
	guest.Require(t)
	// By counted instructions: a share of a CPU is then one of what was executed,
	// however busy this machine is (43 % of 50 were seen by the clock).
	g := guest.Start(t, guest.Options{Counted: true, Share: map[string]string{"bin": guest.Programs(t), "load": guest.Compiled(t, "./load")}})
	l := &lab{t, g}
	l.do(image)
	for _, part := range []struct {
		name string
		run  func(*lab)
	}{
		{"memory", (*lab).memory}, {"oom of a child", (*lab).oomOfChild}, {"cpus", (*lab).cpus}, {"shares", (*lab).shares}, {"pids", (*lab).pids}, {"cpuset", (*lab).cpuset},
		{"disk", (*lab).disk}, {"weights", (*lab).weights}, {"huge pages", (*lab).hugePages}, {"files by name", (*lab).conf}, {"place", (*lab).place},
		{"restart", (*lab).restart}, {"out of reach", (*lab).outOfReach}, {"fallback", (*lab).fallback}, {"stand-ins", (*lab).standIns}, {"stats", (*lab).stats},
	} {
		t.Run(part.name, func(t *testing.T) {
			l := &lab{t, g}
			t.Cleanup(func() { l.try("rc rm -f $(rc ps -aq) 2>/dev/null") })
			part.run(l)
		})
	}
}

// slow is the limit of one line: everything is 15 to 20 times slower in there.
const slow = 3 * time.Minute

func (l *lab) as(user, line string) guest.Result {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), slow)
	defer cancel()
	r := l.g.Run(ctx, user, line)
	if r.Err != nil {
		l.Fatalf("%s: %v\n%s%s", line, r.Err, r.Stdout, r.Stderr)
	}
	return r
}

func (l *lab) try(line string) guest.Result { l.Helper(); return l.as(guest.User, line) }

// do runs a line that has to work, and returns its output without the last newline.
func (l *lab) do(line string) string {
	l.Helper()
	r := l.try(line)
	if r.Code != 0 {
		l.Fatalf("%s => %d\n%s%s", line, r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// says runs a line that has to fail, with each of the words on standard error.
func (l *lab) says(line string, words ...string) {
	l.Helper()
	r := l.try(line)
	if r.Code == 0 {
		l.Errorf("%s works: %s", line, r.Stdout)
	}
	for _, w := range words {
		if !strings.Contains(r.Stderr, w) {
			l.Errorf("%s does not say %q:\n%s", line, w, r.Stderr)
		}
	}
}

// near checks a figure that a line prints last.
func (l *lab) near(what, printed string, want, tolerance float64) {
	l.Helper()
	words := strings.Fields(printed)
	if len(words) == 0 {
		l.Errorf("%s: nothing was printed", what)
		return
	}
	got, err := strconv.ParseFloat(words[len(words)-1], 64)
	if err != nil || math.Abs(got-want) > tolerance {
		l.Errorf("%s: %s, want %.1f ± %.1f", what, printed, want, tolerance)
		return
	}
	l.Logf("%s: %.1f (want %.1f ± %.1f)", what, got, want, tolerance)
}

func (l *lab) is(what, got, want string) {
	l.Helper()
	if got != want {
		l.Errorf("%s: %q, want %q", what, got, want)
		return
	}
	l.Logf("%s: %s", what, got)
}

// start runs a container that does nothing, for execs; its name is "box".
func (l *lab) start(flags string) {
	l.Helper()
	l.do("rc rm -f box >/dev/null 2>&1; rc run -d --name box --network none -v $PWD/disk:/disk " + flags + " limits load sleep 10000")
}

// run is the line of a container in the foreground.
func run(flags, command string) string {
	return "rc run --rm --network none -v $PWD/disk:/disk " + flags + " limits " + command
}

// file reads a file of the group of the container.
func (l *lab) file(container, name string) string {
	l.Helper()
	return l.do(fmt.Sprintf("cat $(rc inspect -f '{{.HostConfig.CgroupPath}}' %s)/%s", container, name))
}

func (l *lab) id(container string) string {
	l.Helper()
	return l.do("rc inspect -f '{{.Id}}' " + container)
}

// inspect is what rc says of a container.
type inspect struct {
	State struct {
		Status    string
		OOMKilled bool
		ExitCode  int
	}
	HostConfig struct{ CgroupPath, CgroupParent string }
}

func (l *lab) inspect(container string) inspect {
	l.Helper()
	var all []inspect
	if err := json.Unmarshal([]byte(l.do("rc inspect "+container)), &all); err != nil || len(all) != 1 {
		l.Fatalf("rc inspect %s: %v", container, err)
	}
	return all[0]
}
