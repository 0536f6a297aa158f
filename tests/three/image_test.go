package three

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// example is the folder that the README tells its reader to build from.
const example = "../../docs/examples/shop"

// images are the three tars of docs/examples/shop/build.
var images = []string{"db", "api", "web"}

// cached returns the folder of the three root file systems, made on first use and kept
// in tests/.cache/three, which `make clean` removes. RC_THREE_CACHE is another place.
// The folder's name is a hash of what goes in, so a change of any makes new ones.
func cached(t *testing.T) string {
	t.Helper()
	inputs, err := filepath.Glob(filepath.Join(example, "*"))
	if err != nil || len(inputs) < 4 {
		t.Fatalf("%s: %v, %v", example, inputs, err)
	}
	slices.Sort(inputs)
	hash := sha256.New()
	for _, name := range inputs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", filepath.Base(name), len(text), text)
	}
	cache := os.Getenv("RC_THREE_CACHE")
	if cache == "" {
		cache = filepath.Join("..", ".cache", "three")
	}
	cache, err = filepath.Abs(cache)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, fmt.Sprintf("%x", hash.Sum(nil)[:8]))
	if err := provide(cache, dir); err != nil {
		t.Skip("no images of the three services: " + err.Error())
	}
	return dir
}

// whole tells whether all three are there: build makes each appear at once.
func whole(dir string) bool {
	for _, name := range images {
		if _, err := os.Stat(filepath.Join(dir, name+".tar")); err != nil {
			return false
		}
	}
	return true
}

// provide makes the images if they are not there, and drops those of other inputs:
// half a gigabyte each time. Of two that want them, one waits.
func provide(cache, dir string) error {
	if whole(dir) {
		return nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(cache, "????????????????"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if path != dir {
			err = errors.Join(err, os.RemoveAll(path))
		}
	}
	if err != nil {
		return err
	}
	out, err := exec.Command(filepath.Join(example, "build"), dir).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(string(out)) + ": " + err.Error())
	}
	return nil
}

// TestImages makes them, and looks at what has to be in them, and what has not.
func TestImages(t *testing.T) {
	dir := cached(t)
	for name, want := range map[string][]string{
		"db":  {"./usr/sbin/mariadbd", "./usr/bin/mariadb-install-db", "./var/lib/mysql/"},
		"api": {"./usr/bin/python3", "./usr/lib/python3/dist-packages/pymysql/__init__.py"},
		"web": {"./usr/bin/nodejs"},
	} {
		out, err := exec.Command("tar", "-tf", filepath.Join(dir, name+".tar")).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range append(want, "./usr/local/bin/serve") {
			if !strings.Contains(string(out), "\n"+file+"\n") {
				t.Errorf("%s has no %s", name, file)
			}
		}
		// A database that was made with the image would be the same for everybody.
		if strings.Contains(string(out), "\n./var/lib/mysql/mysql/\n") {
			t.Errorf("%s holds a database", name)
		}
	}
}
