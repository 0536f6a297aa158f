package hostile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// group is a container's cgroup, as the host sees it.
func group(t *testing.T, name string) string {
	t.Helper()
	var view []struct{ HostConfig struct{ CgroupPath string } }
	r := host.RC("inspect", name)
	if err := json.Unmarshal([]byte(r.Out), &view); err != nil || len(view) != 1 || view[0].HostConfig.CgroupPath == "" {
		t.Fatalf("container %s has no cgroup: %v %s", name, err, r.Out)
	}
	return view[0].HostConfig.CgroupPath
}

// Nobody raises their own limit or touches a sibling through the cgroup tree: in
// every network mode, with the host's /sys bound in, with every capability. The
// limits that stand for all are cgroup.max.descendants, which every group has,
// and the controllers' where the host lends any.
func TestCgroup(t *testing.T) {
	require(t)
	if why := caller.Undelegated(); why != "" {
		t.Skip(why)
	}
	dir := folder(t, "cgroup")
	heart := filepath.Join(dir, "heart")
	detached(t, "victim", []string{"-v", dir + ":/beat"}, "beat", "/beat/heart")
	for network, net := range map[string][]string{
		"slirp": {}, "none": {"--network", "none"}, "host": {"--network", "host"}, "joined": {"--network", "container:victim"},
	} {
		for how, f := range map[string][]string{
			"default":     {},
			"capable":     mighty,
			"privileged":  {"--privileged"},
			"sys":         {"-v", "/sys:/sys"},
			"sys+caps":    flags(mighty, []string{"-v", "/sys:/sys"}),
			"elsewhere":   flags(mighty, []string{"-v", "/sys:/hostsys"}),
			"itself":      {"-v", "/sys/fs/cgroup:/cg", "--privileged"},
			"root":        flags(mighty, []string{"-v", "/:/host"}),
			"pid":         flags(mighty, []string{"--pid", "host"}),
			"writable":    flags(mighty, []string{"--security-opt", "writable-cgroups"}),
			"system":      {"--systemd=always"},
			"system+caps": flags(mighty, []string{"--systemd=always"}),
			"ids":         {"--privileged", "--userns", "host", "-v", "/sys:/sys"},
		} {
			t.Run(network+"/"+how, func(t *testing.T) { bendCgroups(t, dir, heart, flags(net, f)) })
		}
	}
}

func bendCgroups(t *testing.T, dir, heart string, f []string) {
	t.Helper()
	goFile := filepath.Join(dir, "go")
	_ = os.Remove(goFile)
	r := host.RC(flags([]string{"run", "-d", "--name", "bender", "-v", dir + ":/sign"}, f, []string{image, "cgroup", "/hostsys/fs/cgroup", "/cg", "/host/sys/fs/cgroup"})...)
	if strings.Contains(r.Err, "the host's cgroups are not shown") {
		return // refused altogether
	}
	if r.Code != 0 {
		t.Fatalf("exit code %d: %s", r.Code, r.Err)
	}
	t.Cleanup(func() { host.RC("rm", "-f", "bender") })
	own, victim := group(t, "bender"), group(t, "victim")
	limits := map[string]string{}
	for _, g := range []string{own, victim} {
		for _, file := range []string{"cgroup.max.descendants", "cgroup.max.depth", "hugetlb.2MB.max", "memory.max", "pids.max"} {
			path := filepath.Join(g, file)
			if os.WriteFile(path, []byte("4194304"), 0) == nil {
				limits[path] = read(path)
			}
		}
		limits[filepath.Join(g, "cgroup.freeze")] = "0\n"
		limits[filepath.Join(g, "payload/cgroup.freeze")] = "0\n"
	}
	delete(limits, filepath.Join(own, "payload/cgroup.freeze")) // its own to freeze
	if err := os.WriteFile(goFile, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out := logOf(t, "bender", "saw ")
	for line := range strings.Lines(out) {
		if strings.Contains(line, "BREACH") {
			t.Error(line)
		}
	}
	for path, want := range limits {
		if got := read(path); got != want {
			t.Errorf("%s was %q and is %q", path, want, got)
		}
	}
	before := len(read(heart))
	time.Sleep(100 * time.Millisecond)
	if len(read(heart)) == before {
		t.Error("the sibling's heart stands still")
	}
}
