package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func way(kind, tool, network string, gbits ...float64) *path {
	p := &path{kind: kind, name: tool + ", " + network, tool: tool, network: network}
	for _, g := range gbits {
		p.looks = append(p.looks, look{Send: g * 1e9 / 8, Receive: g * 1e9 / 4, Moved: 1 << 30, CPU: 500 * time.Millisecond, Connections: 1000 * g, RoundTrip: 20 * time.Microsecond})
	}
	return p
}

func TestNetworkMarkdown(t *testing.T) {
	r := &report{o: options{rounds: 3, each: time.Second}}
	r.paths = []*path{way(between, "veth", "1500", 8, 1, 9), way(between, "rc", "bridge", 4, 4, 5), way(in, "rc", "bridge", 2), way(in, "podman", "bridge", 0), way(out, "pasta", "", 1)}
	text := r.markdown()
	for _, want := range []string{
		"Network, 3 rounds", "| veth, 1500 | 8.0 | 16.0 | 8000 | 20 | 0.50 |",
		"| container to container: veth, 1500 | 0.50 | 0.50 | 0.50 | 1.00 | 1.00 |",
		"| in: podman, bridge | – | – | – | 1.00 | 1.00 |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "| out: pasta") || strings.Contains(text, "One start") {
		t.Errorf("a ratio or a table of what was not measured:\n%s", text)
	}
}

func TestMedianOfLooks(t *testing.T) {
	if got := way(in, "rc", "bridge", 9, 1, 2, 4).median(sending); got != 3 {
		t.Errorf("%v", got)
	}
	if got := (&path{}).median(sending); got != 0 {
		t.Errorf("%v without any", got)
	}
}

func TestTicks(t *testing.T) {
	if got := ticks("7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 12 34 0 0 20"); got != 460*time.Millisecond {
		t.Errorf("%v", got)
	}
	if got := ticks("7 (short) S 1"); got != 0 {
		t.Errorf("%v", got)
	}
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 30*time.Millisecond; {
	}
	if again, _ := os.ReadFile("/proc/self/stat"); ticks(string(again)) < ticks(string(text)) {
		t.Errorf("%s\n%s", text, again)
	}
}

// TestVeth builds the plain namespaces, and measures them once.
func TestVeth(t *testing.T) {
	if out, err := exec.Command("unshare", "--map-root-user", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("no user namespaces here: %s", out)
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip: apt-get install iproute2")
	}
	dir := t.TempDir()
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir+"/bin/traffic", "./traffic")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w := &world{o: options{dir: dir}, env: os.Environ(), uid: uint32(os.Getuid())}
	l := &lab{w: w}
	defer l.close()
	if err := l.hosts(); err != nil {
		t.Fatal(err)
	}
	if err := l.veth(1500); err != nil {
		t.Fatal(err)
	}
	for _, p := range l.paths {
		got, err := w.look(p, 50*time.Millisecond)
		if err != nil || got.Send < 1e6 || got.Receive < 1e6 || got.Moved < 1e5 || got.Connections < 10 || got.RoundTrip <= 0 || got.CPU <= 0 {
			t.Errorf("%s: %+v, %v", p.name, got, err)
		}
	}
	if _, err := w.said([]string{"sh", "-c", "echo what; echo why >&2; exit 3"}); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("%v", err)
	}
	if port, err := strconv.Atoi(freePort()); err != nil || port == 0 {
		t.Errorf("port %d, %v", port, err)
	}
}
