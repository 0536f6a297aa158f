package hostile

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/tests/accept"
)

// runtimeFolder is where the keeper and the shims listen now.
func runtimeFolder(t *testing.T) string {
	t.Helper()
	notes, _ := filepath.Glob(filepath.Join(host.Root, "hosts/*/*"))
	for _, note := range notes {
		if !strings.HasSuffix(note, ".lock") {
			return strings.TrimSpace(read(note))
		}
	}
	t.Fatalf("no runtime folder is noted in %s", host.Root)
	return ""
}

// Our sockets are paths in a folder that no container is shown, whatever is bound
// in; and where one is reached all the same, nobody answers a container.
func TestOurSockets(t *testing.T) {
	require(t, "slirp4netns")
	detached(t, "sibling", nil, "sleep")
	dir := runtimeFolder(t)
	works(t, "sockets", dir)
	for name, f := range map[string][]string{
		"host-network":  {"--network", "host"},
		"root":          {"--network", "host", "-v", "/:/host"},
		"root-ro":       {"--network", "host", "-v", "/:/host:ro"},
		"runtime":       {"-v", host.Run + ":/host"},
		"own-folder":    {"-v", dir + ":/host"},
		"own-below":     {"-v", dir + "/c:/host"},
		"own-socket":    {"-v", dir + "/keeper.sock:/host/keeper.sock"},
		"tmp":           {"-v", "/tmp:/host"},
		"link":          {"-v", link(t, host.Run) + ":/host"},
		"mount-flag":    {"--mount", "type=bind,source=" + host.Run + ",target=/host"},
		"not-recursive": {"--mount", "type=bind,source=" + host.Run + ",target=/host,bind-recursive=disabled"},
		"alias":         {"-v", "/proc/self/root" + host.Run + ":/host"},
	} {
		for rights, more := range map[string][]string{"": nil, "+caps": mighty, "+privileged": {"--privileged"}} {
			t.Run(name+rights, func(t *testing.T) {
				r := host.RC(flags([]string{"run", "--rm"}, f, more, []string{image, "sockets", "/host", "/dev", "/tmp"})...)
				if own := strings.HasPrefix(name, "own-"); own && (r.Code != 125 || !strings.Contains(r.Err, "runtime folder")) {
					t.Errorf("rc's own folder was given away: %d %s", r.Code, r.Err)
				} else if !own {
					verdict(t, r, name+rights)
				}
			})
		}
	}
	if r := host.RC("ps"); !strings.Contains(r.Out, "sibling") {
		t.Errorf("the sibling does not run any more: %s%s", r.Out, r.Err)
	}
}

// link makes a symbolic link, which the mask has to see through.
func link(t *testing.T, to string) string {
	t.Helper()
	name := filepath.Join(folder(t, "links"), filepath.Base(to))
	if err := os.Symlink(to, name); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	return name
}

// Abstract sockets belong to a network namespace: with the host's, Landlock keeps
// the container away from the host's programs (D-Bus, X11).
func TestAbstractSockets(t *testing.T) {
	require(t)
	name := "@rc-test-" + filepath.Base(host.Dir)
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accept.Each(l, func(net.Conn) {})
	works(t, "sockets", name)
	for mode, f := range map[string][]string{
		"own": {"--network", "none"}, "own+privileged": {"--network", "none", "--privileged"},
		"host": {"--network", "host"}, "host+caps": flags(mighty, []string{"--network", "host"}),
		"host+privileged": {"--network", "host", "--privileged"}, "host+init": {"--network", "host", "--init"},
		"host+app": {"--network", "host", "-u", "app"}, "host+nnp": {"--network", "host", "--security-opt", "no-new-privileges"},
		"host+terminal": {"--network", "host", "-t"},
	} {
		t.Run(mode, func(t *testing.T) {
			if strings.HasPrefix(mode, "host") && linux.LandlockABI() < 6 {
				t.Skip("needs Landlock's scope for abstract sockets (Linux 6.12)")
			}
			inside(t, f, "sockets", name)
		})
	}
	// A container that joins one on the host's network is on the host's network.
	t.Run("joined", func(t *testing.T) {
		if linux.LandlockABI() < 6 {
			t.Skip("needs Landlock's scope for abstract sockets (Linux 6.12)")
		}
		detached(t, "onhost", []string{"--network", "host"}, "sleep")
		r := host.RC("run", "--rm", "--network", "container:onhost", "--privileged", image, "sockets", name)
		if r.Code == 125 {
			t.Logf("refused altogether: %s", r.Err)
			return
		}
		verdict(t, r, "joined")
	})
}
