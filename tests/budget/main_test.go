package budget

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image = "localhost/budget/base:latest"

// world is a user of rc whose shell, and all that comes from it, runs under strace.
type world struct {
	user   *caller.Caller
	cred   *syscall.Credential
	prefix string // of strace's files

	strace *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
}

// newWorld skips where this host cannot have one.
func newWorld(t *testing.T) *world {
	t.Helper()
	bin := os.Getenv("RC_BIN")
	if bin == "" {
		t.Skip("RC_BIN is not set to the folder of rc's programs; `make test` sets it")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root, who alone looks into processes that are not dumpable: sudo make test, sudo make budget")
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace: " + err.Error())
	}
	if out, err := exec.Command("strace", "-f", "-o", os.DevNull, "true").CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v %s", err, out)
	}
	name := os.Getenv("RC_TEST_USER")
	if name == "" {
		name = "rctest"
	}
	account, err := user.Lookup(name)
	if err != nil {
		t.Skipf("needs the user of `make test`: %v", err)
	}
	w, err := makeWorld(bin, account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func makeWorld(bin string, account *user.User) (*world, error) {
	dir, err := os.MkdirTemp("/tmp", "rb")
	if err != nil {
		return nil, err
	}
	c := &caller.Caller{Dir: dir, Home: filepath.Join(dir, "home"), Run: filepath.Join(dir, "run"), Bin: filepath.Join(dir, "bin")}
	c.Root = filepath.Join(c.Home, ".local/share/rc")
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, err
	}
	w := &world{user: c, cred: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, prefix: filepath.Join(dir, "strace/s")}
	for _, d := range []string{c.Home, c.Run, filepath.Dir(w.prefix)} {
		if err := errors.Join(os.Mkdir(d, 0o700), os.Chown(d, uid, gid)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(os.Chmod(dir, 0o755), install(bin, c.Bin)); err != nil {
		return nil, err
	}
	base, err := c.Base()
	if err != nil {
		return nil, err
	}
	return w, errors.Join(w.pack(images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build()), w.begin(account.Username))
}

// install copies the programs to where the user may read them.
func install(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"rc", "rc-init", "rc-net", "rc-image"} {
		body, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), body, 0o755); err != nil {
			return err
		}
	}
	return nil
}

// rc runs a command as the user, unobserved.
func (w *world) rc(args ...string) caller.Result {
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	cmd := w.user.Command(ctx, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: w.cred}
	return caller.Finish(ctx, cmd)
}

// pack writes the image as an archive, which the shell loads: the keeper shall be born
// under strace.
func (w *world) pack(a *images.Artifact) error {
	f, err := os.OpenFile(filepath.Join(w.user.Dir, "image.tar"), os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(a.WriteOCIArchive(f, image), f.Close())
}

// begin starts the shell under strace.
func (w *world) begin(name string) error {
	w.strace = w.user.Command(context.Background())
	path, err := exec.LookPath("strace")
	if err != nil {
		return err
	}
	w.strace.Path = path
	w.strace.Args = []string{"strace", "-u", name, "-ff", "-y", "-q", "-s", "32", "--pidns-translation", "-o", w.prefix, "sh"}
	w.strace.Stderr = os.Stderr
	out, err := w.strace.StdoutPipe()
	if err != nil {
		return err
	}
	w.out = bufio.NewReader(out)
	if w.in, err = w.strace.StdinPipe(); err != nil {
		return err
	}
	return w.strace.Start()
}

// observe has the shell run a command to its end, and counts what everybody did until
// all was quiet again. The command must succeed.
func (w *world) observe(t *testing.T, command string) map[string]*Tally {
	t.Helper()
	before := w.sizes(t)
	if _, err := fmt.Fprintf(w.in, "%s </dev/null >/dev/null; echo ended $?\n", command); err != nil {
		t.Fatal(err)
	}
	if line, err := w.out.ReadString('\n'); err != nil || line != "ended 0\n" {
		t.Fatalf("%s: %q, %v", command, line, err)
	}
	w.quiet(t)
	got, err := Count(w.prefix, w.first(t), before)
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"sh", Payload} {
		delete(got, role)
	}
	return got
}

// quiet waits until nobody has done anything for a moment: a shim removes what it made
// after it has told the end.
func (w *world) quiet(t *testing.T) {
	t.Helper()
	total := func() (n int64) {
		for _, size := range w.sizes(t) {
			n += size
		}
		return n
	}
	until := time.Now().Add(3 * time.Second)
	for last := int64(-1); time.Now().Before(until); time.Sleep(80 * time.Millisecond) {
		now := total()
		if now == last {
			return
		}
		last = now
	}
}

// first is the shell: the process that strace started.
func (w *world) first(t *testing.T) int {
	t.Helper()
	for name := range w.sizes(t) {
		text, err := os.ReadFile(filepath.Join(filepath.Dir(w.prefix), name))
		if err != nil {
			t.Fatal(err)
		}
		line, _, _ := strings.Cut(string(text), "\n")
		if args, ok := strings.CutPrefix(line, "execve("); ok && executed(args, Tool) == "sh" {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Ext(name), "."))
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	t.Fatal("strace saw no shell")
	return 0
}

func (w *world) sizes(t *testing.T) map[string]int64 {
	t.Helper()
	list, err := filepath.Glob(w.prefix + ".*")
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]int64{}
	for _, f := range list {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		m[filepath.Base(f)] = st.Size()
	}
	return m
}

// close waits for the keeper, with which strace ends.
func (w *world) close() error {
	if w.strace != nil && w.strace.Process != nil {
		_ = w.in.Close()
		ended := make(chan error, 1)
		go func() { ended <- w.strace.Wait() }()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = w.strace.Process.Kill()
			return errors.New("strace still has somebody to look at after 20 s")
		}
	}
	return os.RemoveAll(w.user.Dir)
}
