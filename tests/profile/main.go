// Command profile traces a start with no network, one with the default network and an
// exec, many times each, and writes where the time goes: docs/profile.md, and a picture
// of each to docs/plots. `make profile`.
//
//	profile [-n ROUNDS] [-bin FOLDER] [-docs FOLDER]
//
// rc runs as the caller, or for root as the user of `make test` (RC_TEST_USER).
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image = "localhost/profile/base:latest"

func main() {
	rounds := flag.Int("n", 40, "trace each command `N` times")
	bin := flag.String("bin", "bin", "the `FOLDER` of rc's programs")
	docs := flag.String("docs", "docs", "write to this `FOLDER`")
	flag.Parse()
	if err := profile(*bin, *docs, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

func profile(bin, docs string, rounds int) error {
	l, err := newLab(bin)
	if err != nil {
		return err
	}
	results, err := l.measure(rounds)
	if err := errors.Join(err, l.close()); err != nil {
		return err
	}
	return write(docs, fmt.Sprintf("`make profile` (rounds: %d)", rounds), l.version+", "+machine(), rounds, results)
}

// write writes the page and its pictures.
func write(docs, made, machine string, rounds int, results []*result) error {
	plots := filepath.Join(docs, "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for _, r := range results {
		if err := os.WriteFile(filepath.Join(plots, "profile-"+r.name+".svg"), []byte(draw(r.title, typical(r.runs))), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(docs, "profile.md"), []byte(report(made, machine, rounds, results)), 0o644)
}

// lab is a user with an image.
type lab struct {
	user    *caller.Caller
	cred    *syscall.Credential // nil: as we are
	version string
}

func newLab(bin string) (*lab, error) {
	bin, err := filepath.Abs(bin)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "rp")
	if err != nil {
		return nil, err
	}
	c := &caller.Caller{Dir: dir, Home: filepath.Join(dir, "home"), Run: filepath.Join(dir, "run"), Bin: filepath.Join(dir, "bin")}
	l := &lab{user: c}
	if err := os.CopyFS(c.Bin, os.DirFS(bin)); err != nil { // root's own folders are closed to the user
		return nil, err
	}
	for _, d := range []string{c.Home, c.Run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	if os.Getuid() == 0 {
		if err := l.becomeUser(); err != nil {
			return nil, err
		}
	}
	return l, l.load()
}

// becomeUser has the commands run as the user of `make test`, who owns the folders.
func (l *lab) becomeUser() error {
	name := os.Getenv("RC_TEST_USER")
	if name == "" {
		name = "rctest"
	}
	account, err := user.Lookup(name)
	if err != nil {
		return fmt.Errorf("%w; `make test` makes that user, RC_TEST_USER names another", err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return err
	}
	l.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(os.Chown(l.user.Home, uid, gid), os.Chown(l.user.Run, uid, gid))
}

func (l *lab) load() error {
	base, err := l.user.Base()
	if err != nil {
		return err
	}
	file := filepath.Join(l.user.Dir, "image.tar")
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	i := images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build()
	if err := errors.Join(i.WriteOCIArchive(f, image), f.Close()); err != nil {
		return err
	}
	if _, err := l.rc("load", "-q", "-i", file); err != nil {
		return err
	}
	l.version, err = l.rc("--version")
	return err
}

// rc runs a command to its end, which must be a good one.
func (l *lab) rc(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	cmd := l.user.Command(ctx, args...)
	if l.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: l.cred}
	}
	r := caller.Finish(ctx, cmd)
	if r.Code != 0 {
		return "", fmt.Errorf("rc %s: %d %s", strings.Join(args, " "), r.Code, r.Err)
	}
	return strings.TrimSpace(r.Out), nil
}

// measure traces the commands in turns, so that what else the machine does falls on all.
func (l *lab) measure(rounds int) ([]*result, error) {
	results := []*result{
		{name: "none", title: "One start without a network", command: "rc run --rm --network none " + image + " true"},
		{name: "default", title: "One start on the default network", command: "rc run --rm " + image + " true"},
		{name: "exec", title: "One exec", command: "rc exec one /attack true"},
	}
	if _, err := l.rc("run", "-d", "--rm", "--name", "one", "--network", "none", image, "sleep", "10000"); err != nil {
		return nil, err
	}
	for i := range rounds + 1 {
		for _, r := range results {
			args := strings.Fields(r.command)[1:]
			got, err := l.trace(args)
			if err != nil {
				return nil, err
			}
			began := clock()
			if _, err := l.rc(args...); err != nil {
				return nil, err
			}
			if i > 0 { // the first makes the network and fills caches
				r.runs, r.plain = append(r.runs, got), append(r.plain, float64(clock()-began)/1000)
			}
		}
	}
	_, err := l.rc("rm", "-f", "one")
	return results, err
}

func (l *lab) trace(args []string) (*run, error) {
	file := filepath.Join(l.user.Home, "trace.json")
	began := clock()
	if _, err := l.rc(append([]string{"--trace=" + file}, args...)...); err != nil {
		return nil, err
	}
	return read(file, began)
}

// clock is the one of the marks.
func clock() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}

// close waits for the keeper to leave, and removes the folder.
func (l *lab) close() error {
	until := time.Now().Add(15 * time.Second)
	for time.Now().Before(until) {
		if left, _ := filepath.Glob(filepath.Join(l.user.Run, "rc-*/keeper.sock")); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if os.RemoveAll(l.user.Dir) == nil {
		return nil
	}
	// The image's files belong to subordinate ids, and are root's in a namespace that has them.
	if out, err := exec.Command("unshare", "--map-root-user", "--map-auto", "rm", "-rf", l.user.Dir).CombinedOutput(); err != nil {
		return fmt.Errorf("remove %s: %w: %s", l.user.Dir, err, out)
	}
	return nil
}

// machine is what the figures depend on.
func machine() string {
	var u unix.Utsname
	_ = unix.Uname(&u)
	release, _, _ := bytes.Cut(u.Release[:], []byte{0})
	load, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(load), " ")
	return fmt.Sprintf("%d cores, %s, Linux %s, load %s, %s", runtime.NumCPU(), runtime.GOARCH, release, first, time.Now().Format("2006-01-02"))
}
