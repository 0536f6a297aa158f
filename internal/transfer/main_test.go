package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containers/image/v5/types"
	"github.com/containers/storage/pkg/reexec"
	"github.com/sirupsen/logrus"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/tests/images"
)

// The tests work in a user namespace with many ids, as rc-image does, made by
// unshare(1): they must not depend on our own namespaces. As root they run as
// they are.
var noNamespace string

const inside = "RC_TEST_INSIDE"

func TestMain(m *testing.M) {
	if reexec.Init() {
		return
	}
	if os.Getuid() != 0 && os.Getenv(inside) == "" {
		enter()
	}
	for _, kv := range []string{"_CONTAINERS_USERNS_CONFIGURED=done", "CONTAINERS_STORAGE_CONF=/dev/null"} {
		key, value, _ := strings.Cut(kv, "=")
		_ = os.Setenv(key, value)
	}
	for _, key := range []string{"XDG_RUNTIME_DIR", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DOCKER_CONFIG"} {
		_ = os.Unsetenv(key)
	}
	if ref := os.Getenv("RC_TEST_PULL"); ref != "" {
		logrus.SetLevel(logrus.PanicLevel)
		os.Exit(pullAsHelper(ref))
	}
	// One home for all tests: containers/storage asks for it once a process.
	home, err := os.MkdirTemp("", "rc-transfer-home-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = os.Setenv("HOME", home)
	logrus.SetLevel(logrus.PanicLevel)
	code := m.Run()
	_ = os.RemoveAll(home)
	os.Exit(code)
}

// enter runs this program again in a namespace; it returns only when there is none.
func enter() {
	args := []string{"unshare", "--map-users=auto", "--map-groups=auto", "--map-root-user", "--mount"}
	if out, err := exec.Command(args[0], append(args[1:], "true")...).CombinedOutput(); err != nil {
		noNamespace = fmt.Sprintf("unshare with subordinate ids: %v: %s", err, out)
		return
	}
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = syscall.Exec(path, append(args, os.Args...), append(os.Environ(), inside+"=1"))
	}
	noNamespace = err.Error()
}

// pullAsHelper is one pull in a process of its own, to be killed.
func pullAsHelper(ref string) int {
	s, err := Open(Options{Root: os.Getenv("RC_ROOT"), TLSVerify: types.OptionalBoolFalse, Quiet: true, Out: os.Stdout, Report: os.Stderr})
	if err == nil {
		err = s.Pull(context.Background(), ref)
		s.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// world is one store, with a home of its own, and what the last verb printed.
type world struct {
	*testing.T
	root        string
	out, report bytes.Buffer
	platform    string
	verify      types.OptionalBool
	quiet       bool
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if noNamespace != "" {
		t.Skip("needs a user namespace with subordinate ids: ", noNamespace)
	}
	for _, dir := range []string{".config", ".docker", ".cache"} {
		if err := os.RemoveAll(filepath.Join(os.Getenv("HOME"), dir)); err != nil {
			t.Fatal(err)
		}
	}
	return &world{T: t, root: filepath.Join(t.TempDir(), "rc"), verify: types.OptionalBoolFalse}
}

// do opens a session, runs one verb in it and closes it.
func (w *world) do(verb func(ctx context.Context, s *Session) error) error {
	w.out.Reset()
	w.report.Reset()
	s, err := Open(w.options())
	if err != nil {
		return err
	}
	defer s.Close()
	return verb(context.Background(), s)
}

func (w *world) options() Options {
	return Options{Root: w.root, TLSVerify: w.verify, Platform: w.platform, Quiet: w.quiet, Out: &w.out, Report: &w.report}
}

func (w *world) pull(ref string) error {
	return w.do(func(ctx context.Context, s *Session) error { return s.Pull(ctx, ref) })
}

func (w *world) rmi(force bool, refs ...string) error {
	return w.do(func(_ context.Context, s *Session) error { return s.Remove(refs, force) })
}

func (w *world) image(ref string) *record.Image {
	w.Helper()
	store, err := record.Open(w.root)
	if err != nil {
		w.Fatal(err)
	}
	img, err := store.Image(ref)
	if err != nil {
		w.Fatal(err)
	}
	return img
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// refused checks a refusal: one line that has the words, and nothing left behind.
func (w *world) refused(err error, words ...string) {
	w.Helper()
	if err == nil {
		w.Errorf("it was accepted")
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "\n") {
			w.Errorf("the refusal is %q; want one line with %q", err, word)
		}
	}
	w.clean()
}

// clean checks that no temporary file is left and that every layer folder
// belongs to an image with a record.
func (w *world) clean() {
	w.Helper()
	if left, _ := os.ReadDir(filepath.Join(w.root, "cache/tmp")); len(left) > 0 {
		w.Errorf("temporary files are left: %v", left)
	}
	store, err := record.Open(w.root)
	w.must(err)
	known := make(map[string]bool)
	all, err := store.Images()
	w.must(err)
	for _, img := range all {
		for _, dir := range img.Layers {
			known[filepath.Base(dir)] = true
		}
	}
	dirs, _ := os.ReadDir(filepath.Join(w.root, "storage/rc/dir"))
	for _, d := range dirs {
		if !known[d.Name()] {
			w.Errorf("layer %.12s belongs to no image", d.Name())
		}
	}
}

// registry is a real one with the images of the catalogue in it.
func registry(t *testing.T, names ...string) string {
	t.Helper()
	r, err := images.StartRegistry(t.TempDir(), "")
	if err != nil {
		t.Skip("needs docker-registry: ", err)
	}
	t.Cleanup(r.Stop)
	all, err := images.Catalog()
	if err != nil {
		t.Skip("needs a static busybox: ", err)
	}
	if len(names) == 0 {
		names = images.Names(all)
	}
	for _, name := range names {
		if err := (images.Remote{URL: "http://" + r.Addr}).Push(name, "latest", all[name]); err != nil {
			t.Fatal(err)
		}
	}
	return r.Addr
}

// serve is a registry of one image with a fault.
func serve(t *testing.T, fault images.Fault, a *images.Artifact) (ref string, srv *images.Server) {
	t.Helper()
	srv = images.NewServer()
	srv.Add("test/it", fault, a)
	h := httptest.NewServer(srv)
	t.Cleanup(h.Close)
	return strings.TrimPrefix(h.URL, "http://") + "/test/it", srv
}

func catalogue(t *testing.T, name string) *images.Artifact {
	t.Helper()
	all, err := images.Catalog()
	if err != nil {
		t.Skip("needs a static busybox: ", err)
	}
	if all[name] == nil {
		t.Fatal(errors.New("no image " + name))
	}
	return all[name]
}
