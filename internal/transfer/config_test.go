package transfer

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containers/image/v5/types"

	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/tests/images"
)

// configure writes a file of the user's ~/.config/containers.
func (w *world) configure(name, text string) {
	w.Helper()
	path := filepath.Join(os.Getenv("HOME"), ".config/containers", name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o700))
	w.must(os.WriteFile(path, []byte(text), 0o600))
}

func TestShortNamesFollowRegistriesConf(t *testing.T) {
	w := newWorld(t)
	addr := registry(t, "library/alpine", "test/app")
	w.verify = 0 // registries.conf alone says that the registry is plain
	w.configure("registries.conf", fmt.Sprintf(`
short-name-mode = "enforcing"
unqualified-search-registries = ["127.0.0.1:1", %q]
[[registry]]
location = %q
insecure = true
[[registry]]
location = "127.0.0.1:1"
insecure = true
[[registry]]
prefix = "docker.io/library"
location = "%s/library"
insecure = true
[[registry]]
prefix = "quay.example"
location = "quay.example"
[[registry.mirror]]
location = %q
insecure = true
`, addr, addr, addr, addr))
	w.must(w.pull("test/app")) // the second registry of the search list has it
	if img := w.image("test/app"); img.Config.WorkingDir != "/home/app" {
		t.Errorf("test/app is %+v", img)
	}
	w.image(addr + "/test/app:latest")
	w.must(w.pull("quay.example/test/app")) // through a mirror, under its own name
	w.image("quay.example/test/app")
	w.must(w.pull("docker.io/alpine")) // rewritten to another place, under Docker's name
	w.image("alpine")
	w.refused(w.pull("nosuchimage"), "name the registry in full")
	w.configure("registries.conf", "this is no TOML") // read once a process
	if err := w.helper("alpine").Run(); err == nil || !strings.Contains(w.report.String(), "see registries.conf") {
		t.Errorf("a bad registries.conf: %v: %s", err, w.report.String())
	}
}

func TestWithoutAnyConfiguration(t *testing.T) {
	w := newWorld(t)
	w.must(w.do(func(_ context.Context, s *Session) error {
		named, err := s.candidates("someone/something", mustRef(t, "someone/something"))
		if err == nil && (len(named) != 1 || named[0].String() != "docker.io/someone/something:latest") {
			t.Errorf("someone/something is %v", named)
		}
		return err
	}))
	w.configure("policy.json", `{"default":[{"type":"reject"}]}`)
	ref := registry(t, "library/alpine") + "/library/alpine"
	w.refused(w.pull(ref), "rejected by policy")
	w.configure("policy.json", `{`)
	w.refused(w.pull(ref), "policy.json")
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	text, err := exec.Command("htpasswd", "-Bbn", "me", "secret word").Output()
	if err != nil {
		t.Skip("needs htpasswd (apache2-utils): ", err)
	}
	r, err := images.StartRegistry(t.TempDir(), string(text))
	if err != nil {
		t.Skip("needs docker-registry: ", err)
	}
	defer r.Stop()
	ref := r.Addr + "/test/plain"
	// What is pushed was pulled from a registry without a guard.
	other := registry(t, "test/plain") + "/test/plain"
	w.must(w.pull(other))
	w.tag(other, ref)
	push := func() error { return w.do(func(ctx context.Context, s *Session) error { return s.Push(ctx, ref) }) }
	w.refused(push(), "rc login "+r.Addr)
	login := func(password string) error {
		return Login(context.Background(), w.options(), Account{Server: "http://" + r.Addr + "/", User: "me", Password: password})
	}
	w.refused(login("wrong"), "refuses this account")
	w.out.Reset()
	w.must(login("secret word"))
	if w.out.String() != "Login Succeeded\n" {
		t.Errorf("printed %q", w.out.String())
	}
	if info, err := os.Stat(PersistentAuthFile()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("auth.json: %v %v", info, err)
	}
	w.must(push())
	w.must(w.pull(ref))
	w.out.Reset()
	w.must(Logout(w.options(), r.Addr, false))
	if !strings.HasPrefix(w.out.String(), "Removing login credentials for ") {
		t.Errorf("printed %q", w.out.String())
	}
	w.refused(w.pull(ref), "rc login")
	w.must(Logout(w.options(), r.Addr, false)) // twice is no failure
	w.must(Logout(w.options(), "", true))
	// Docker's own file is read too.
	docker := filepath.Join(os.Getenv("HOME"), ".docker")
	w.must(os.Mkdir(docker, 0o700))
	w.must(os.WriteFile(filepath.Join(docker, "config.json"), []byte(`{"auths":{"`+r.Addr+`":{"auth":"bWU6c2VjcmV0IHdvcmQ="}}}`), 0o600))
	w.must(w.pull(ref))
}

func TestSelfSignedRegistry(t *testing.T) {
	w := newWorld(t)
	srv := images.NewServer()
	srv.Add("test/it", images.Sound, catalogue(t, "library/busybox"))
	h := httptest.NewTLSServer(srv)
	defer h.Close()
	ref := strings.TrimPrefix(h.URL, "https://") + "/test/it"
	w.must(w.pull(ref)) // --tls-verify=false
	w.verify = types.OptionalBoolTrue
	w.refused(w.pull(ref), "certs.d", "--tls-verify=false")
}

func mustRef(t *testing.T, s string) record.Ref {
	t.Helper()
	r, err := record.ParseRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
