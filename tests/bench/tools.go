package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The tools, in the order of a table's columns.
const (
	rcTool     = "rc"
	podmanTool = "podman"      // with crun
	runcTool   = "podman+runc" // the same with runc
	dockerTool = "docker"      // rootless
	bwrapTool  = "bwrap"
	floorTool  = "floor" // tests/bench/floor: what rc asks of the kernel, bare
	cloneTool  = "clone" // tests/bench/repeat -clone: the kernel alone
)

var columns = []string{rcTool, podmanTool, runcTool, dockerTool, bwrapTool, floorTool, cloneTool}

// tool is one that keeps containers, and how it is called.
type tool struct {
	name  string
	front []string // its command line up to the verb
	wait  []string // flags with which stop and rm -f do not wait
}

func (t tool) line(args ...string) []string {
	return append(t.front[:len(t.front):len(t.front)], args...)
}

// remove is what removes containers at once, whatever they do.
func (t tool) remove(names ...string) []string {
	line := t.line("rm", "-f")
	if t.name != rcTool && t.name != dockerTool { // those two kill at once
		line = append(line, t.wait...)
	}
	return append(line, names...)
}

// rcIn is rc with a store of that name; every store has images and containers of its own.
func (w *world) rcIn(store string) tool {
	return tool{rcTool, []string{"rc", "--root", w.rcStore(store)}, []string{"-t", "0"}}
}

func (w *world) rcStore(store string) string { return filepath.Join(w.o.dir, "rc-"+store) }

func (w *world) podmanStore(store string) string { return filepath.Join(w.o.dir, "podman-"+store) }

// podmanIn is podman with what works on a machine without systemd, and with the driver
// that suits it best: without a storage.conf, which Debian does not install, podman 4.3
// takes vfs for a folder of its own, and copies the image for each container.
func (w *world) podmanIn(store, runtime string) tool {
	name := podmanTool
	if runtime == "runc" {
		name = runcTool
	}
	return tool{name, []string{"podman", "--root", w.podmanStore(store), "--runroot", w.run + "/podman-" + store,
		"--storage-driver", "overlay", "--runtime", runtime, "--cgroup-manager", "cgroupfs", "--events-backend", "file"}, []string{"-t", "0"}}
}

// podman is its command line up to the verb, with the store of most rows.
func (w *world) podman() []string { return w.podmanIn("store", "crun").front }

// docker is Debian's client where it is installed, so that it is as old as the daemon.
func (w *world) docker() tool {
	client := "docker"
	if isFile("/usr/bin/docker") {
		client = "/usr/bin/docker"
	}
	return tool{dockerTool, []string{client, "-H", "unix://" + w.run + "/docker.sock"}, []string{"-t", "0"}}
}

// startDocker starts the rootless daemon, once. Debian keeps its script beside the
// documentation; it runs dockerd in rootlesskit's namespaces.
func (w *world) startDocker() error {
	if w.dockerd != nil {
		return w.dockerErr
	}
	script := "/usr/share/docker.io/contrib/dockerd-rootless.sh"
	if !isFile(script) {
		script = "dockerd-rootless.sh"
	}
	w.dockerd = w.command(script, "--data-root", w.o.dir+"/docker-store", "--exec-root", w.run+"/docker",
		"--pidfile", w.run+"/docker.pid", "-H", "unix://"+w.run+"/docker.sock")
	w.dockerErr = w.awaitDocker()
	return w.dockerErr
}

func (w *world) awaitDocker() error {
	log, err := os.Create(filepath.Join(w.run, "docker.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	w.dockerd.Stdout, w.dockerd.Stderr = log, log
	if err := w.dockerd.Start(); err != nil {
		return fmt.Errorf("%w (Debian: docker.io and rootlesskit)", err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if _, err = w.said(w.docker().line("version")); err == nil {
			return nil
		}
	}
	text, _ := os.ReadFile(log.Name())
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("rootless dockerd did not answer: %w; it said: %s", err, lines[len(lines)-1])
}

// stopDocker ends the daemon, which takes its containers with it.
func (w *world) stopDocker() {
	if w.dockerd == nil || w.dockerd.Process == nil {
		return
	}
	_ = w.dockerd.Process.Signal(syscall.SIGTERM)
	ended := make(chan bool)
	go func() { _ = w.dockerd.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(15 * time.Second):
		_ = w.dockerd.Process.Kill()
	}
	w.dockerd, w.dockerErr = nil, nil
}

// bwrap has no images and keeps nothing: the root file system is a folder.
func (w *world) bwrap(command ...string) []string {
	return append([]string{"bwrap", "--unshare-all", "--bind", w.o.dir + "/rootfs", "/", "--proc", "/proc", "--dev", "/dev",
		"--tmpfs", "/tmp", "/bin/busybox"}, command...)
}

// forget removes stores. Files of subordinate ids need root, or somebody who is root in
// the user's namespace.
func (w *world) forget(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if os.RemoveAll(path) == nil {
			continue
		}
		_, err := w.tell([]string{"rc", "--root", w.run + "/unshare", "unshare", "rm", "-rf", path})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stores lists what runs leave in the bench's folder.
func (w *world) stores() []string {
	var all []string
	for _, pattern := range []string{"rc-*", "podman-*", "docker-store", "floor-store", "hostfiles", "*.archive"} {
		found, _ := filepath.Glob(filepath.Join(w.o.dir, pattern))
		all = append(all, found...)
	}
	return all
}

// endKeepers ends rc's keepers, which else stay five seconds without containers, or five
// minutes in a cgroup of their own. On SIGTERM they clean up.
func (w *world) endKeepers() error {
	for _, pid := range w.keepers() {
		_ = syscall.Kill(pid, syscall.SIGTERM) // gone meanwhile: as well
	}
	// One that containers still need comes back, which is not to be waited for in silence.
	return wait("the keepers' end, though no container should run", func() bool { return len(w.keepers()) == 0 })
}

// keepers are those that this run has brought: who runs the bench as a user of everyday
// may have others.
func (w *world) keepers() (pids []int) {
	for pid, name := range w.processes() {
		if _, foreign := w.foreign[pid]; name == "rc-net" && !foreign {
			pids = append(pids, pid)
		}
	}
	return pids
}

// endOurs ends what still has our runtime folder in its environment: servers of the
// network's rows and what stood beside them, where no cgroup holds them together.
func (w *world) endOurs() {
	for pid := range w.processes() {
		text, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ") // a keeper hides it, and has been told
		if slices.Contains(strings.Split(string(text), "\x00"), "XDG_RUNTIME_DIR="+w.run) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// endPause ends podman's pause process, which a rig's end would find anyway.
func (w *world) endPause() {
	text, err := os.ReadFile(w.run + "/libpod/tmp/pause.pid")
	if pid, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && pid > 1 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
