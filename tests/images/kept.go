package images

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Kept is something that takes minutes to make, of files of the tree, and is kept for
// the next run of the tests: in tests/.cache/FOLDER, which `make clean` removes. The
// variable names another place.
type Kept struct {
	Folder, Variable string
	Inputs           []string                // the files; its name is their hash, so a change of any makes a new one
	Suffix           string                  // of its name
	Whole            func(path string) bool  // tells whether all of it is there
	Make             func(path string) error // makes it
}

// Path is where it is, made if it was not there. A test is skipped where it cannot be made.
func (k Kept) Path(t testing.TB) string {
	t.Helper()
	path, err := k.name()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.provide(path); err != nil {
		t.Skipf("no images for tests/%s: %v", k.Folder, err)
	}
	return path
}

// provide makes it if it is not there. Of two that want it, one waits.
func (k Kept) provide(path string) error {
	if k.Whole(path) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(filepath.Dir(path), "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	if k.Whole(path) {
		return nil
	}
	return k.Make(path)
}

func (k Kept) name() (string, error) {
	hash := sha256.New()
	for _, name := range k.Inputs {
		text, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(name), len(text), text)
	}
	cache := os.Getenv(k.Variable)
	if cache == "" {
		cache = filepath.Join("..", ".cache", k.Folder)
	}
	return filepath.Abs(filepath.Join(cache, fmt.Sprintf("%x%s", hash.Sum(nil)[:8], k.Suffix)))
}

// BuildBy is a Make: a program that is told the path.
func BuildBy(program string) func(path string) error {
	return func(path string) error {
		if out, err := exec.Command(program, path).CombinedOutput(); err != nil {
			return errors.New(strings.TrimSpace(string(out)) + ": " + err.Error())
		}
		return nil
	}
}
