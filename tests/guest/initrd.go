package guest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const agent = "github.com/rc-containers/rc/tests/guest/agent"

// writeInitrd makes the first stage: the agent as /init and the modules it loads.
// It is no compressed archive: unpacking is emulated, reading is not.
func writeInitrd(modules, path string) error {
	program := path + ".init"
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, agent)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the guest's agent: %w: %s", err, out)
	}
	defer os.Remove(program)
	body, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	var c cpio
	for _, dir := range []string{"dev", "proc", "sys", "root", "modules"} {
		c.add(dir, 0o040755, nil)
	}
	c.add("init", 0o100755, body)
	names, err := os.ReadDir(modules)
	if err != nil {
		return err
	}
	for _, e := range names {
		body, err := os.ReadFile(filepath.Join(modules, e.Name()))
		if err != nil {
			return err
		}
		c.add("modules/"+e.Name(), 0o100644, body)
	}
	return os.WriteFile(path, c.end(), 0o600)
}

// cpio writes the kernel's "newc" format (Documentation/driver-api/early-userspace/
// buffer-format.rst): 13 numbers of eight hexadecimal digits, name, body, each
// padded to four bytes.
type cpio struct {
	bytes.Buffer
	inode int
}

func (c *cpio) add(name string, mode int, body []byte) {
	c.inode++
	fmt.Fprintf(c, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(name)+1, 0, name)
	c.pad()
	c.Write(body)
	c.pad()
}

func (c *cpio) pad() { c.WriteString(strings.Repeat("\x00", -c.Len()&3)) }

func (c *cpio) end() []byte {
	c.inode = -1
	c.add("TRAILER!!!", 0, nil)
	return c.Bytes()
}
