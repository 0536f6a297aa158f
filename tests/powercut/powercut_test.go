// Package powercut takes the power away from a machine that works with rc, and
// looks after the next boot whether everything that was promised is there.
//
//	RC_GUEST=1 RC_BIN=$PWD/bin go test ./tests/powercut -v -timeout 60m
//
// RC_POWERCUT_SEED repeats the choices of a run, as far as the machine does;
// RC_POWERCUT_CUTS is how many cuts (default 20).
package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// between is after how many cuts everything is removed: until then what survived
// one cut has to survive the next ones too.
const between = 4

// options of ext4 for /home. Without auto_da_alloc ext4 does what other file
// systems do: a new file that was renamed over an old one is empty after a cut
// unless somebody synced it. With commit=1 names reach the disk long before bytes.
var options = []string{"", "noauto_da_alloc", "noauto_da_alloc,commit=1", "noauto_da_alloc,data=writeback,commit=1"}

// drivers of root files: overlay's unmount syncs the whole file system and so hides
// what nobody else synced; the others do not.
var drivers = []string{"", "", "fuse-overlayfs", "copy"}

// workers of the workload. A round has some of them: a sync(2) of one, and rc has
// some, is a promise kept for all the others by accident.
var workers = []string{"ends", "lines", "pictures", "commits", "names"}

// needs of a worker whose verb is still to come.
var needs = map[string]string{"commits": "commit", "names": "rename"}

// someWorkers chooses: all of them the first time, which tells what rc has not.
func (d *drill) someWorkers(n int) []string {
	some := slices.Clone(workers)
	if n == 1 {
		return some
	}
	some = slices.DeleteFunc(some, func(worker string) bool { return d.l.missing[needs[worker]] })
	d.random.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
	return some[:1+d.random.IntN(len(some))]
}

func TestPowerCuts(t *testing.T) {
	guest.Require(t)
	seed := number(t, "RC_POWERCUT_SEED", uint64(time.Now().UnixNano()))
	cuts := int(number(t, "RC_POWERCUT_CUTS", 20))
	t.Logf("RC_POWERCUT_SEED=%d, %d cuts", seed, cuts)
	d := &drill{random: rand.New(rand.NewPCG(seed, 0)), l: newLedger(), home: filepath.Join(t.TempDir(), "home.ext4"), bin: guest.Programs(t)}
	if err := guest.NewDisk(d.home, 4096); err != nil {
		t.Fatal(err)
	}
	for cut := 1; cut <= cuts; cut++ {
		t.Run(fmt.Sprintf("cut%02d", cut), func(t *testing.T) { d.cut(t, cut) })
		sound := t.Run(fmt.Sprintf("boot%02d", cut), func(t *testing.T) { d.boot(t, cut%between == 0 || cut == cuts) })
		if !sound {
			// What is wrong now would be reported again after each cut that follows.
			d.keep(t)
			t.FailNow()
		}
	}
	t.Logf("%d promises kept through %d cuts", d.promises, cuts)
	for verb := range d.l.missing {
		t.Errorf("this rc has no %q: its part of the drill did not take place", verb)
	}
}

type drill struct {
	random    *rand.Rand
	l         *ledger
	home, bin string
	promises  int
}

func (d *drill) start(t *testing.T, options string) *guest.Guest {
	return guest.Start(t, guest.Options{
		Home: d.home, HomeOptions: options,
		Share: map[string]string{"bin": d.bin, "workload": "workload"},
	})
}

// cut boots, lets the workload promise something, and takes the power away.
func (d *drill) cut(t *testing.T, n int) {
	o, driver := options[d.random.IntN(len(options))], drivers[d.random.IntN(len(drivers))]
	promises, pause := 1+d.random.IntN(60), time.Duration(d.random.IntN(1500))*time.Millisecond
	g := d.start(t, o)
	d.l.boot()
	who := strings.Join(d.someWorkers(n), " ")
	line := fmt.Sprintf("RC_STORAGE_DRIVER=%s /share/workload %d %d %s", driver, n, d.random.IntN(1<<15), who)
	ended := make(chan error, 1)
	go func() {
		var said tail
		code, err := g.Stream(context.Background(), guest.User, line, guest.Streams{Stdout: d.l, Stderr: &said})
		ended <- fmt.Errorf("exit code %d, %w; it said: %s", code, err, said)
	}()
	made := d.l.await(promises, 3*time.Minute)
	time.Sleep(pause)
	g.Kill()
	if err := <-ended; !errors.Is(err, guest.ErrPower) {
		t.Errorf("the workload ended before the power did: %v", err)
	}
	d.l.mu.Lock()
	defer d.l.mu.Unlock()
	t.Logf("cut after %d promises, /home with %q, driver %q, %s", d.l.promises, o, driver, who)
	if made == 0 { // fewer than were to be awaited is a busy machine
		t.Errorf("no promise in three minutes")
	}
	for _, line := range d.l.bad[:min(len(d.l.bad), 5)] {
		t.Errorf("while the power was on: %s", line)
	}
	d.promises += d.l.promises
}

// boot boots again and audits.
func (d *drill) boot(t *testing.T, clear bool) {
	g := d.start(t, "")
	a := &auditor{t: t, g: g, l: d.l}
	a.audit()
	if clear {
		a.clear()
	}
	// An orderly end: what the audit did is not to be the next cut's.
	g.Run(context.Background(), guest.Root, "sync")
	g.Kill()
	if err := guest.Check(d.home); err != nil {
		t.Errorf("the file system itself is broken, which no user's program may do: %v", err)
	}
}

// keep leaves the disk for who wants to look.
func (d *drill) keep(t *testing.T) {
	kept := "../.cache/powercut.ext4" // git ignores it, make clean removes it
	if err := errors.Join(os.MkdirAll(filepath.Dir(kept), 0o755), exec.Command("cp", "--sparse=always", d.home, kept).Run()); err != nil {
		t.Log(err)
		return
	}
	t.Log("the disk is kept: go run ./tests/guest/vm -home tests/.cache/powercut.ext4")
}

// tail is a writer that keeps the last 2 KiB.
type tail []byte

func (w *tail) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	*w = slices.Clone((*w)[max(0, len(*w)-2048):])
	return len(p), nil
}

func (w tail) String() string { return string(w) }

func number(t *testing.T, name string, otherwise uint64) uint64 {
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
