package three

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rc-containers/rc/tests/images"
)

// example is the folder that the README tells its reader to build from.
const example = "../../docs/examples/shop"

// services are the three of docs/examples/shop, whose build makes a tar of each.
var services = []string{"db", "api", "web"}

// cached returns the folder of the three root file systems, made on first use.
func cached(t *testing.T) string {
	t.Helper()
	inputs, err := filepath.Glob(filepath.Join(example, "*"))
	if err != nil || len(inputs) < 4 {
		t.Fatalf("%s: %v, %v", example, inputs, err)
	}
	slices.Sort(inputs)
	return images.Kept{Folder: "three", Variable: "RC_THREE_CACHE", Inputs: inputs, Whole: whole, Make: provide}.Path(t)
}

// whole tells whether all three are there: build makes each appear at once.
func whole(dir string) bool {
	for _, name := range services {
		if _, err := os.Stat(filepath.Join(dir, name+".tar")); err != nil {
			return false
		}
	}
	return true
}

// provide makes the images, and drops those of other inputs: half a gigabyte each time.
func provide(dir string) error {
	old, err := filepath.Glob(filepath.Join(filepath.Dir(dir), "????????????????"))
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
	return images.BuildBy(filepath.Join(example, "build"))(dir)
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
