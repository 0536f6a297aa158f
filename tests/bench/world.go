package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// limit is how long one command may take before it counts as hung.
const limit = 30 * time.Second

const image = "localhost/bench:latest"

const tmpfsMagic = 0x01021994 // statfs(2)

// world is the user, environment and cgroup in which everything is run.
type world struct {
	o       options
	env     []string
	cred    *syscall.Credential // nil: as ourselves
	uid     uint32
	run     string   // XDG_RUNTIME_DIR
	group   *os.File // the leaf in which commands are born; nil without a rig
	closing sync.Once
	stopped atomic.Bool // by a signal: nothing is started or written any more
	temp    string      // TMPDIR of everything here
	begin   time.Time

	without   error     // why rc has no image, and nothing is to be compared
	dockerd   *exec.Cmd // the rootless daemon; nil before it was asked for
	dockerErr error
	standing  map[string]bool // containers that a cell has left for another one
	anchors   []tool          // whose anchor stands
	foreign   map[int]string  // the user's processes that were there before
}

func newWorld(o options) (*world, error) {
	// A login's 1024 descriptors would end the connections through slirp4netns, and
	// package syscall's call is the one that children inherit.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, hardest()); err != nil {
		return nil, err
	}
	w := &world{o: o, uid: uint32(os.Getuid()), begin: time.Now(), standing: map[string]bool{}}
	if os.Getuid() == 0 && o.user != "root" && o.user != "" {
		u, err := user.Lookup(o.user)
		if err != nil {
			return nil, err
		}
		uid, _ := strconv.Atoi(u.Uid)
		gid, _ := strconv.Atoi(u.Gid)
		w.uid = uint32(uid)
		w.cred = &syscall.Credential{Uid: w.uid, Gid: uint32(gid)}
	}
	// Short, for socket paths; always the same name, which podman's database keeps;
	// new each time, so that no pause process of an earlier podman leads into
	// another mount namespace. Mkdir refuses what somebody else put there.
	run := volatile() + "/rc-bench-" + strconv.Itoa(int(w.uid))
	if err := errors.Join(os.RemoveAll(run), os.Mkdir(run, 0o700)); err != nil {
		return nil, err
	}
	w.run = run
	if err := os.Chown(run, int(w.uid), -1); err != nil {
		return nil, err
	}
	w.env = []string{
		"HOME=" + o.home, "USER=" + o.user, "LOGNAME=" + o.user, "LANG=C.UTF-8", "XDG_RUNTIME_DIR=" + run,
		"PATH=" + o.dir + "/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "RC_ROOT=" + o.dir + "/rc-store",
	}
	if err := w.enter(os.Getenv("RIG_CGROUP")); err != nil {
		return nil, err
	}
	w.foreign = w.processes()
	// What the guest's disks and others would leave at a signal goes with it.
	var err error
	if w.temp, err = os.MkdirTemp("", "rc-bench-"); err == nil {
		err = os.Setenv("TMPDIR", w.temp)
	}
	return w, errors.Join(err, w.forget(w.stores()...)) // what a run that was killed has left
}

// halt does not return once a signal has come: what is still measured then is the end, and
// whoever removes it wants nobody to start more.
func (w *world) halt() {
	if w.stopped.Load() {
		select {}
	}
}

// volatile is a folder for the runtime folder, in memory where there is one: a login's
// $XDG_RUNTIME_DIR is a tmpfs (pam_systemd(8)), and all tools count on that.
func volatile() string {
	var fs syscall.Statfs_t
	if err := syscall.Statfs("/dev/shm", &fs); err == nil && fs.Type == tmpfsMagic {
		return "/dev/shm"
	}
	return "/tmp"
}

// elapsed is how long the run has taken.
func (w *world) elapsed() time.Duration { return time.Since(w.begin).Round(time.Second) }

// late tells that the run has taken as long as it may.
func (w *world) late() bool { return w.o.total > 0 && time.Since(w.begin) > w.o.total }

// say tells how far the run is.
func (w *world) say(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "bench %6s: %s\n", w.elapsed(), fmt.Sprintf(format, arguments...))
}

// hardest is the hard limit of descriptors as the soft one too.
func hardest() *syscall.Rlimit {
	var l syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) // fails for a bad argument only
	l.Cur = l.Max
	return &l
}

// enter makes a leaf of the rig's subtree the user's, for the commands: the
// subtree itself must stay free of processes, or no controller can be handed on.
func (w *world) enter(rig string) error {
	if rig == "" || w.cred == nil {
		return nil
	}
	leaf := rig + "/commands"
	if err := os.Mkdir(leaf, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{rig, leaf} {
		for _, file := range []string{"", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"} {
			if err := os.Chown(filepath.Join(dir, file), int(w.uid), -1); err != nil {
				return err
			}
		}
	}
	// The bench itself leaves the subtree too.
	bench := rig + "/bench"
	if err := os.Mkdir(bench, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(bench+"/cgroup.procs", []byte("0"), 0o644); err != nil {
		return err
	}
	var err error
	w.group, err = os.Open(leaf)
	return err
}

func (w *world) close() {
	w.closing.Do(func() {
		w.stopDocker()
		if w.group != nil {
			// Keepers and pause processes; the rig removes the groups.
			_ = os.WriteFile(w.group.Name()+"/cgroup.kill", []byte("1"), 0o644)
		} else if w.foreign != nil {
			w.end(w.foreign) // containers that an interrupted run has left
		}
		w.endPause()
		w.endOurs()
		if !w.o.keep {
			if err := w.forget(w.stores()...); err != nil {
				fmt.Fprintln(os.Stderr, "bench: a store stays:", err)
			}
		}
		if err := w.endKeepers(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		_ = os.RemoveAll(w.run)
		_ = os.RemoveAll(w.temp)
	})
}

// command prepares args, born as the user and in the leaf.
func (w *world) command(args ...string) *exec.Cmd {
	path := args[0]
	if p := w.o.dir + "/bin/" + path; isFile(p) {
		path = p
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Env = w.env
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.cred}
	if w.group != nil {
		cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(w.group.Fd())
	}
	return cmd
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// timed runs a command to its end. Its output goes to a file, not to pipes that would
// keep us waiting for a process which inherited them.
func (w *world) timed(args []string) (time.Duration, error) { return w.within(limit, args) }

// within is timed for a command that may take longer.
func (w *world) within(limit time.Duration, args []string) (time.Duration, error) {
	w.halt()
	defer w.halt()
	said, err := os.CreateTemp("", "bench")
	if err != nil {
		return 0, err
	}
	defer os.Remove(said.Name())
	defer said.Close()
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = said, said
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	hung := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	err = cmd.Wait()
	took := time.Since(begin)
	if !hung.Stop() {
		err = fmt.Errorf("hung for %v", limit)
	}
	if err != nil {
		text, _ := os.ReadFile(said.Name())
		return 0, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return took, nil
}
