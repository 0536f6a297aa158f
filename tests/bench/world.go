package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// limit is how long one command may take before it counts as hung.
const limit = 60 * time.Second

const image = "localhost/bench:latest"

// world is the user, environment and cgroup in which everything is run.
type world struct {
	o     options
	env   []string
	cred  *syscall.Credential // nil: as ourselves
	uid   uint32
	run   string   // XDG_RUNTIME_DIR
	group *os.File // the leaf in which commands are born; nil without a rig
	once  sync.Once
}

// subject is one command to be measured.
type subject struct {
	name     string
	tool     string // rc, podman or bwrap
	network  string // default, none or host
	args     []string
	sleep    []string // the same, idle in the background for the memory test
	ps, stop []string // what lists and ends those
	parallel bool
}

func newWorld(o options) (*world, error) {
	// A login's 1024 descriptors would end the connections through slirp4netns, and
	// package syscall's call is the one that children inherit.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, hardest()); err != nil {
		return nil, err
	}
	w := &world{o: o, uid: uint32(os.Getuid())}
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
	run := "/tmp/rc-bench-" + strconv.Itoa(int(w.uid))
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
	return w, w.enter(os.Getenv("RIG_CGROUP"))
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
	w.once.Do(func() {
		if w.group != nil {
			// Keepers and pause processes; the rig removes the groups.
			_ = os.WriteFile(w.group.Name()+"/cgroup.kill", []byte("1"), 0o644)
		}
		_ = os.RemoveAll(w.run)
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

// time runs the subject once. Its output goes to a file's end, not to pipes that
// would keep us waiting for a process which inherited them.
func (w *world) time(s *subject) (time.Duration, error) { return w.timed(s.args) }

func (w *world) timed(args []string) (time.Duration, error) {
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

// load puts the root file system into both stores.
func (w *world) load() error {
	tar := w.o.dir + "/rootfs.tar"
	for _, args := range [][]string{{"rc", "import", tar, image}, append(w.podman(), "import", "-q", tar, image)} {
		if _, err := w.timed(args); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
	}
	return nil
}

// podman is its command line up to the verb: a store of the bench's own, and
// what works on a machine without systemd.
func (w *world) podman() []string {
	return []string{"podman", "--root", w.o.dir + "/podman-store", "--runroot", w.run + "/podman", "--runtime", "crun", "--cgroup-manager", "cgroupfs", "--events-backend", "file"}
}

func (w *world) subjects() []*subject {
	var all []*subject
	container := func(tool, network string, front []string) {
		bare := front[:len(front):len(front)]
		front = append(front, "run", "--rm")
		if network != "default" {
			front = append(front, "--network", network)
		}
		front = append(front, image)
		s := &subject{name: tool + " run --rm", tool: tool, network: network, args: append(front[:len(front):len(front)], "true")}
		if network != "host" {
			s.parallel = true
			s.sleep = slices.Concat(front[:len(front)-1], []string{"-d", image, "sleep", "1000"})
			s.ps, s.stop = append(bare, "ps", "-q"), append(bare, "stop", "-t", "0", "--all")
		}
		all = append(all, s)
	}
	container("rc", "default", []string{"rc"})
	container("podman", "default", w.podman())
	container("rc", "none", []string{"rc"})
	container("podman", "none", w.podman())
	container("rc", "host", []string{"rc"})
	all = append(all, &subject{name: "bwrap --unshare-all", tool: "bwrap", network: "none", args: []string{
		"bwrap", "--unshare-all", "--bind", w.o.dir + "/rootfs", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/busybox", "true"}})
	return all
}

// many starts the row's command o.starts times, o.width at a time.
func (w *world) many(r *row) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	next := make(chan struct{}, w.o.starts)
	for range w.o.starts {
		next <- struct{}{}
	}
	close(next)
	begin := time.Now()
	for range w.o.width {
		wg.Go(func() {
			for range next {
				if _, err := w.timed(r.args); err != nil {
					mu.Lock()
					r.failed++
					r.failure = err.Error()
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	r.rate = float64(w.o.starts-r.failed) / time.Since(begin).Seconds()
}
