package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/tests/images"
)

// image returns a root file system of Debian with systemd, made on first use.
func image(t *testing.T) string {
	t.Helper()
	return images.Kept{Folder: "system", Variable: "RC_SYSTEM_CACHE", Inputs: []string{"build", "packages"}, Suffix: ".tar",
		Whole: exists, Make: images.BuildBy("./build")}.Path(t)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
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
