package guest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Programs returns the folder of rc's four programs, to be shared as "bin": RC_BIN, or
// bin/ of the tree for a test two folders below its top.
func Programs(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("RC_BIN")
	if dir == "" {
		dir = "../../bin"
	}
	for _, name := range []string{"rc", "rc-init", "rc-net", "rc-image"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatalf("%v: run `make` first, or set RC_BIN to a folder with the four programs", err)
		}
	}
	return dir
}

// Compiled returns a static program made of the Go package in the folder dir, as
// "./load", which names it.
func Compiled(t testing.TB, dir string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(dir))
	c := exec.Command("go", "build", "-o", path, dir)
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}
