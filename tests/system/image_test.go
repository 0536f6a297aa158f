package system

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

// inputs of the image: its name is their hash, so a change of any makes a new one.
var inputs = []string{"build", "packages"}

// image returns a root file system of Debian with systemd, made on first use and
// kept in tests/.cache/system, which `make clean` removes. RC_SYSTEM_CACHE is
// another place.
func image(t *testing.T) string {
	t.Helper()
	hash := sha256.New()
	for _, name := range inputs {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(hash, "%s %d\n%s", name, len(text), text)
	}
	cache := os.Getenv("RC_SYSTEM_CACHE")
	if cache == "" {
		cache = filepath.Join("..", ".cache", "system")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, fmt.Sprintf("%x.tar", hash.Sum(nil)[:8]))
	if err := provide(cache, path); err != nil {
		t.Skip("no image of a system container: " + err.Error())
	}
	return path
}

// provide makes the image if it is not there. Of two that want it, one waits.
func provide(cache, path string) error {
	if _, err := os.Stat(path); err == nil {
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
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	out, err := exec.Command("./build", path).CombinedOutput()
	if err != nil {
		return errors.New(strings.TrimSpace(string(out)) + ": " + err.Error())
	}
	return nil
}

// programs is the folder of rc's own.
func programs(t *testing.T) string {
	t.Helper()
	bin, err := filepath.Abs(os.Getenv("RC_BIN"))
	if err != nil || os.Getenv("RC_BIN") == "" {
		t.Skip("RC_BIN names no folder of rc's programs: run make, and RC_BIN=$PWD/bin go test …")
	}
	return bin
}

// TestImage makes the image, and looks at what has to be in it.
func TestImage(t *testing.T) {
	out, err := exec.Command("tar", "-tf", image(t)).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"./usr/lib/systemd/systemd", "./usr/bin/systemctl", "./usr/bin/dbus-daemon", "./usr/lib/sysusers.d/bob.conf"} {
		if !strings.Contains(string(out), name+"\n") {
			t.Errorf("the image has no %s", name)
		}
	}
}
