package guest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// base is a folder that tests/guest/build made.
type base struct {
	dir  string
	held *os.File // dir, locked (LOCK_SH): bases in use are not forgotten
}

func (b base) path(name string) string { return filepath.Join(b.dir, name) }
func (b base) modules() string         { return b.path("modules") }

// qemu is the command line up to its own files. The unpacked QEMU runs with the
// loader and the libraries that it was built for.
func (b base) qemu() []string {
	if named := os.Getenv("RC_GUEST_QEMU"); named != "" {
		return []string{named}
	}
	root := b.path("qemu")
	program := root + "/usr/bin/qemu-system-x86_64"
	if _, err := os.Stat(program); err != nil {
		return []string{"qemu-system-x86_64"}
	}
	return []string{
		root + "/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "--library-path", root + "/usr/lib/x86_64-linux-gnu",
		program, "-L", root + "/usr/share/qemu", "-L", root + "/usr/share/seabios", "-L", root + "/usr/lib/ipxe/qemu",
	}
}

// inputs of tests/guest/build: the base's name is their hash, so a change of any
// makes a new one.
var inputs = []string{"build", "customise", "packages"}

// source returns the folder tests/guest of the tree that the caller works in.
func source() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "tests", "guest"), nil
		}
		if dir == "/" {
			return "", errors.New("no go.mod above the current folder: run this in rc's tree")
		}
	}
}

// find returns the base, which need not be there yet. RC_GUEST_CACHE is where
// bases are kept; default tests/.cache/guest, which `make clean` removes.
func find() (*base, error) {
	from, err := source()
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	for _, name := range inputs {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(b), b)
	}
	cache := os.Getenv("RC_GUEST_CACHE")
	if cache == "" {
		cache = filepath.Join(filepath.Dir(from), ".cache", "guest")
	}
	return &base{dir: filepath.Join(cache, fmt.Sprintf("%x", hash.Sum(nil))[:16])}, nil
}

func (b base) exists() bool {
	_, err := os.Stat(b.path("root.ext4"))
	return err == nil
}

// Unmet returns why there can be no guest on this machine, "" if there can.
var Unmet = sync.OnceValue(func() string {
	b, err := find()
	if err != nil {
		return "no test guest: " + err.Error()
	}
	tools := []string{"mke2fs"}
	if !b.exists() {
		if os.Geteuid() != 0 {
			return "no test guest: it is built as root, once: sudo tests/guest/setup"
		}
		tools = append(tools, "mmdebstrap")
	}
	for _, tool := range tools {
		if _, err := look(tool); err != nil {
			return "no test guest: no " + tool + ": run tests/guest/setup as root"
		}
	}
	return ""
})

// look is exec.LookPath with the folders that a user's PATH leaves out.
func look(tool string) (string, error) {
	if path, err := exec.LookPath(tool); err == nil {
		return path, nil
	}
	return exec.LookPath("/usr/sbin/" + tool)
}

// prepare returns the base, built if it was not there, and held. Of two that want
// to build it, one waits for the other.
func prepare() (*base, error) {
	b, err := find()
	if err != nil {
		return nil, err
	}
	if !b.exists() {
		if err := b.build(); err != nil {
			return nil, err
		}
	}
	b.held, err = os.Open(b.dir)
	if err != nil {
		return nil, err
	}
	return b, unix.Flock(int(b.held.Fd()), unix.LOCK_SH)
}

func (b *base) build() error {
	cache := filepath.Dir(b.dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := lockCache(cache)
	if err != nil {
		return err
	}
	defer lock.Close()
	if b.exists() {
		return nil
	}
	from, err := source()
	if err != nil {
		return err
	}
	if err := forget(cache); err != nil {
		return err
	}
	return build(filepath.Join(from, "build"), b.dir)
}

// build runs tests/guest/build. Its exit code 77 is a machine on which it cannot work.
func build(program, dir string) error {
	cmd := exec.Command(program, dir)
	var said bytes.Buffer
	cmd.Stderr = io.MultiWriter(os.Stderr, &said)
	err := cmd.Run()
	if err != nil && cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 77 {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		return fmt.Errorf("%w: %s", ErrUnmet, lines[len(lines)-1])
	}
	if err != nil {
		return fmt.Errorf("build the test guest: %w", err)
	}
	return nil
}

// forget removes bases of other inputs, half a gigabyte each, that no guest runs from.
func forget(cache string) error {
	old, err := os.ReadDir(cache)
	if err != nil {
		return err
	}
	for _, e := range old {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			err = errors.Join(err, forgetOne(filepath.Join(cache, e.Name())))
		}
	}
	return err
}

func forgetOne(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	} else if err != nil {
		return fmt.Errorf("lock %s: %w", dir, err)
	}
	return os.RemoveAll(dir)
}
