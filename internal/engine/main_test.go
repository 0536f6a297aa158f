package engine

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// workshop is an engine on a state folder of the test's own.
type workshop struct {
	*Engine
	*testing.T
	warnings []string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("RC_STORAGE_DRIVER", "")
	e, err := Open(t.TempDir())
	must(t, err)
	w := &workshop{Engine: e, T: t}
	e.Warn = func(s string) { w.warnings = append(w.warnings, s) }
	t.Cleanup(e.Close)
	_, err = e.Store.Runtime()
	must(t, err)
	return w
}

func ident(c byte) string { return strings.Repeat(string(c), 64) }

// put makes a container as a start leaves it: folder, name, record and state,
// each only where it is given.
func (w *workshop) put(c *record.Container, st *record.State) string {
	w.Helper()
	dir := w.Store.ContainerDir(c.ID)
	must(w.T, os.MkdirAll(dir+"/upper/etc", 0o700))
	if c.MachineID == "" {
		c.MachineID = record.MachineID()
	}
	if c.Name != "" {
		must(w.T, w.Store.ClaimName(c.Name, c.ID))
	}
	must(w.T, w.Store.SaveContainer(c))
	if st != nil {
		must(w.T, record.SaveState(dir, st, atomicfile.Fast))
	}
	return c.ID
}

func (w *workshop) gone(id, name string) {
	w.Helper()
	for _, path := range []string{w.Store.ContainerDir(id), w.Store.Path("container-names", name)} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			w.Errorf("%s is left: %v", path, err)
		}
	}
	if left, _ := os.ReadDir(w.Store.Path("trash")); len(left) > 0 {
		w.Errorf("the trash holds %v", left)
	}
	if path, err := w.Store.LifeLockPath(id); err != nil {
		w.Error(err)
	} else if _, err := os.Lstat(path); !os.IsNotExist(err) {
		w.Errorf("its lock is left: %v", err)
	}
}

// sleeper is a live process; the identity is how a record names it.
func sleeper(t *testing.T) (*exec.Cmd, linux.Identity) {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	who, err := linux.IdentityOf(cmd.Process.Pid)
	must(t, err)
	return cmd, who
}

// deadProcess is the identity of a process that has ended.
func deadProcess(t *testing.T) linux.Identity {
	t.Helper()
	cmd, who := sleeper(t)
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	return who
}

// The test binary also plays the shim of a container: it holds the life lock
// that it inherits as descriptor 3, and ends when killed.
const holderRole = "RC_ENGINE_TEST_HOLDER"

// reviveRole makes the test binary write its arguments to the file that it names.
const reviveRole = "RC_ENGINE_TEST_REVIVE"

func TestMain(m *testing.M) {
	if out := os.Getenv(reviveRole); out != "" && len(os.Args) > 1 && os.Args[1] == "--root" {
		_ = os.WriteFile(out, []byte(strings.Join(os.Args[1:], " ")), 0o600)
		os.Exit(0)
	}
	if os.Getenv(holderRole) != "" {
		fmt.Println("holds")
		time.Sleep(5 * time.Minute)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// holder starts a process that holds a container's life lock.
func (w *workshop) holder(id string) (*exec.Cmd, linux.Identity) {
	w.Helper()
	lock, err := w.Store.TakeLife(id)
	must(w.T, err)
	defer lock.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{holderRole + "=1"}
	cmd.ExtraFiles = []*os.File{lock}
	out, err := cmd.StdoutPipe()
	must(w.T, err)
	must(w.T, cmd.Start())
	w.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		w.Fatal(err)
	}
	who, err := linux.IdentityOf(cmd.Process.Pid)
	must(w.T, err)
	return cmd, who
}

func running(init, shim linux.Identity) *record.State {
	return &record.State{Status: record.Running, PID: init.PID, PIDStart: init.StartTime, ShimPID: shim.PID, ShimStart: shim.StartTime,
		BootID: record.BootID(), Started: time.Now()}
}

// stillRuns fails when the process of cmd was killed.
func stillRuns(t *testing.T, cmd *exec.Cmd, why string) {
	t.Helper()
	if pid, err := unix.Wait4(cmd.Process.Pid, nil, unix.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("%s: an innocent process was killed (%d, %v)", why, pid, err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	return len(list)
}
