package guest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/guest/wire"
)

// A snapshot is a guest just booted, from which others begin: about a second
// instead of half a minute. It is a folder with
//
//	ram          the guest's memory: a file that QEMU maps, shared while the snapshot
//	             is made, privately by each guest restored from it, so that these share
//	             the page cache and pay for what they change
//	state        everything else of the machine, half a megabyte (QEMU's migration)
//	root.ext4    the disk as the boot left it
//	initrd       QEMU loads it again, and compares
//
// Both sides must have the same devices of the same sizes: so each guest has a disk
// of shared files and a scratch disk, as large as diskSize, mostly holes.

// diskSize is the capacity of the disks whose contents change from guest to guest,
// in bytes: a kernel keeps to the size that it found when it booted.
const diskSize = 4 << 30

// restoreLimit is for a busy machine: half a second on a quiet one.
const restoreLimit = 2 * time.Minute

// snapshot returns the folder of the snapshot that this guest would begin from;
// its name tells all that enters it.
func (g *Guest) snapshot() (string, error) {
	from, err := source()
	if err != nil {
		return "", err
	}
	hash := sha256.New()
	model := &Guest{options: g.options.machine()} // without folders of this guest
	fmt.Fprintln(hash, runtime.Version(), model.arguments(hardware{ram: "ram"}))
	// The base's own QEMU is part of the base, in whose folder this one is.
	program := g.base.qemu()[0]
	if path, err := exec.LookPath(program); err == nil {
		program = path
	}
	if info, err := os.Stat(program); err == nil {
		fmt.Fprintln(hash, program, info.Size(), info.ModTime().UnixNano())
	}
	var files []string
	for _, pattern := range []string{"../../go.mod", "agent/*.go", "wire/*.go"} {
		found, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(path), len(b), b)
	}
	return g.base.path(g.snapshots() + fmt.Sprintf("%x", hash.Sum(nil))[:16]), nil
}

// snapshots begins the names of all snapshots with this guest's numbers.
func (g *Guest) snapshots() string {
	memory, cpus := g.options.numbers()
	if g.options.Counted {
		return fmt.Sprintf("counted-%d-%d-", memory, cpus)
	}
	return fmt.Sprintf("snapshot-%d-%d-", memory, cpus)
}

// machine leaves what a snapshot is made with.
func (o Options) machine() Options {
	return Options{Memory: o.Memory, CPUs: o.CPUs, Counted: o.Counted}
}

// restorable says whether this guest may begin from a snapshot. A persistent /home
// is mounted by the first stage and belongs to a machine that boots; a disk of
// shared files above diskSize is rare enough to wait for.
func (g *Guest) restorable() bool {
	info, err := os.Stat(g.path("share.ext4"))
	return err == nil && info.Size() == diskSize && g.options.Home == "" && !g.options.Cold && os.Getenv("RC_GUEST_COLD") == ""
}

// restore begins from the snapshot, made first if there is none.
func (g *Guest) restore(ctx context.Context) error {
	dir, err := g.snapshot()
	if err != nil {
		return err
	}
	if err := g.prepareSnapshot(ctx, dir); err != nil {
		return fmt.Errorf("make a snapshot: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, restoreLimit)
	defer cancel()
	err = g.power(limited, g.arguments(hardware{
		initrd: dir + "/initrd", root: dir + "/root.ext4", ram: dir + "/ram", incoming: true,
	}), func(m *machine) error { return g.resume(limited, m, dir) })
	if err != nil && ctx.Err() == nil {
		// One that is broken would cost every guest its time limit.
		return errors.Join(fmt.Errorf("restore the snapshot: %w", err), os.RemoveAll(dir))
	}
	return err
}

// resume lets a restored guest run, and tells its agent what changed meanwhile.
func (g *Guest) resume(ctx context.Context, m *machine, dir string) error {
	if err := m.qmp.prepareMigration(ctx); err != nil {
		return err
	}
	if err := m.qmp.do(ctx, "migrate-incoming", map[string]string{"uri": "file:" + dir + "/state"}, nil); err != nil {
		return err
	}
	if err := m.qmp.migrated(ctx); err != nil {
		return err
	}
	if err := m.qmp.do(ctx, "cont", nil, nil); err != nil {
		return err
	}
	news := wire.News{Seed: make([]byte, 64), Scratch: g.options.Scratch > 0, Now: time.Now()}
	// Its error is always nil: the program would have died (go doc crypto/rand.Read).
	_, _ = rand.Read(news.Seed)
	body, err := json.Marshal(news)
	if err != nil {
		return err
	}
	return m.in.Write(wire.Frame{Kind: wire.Restored, Body: body})
}

// prepareSnapshot makes the snapshot dir unless it is there. Of two that want to,
// one waits for the other.
func (g *Guest) prepareSnapshot(ctx context.Context, dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	lock, err := lockCache(filepath.Dir(g.base.dir))
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	old, err := filepath.Glob(g.base.path(g.snapshots()) + "*")
	if err != nil {
		return err
	}
	for _, path := range old {
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	work := dir + ".new"
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	maker := &Guest{options: g.options.machine(), base: g.base, dir: work, running: map[uint32]*running{}}
	if err := maker.take(ctx); err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	return os.Rename(work, dir)
}

// take boots this guest and turns it into a snapshot in its work folder.
func (g *Guest) take(ctx context.Context) error {
	defer g.Kill()
	if err := writeInitrd(g.base.modules(), g.path("initrd")); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "--sparse=always", "--reflink=auto", g.base.path("root.ext4"), g.path("root.ext4")).CombinedOutput(); err != nil {
		return fmt.Errorf("copy the disk: %w: %s", err, out)
	}
	if err := errors.Join(grow(g.path("share.ext4")), grow(g.path("scratch.ext4"))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, bootLimit)
	defer cancel()
	h := hardware{initrd: g.path("initrd"), root: g.path("root.ext4"), ram: g.path("ram")}
	if err := g.power(ctx, g.arguments(h), nil); err != nil {
		return err
	}
	// What the boot started is to end here, not in each guest. A failed unit, which
	// is-system-running's exit code tells of, is no reason to have none.
	for _, c := range []struct{ user, line string }{
		{Root, "systemctl is-system-running --wait"},
		{User, "systemctl --user is-system-running --wait"},
		{User, "systemd-run --user --scope --quiet true"}, // what most tests do first is in memory then
		{Root, "sleep 2; sync"},
	} {
		if r := g.Run(ctx, c.user, c.line); r.Err != nil {
			return fmt.Errorf("%s: %w", c.line, r.Err)
		}
	}
	if err := g.write(ctx); err != nil {
		return err
	}
	g.Kill()
	for _, name := range []string{"share.ext4", "scratch.ext4", "qemu.log", "console.log"} {
		if err := os.Remove(g.path(name)); err != nil {
			return err
		}
	}
	// Whoever may read the base may begin from it.
	return errors.Join(os.Chmod(g.path("ram"), 0o644), os.Chmod(g.path("state"), 0o644), os.Chmod(g.path("initrd"), 0o644))
}

// write stops the guest and writes its devices to the file state.
func (g *Guest) write(ctx context.Context) error {
	q := g.machine.qmp
	if err := q.prepareMigration(ctx); err != nil {
		return err
	}
	if err := q.do(ctx, "stop", nil, nil); err != nil {
		return err
	}
	if err := q.do(ctx, "migrate", map[string]string{"uri": "file:" + g.path("state")}, nil); err != nil {
		return err
	}
	return q.migrated(ctx)
}

// grow makes a file at least diskSize long, by a hole.
func grow(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() >= diskSize {
		return err
	}
	return f.Truncate(diskSize)
}

// lockCache returns the cache's lock, held until it is closed.
func lockCache(cache string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", lock.Name(), err), lock.Close())
	}
	return lock, nil
}
