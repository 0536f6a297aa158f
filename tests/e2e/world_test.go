package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rc-containers/rc/tests/images"
)

// World is one registry, one guarded by a password, one that misbehaves, and a
// folder for all scripts.
type World struct {
	dir, bin  string
	probe     string
	registry  *images.Registry
	guarded   *images.Registry
	bad       *images.Server
	badAddr   string
	badServer *http.Server
	all       map[string]*images.Artifact
	before    residue
}

// alice:s3cret, as `htpasswd -B` writes it (docker-registry takes bcrypt only).
const htpasswd = "alice:$2b$05$abcdefghijklmnopqrstuuLK7U1u6pVRmL7L1BBM2aS35PSZnDXlK\n"

func newWorld() (w *World, err error) {
	w = &World{bin: os.Getenv("RC_BIN"), before: takeResidue("", "")}
	if _, err := os.Stat(filepath.Join(w.bin, "rc")); err != nil {
		return nil, fmt.Errorf("RC_BIN: %w; run make first", err)
	}
	if w.dir, err = os.MkdirTemp("/tmp", "rc"); err != nil {
		return nil, err
	}
	for _, d := range []string{"registry", "guarded"} {
		if err := os.Mkdir(filepath.Join(w.dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if w.registry, err = images.StartRegistry(filepath.Join(w.dir, "registry"), ""); err != nil {
		return nil, err
	}
	if w.guarded, err = images.StartRegistry(filepath.Join(w.dir, "guarded"), htpasswd); err != nil {
		return nil, err
	}
	if w.all, err = images.Catalog(); err != nil {
		return nil, err
	}
	for name, a := range w.all {
		if err := (images.Remote{URL: "http://" + w.registry.Addr}).Push(name, "latest", a); err != nil {
			return nil, err
		}
	}
	// A second tag, and one more manifest under the same name.
	for tag, name := range map[string]string{"3.99": "library/alpine", "other": "test/docker"} {
		if err := (images.Remote{URL: "http://" + w.registry.Addr}).Push("library/alpine", tag, w.all[name]); err != nil {
			return nil, err
		}
	}
	alice := images.Remote{URL: "http://" + w.guarded.Addr, User: "alice", Password: "s3cret"}
	if err := alice.Push("private/app", "latest", w.all["library/busybox"]); err != nil {
		return nil, err
	}
	if err := w.serveFaults(); err != nil {
		return nil, err
	}
	return w, w.buildProbe()
}

// buildProbe makes the static program that containers get by -v $PROBE. RC_PROBE
// names one that was built before, for a run without Go.
func (w *World) buildProbe() error {
	if w.probe = os.Getenv("RC_PROBE"); w.probe != "" {
		return nil
	}
	w.probe = filepath.Join(w.dir, "probe")
	cmd := exec.Command("go", "build", "-o", w.probe, "github.com/rc-containers/rc/tests/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("build tests/probe: %w: %s", err, out)
	}
	return nil
}

// serveFaults offers each fault as a repository of its name, on loopback.
func (w *World) serveFaults() error {
	w.bad = images.NewServer()
	for _, f := range []images.Fault{images.TruncatedLayer, images.CorruptLayer, images.WrongManifest, images.HugeManifest,
		images.SlowLayer, images.Flaky, images.Unauthorized, images.Overloaded, images.Broken, images.NotAManifest} {
		w.bad.Add("bad/"+string(f), f, w.all["test/big"])
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	w.badAddr = l.Addr().String()
	w.badServer = &http.Server{Handler: w.bad, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = w.badServer.Serve(l) }()
	return nil
}

// registriesConf makes docker.io our registry, as a mirror configuration does
// (containers-registries.conf(5)).
func (w *World) registriesConf() string {
	text := "unqualified-search-registries = [\"docker.io\"]\n"
	text += fmt.Sprintf("[[registry]]\nprefix = \"docker.io\"\nlocation = \"docker.io\"\nblocked = false\n[[registry.mirror]]\nlocation = %q\ninsecure = true\n", w.registry.Addr)
	for _, addr := range []string{w.registry.Addr, w.guarded.Addr, w.badAddr} {
		text += fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", addr)
	}
	return text
}

// close ends the servers and says what the scripts left on the machine. A keeper
// stays 5 s after its last container.
func (w *World) close() error {
	w.registry.Stop()
	w.guarded.Stop()
	_ = w.badServer.Close()
	var left []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(250 * time.Millisecond) {
		if left = takeResidue("", "").since(w.before, keepersToo); len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	removeTree(w.dir)
	if len(left) > 0 {
		return fmt.Errorf("left behind: %q", left)
	}
	return nil
}

// removeTree removes what holds files of subordinate IDs. It asks unshare(1)
// rather than rc, which may be what is broken.
func removeTree(dir string) {
	_ = os.RemoveAll(dir)
	if _, err := os.Lstat(dir); err == nil {
		_ = exec.Command("unshare", "--map-root-user", "--map-auto", "rm", "-rf", dir).Run()
	}
	if _, err := os.Lstat(dir); err == nil {
		_ = exec.Command(filepath.Join(world.bin, "rc"), "unshare", "rm", "-rf", dir).Run()
	}
}
