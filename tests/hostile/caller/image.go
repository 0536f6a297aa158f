package caller

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/rc-containers/rc/tests/images"
)

// Attack is where the hostile program is, once Base has compiled it; static, so that it
// runs in an image which holds nothing else.
func (c *Caller) Attack() string { return filepath.Join(c.Dir, "attack") }

func (c *Caller) buildAttack() error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", c.Attack(), "github.com/rc-containers/rc/tests/hostile/attack")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the attack: %w: %s", err, out)
	}
	return os.Chmod(c.Attack(), 0o755)
}

// Base is the layer under every image here: the program, compiled, and as little as a
// container needs.
func (c *Caller) Base() (images.Layer, error) {
	if err := c.buildAttack(); err != nil {
		return images.Layer{}, err
	}
	body, err := os.ReadFile(c.Attack())
	if err != nil {
		return images.Layer{}, err
	}
	return images.MakeLayer(images.Plain,
		images.Dir("dev", 0o755), images.Dir("etc", 0o755), images.Dir("proc", 0o555), images.Dir("sys", 0o555), images.Dir("root", 0o700),
		images.Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}},
		images.File("etc/passwd", 0o644, "root:x:0:0:root:/root:/attack\napp:x:1000:1000:app:/:/attack\n"),
		images.File("etc/group", 0o644, "root:x:0:\napp:x:1000:\n"),
		images.File("attack", 0o755, string(body)),
	), nil
}

// Config runs the program.
func Config() images.Config {
	return images.Config{Entrypoint: []string{"/attack"}, Cmd: []string{"true"}}
}

// Probed is the same with a HEALTHCHECK.
func Probed() images.Config {
	c := Config()
	c.Healthcheck = map[string][]string{"Test": {"CMD", "/attack", "true"}}
	return c
}
