package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

// residue is everything of rc's that can stay behind on a machine.
type residue map[string]bool

// keepers says whether since counts the keeper, which lives on for 5 s.
type keepers bool

const (
	keepersToo    keepers = true
	exceptKeepers keepers = false
)

// since lists what is new, in order.
func (r residue) since(before residue, k keepers) []string {
	var out []string
	for what := range r {
		if before[what] || k == exceptKeepers && strings.HasPrefix(what, "keeper ") {
			continue
		}
		out = append(out, what)
	}
	sort.Strings(out)
	return out
}

// takeResidue looks at processes, mounts and cgroups of this user, and at the
// records in root and runtime ("" for none).
func takeResidue(root, runtime string) residue {
	r := residue{}
	r.processes()
	r.mounts()
	r.cgroups()
	for _, pattern := range []string{"containers/*", "container-names/*", "trash/*", "images/*/users/*", "storage/tmp/*"} {
		if root != "" {
			r.files(filepath.Join(root, pattern))
		}
	}
	if runtime != "" {
		r.files(filepath.Join(runtime, "c", "*"))
		r.files(filepath.Join(runtime, "rc", "c", "*"))
	}
	return r
}

func (r residue) files(pattern string) {
	found, _ := filepath.Glob(pattern) // the patterns are ours and well formed
	for _, f := range found {
		r["file "+f] = true
	}
}

// processes finds ours by name, and payloads by standing in a PID namespace
// below this one (NSpid, proc_pid_status(5)). Owners are this user or
// subordinate IDs, which stat shows as neither root nor a normal login.
func (r residue) processes() {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		dir := filepath.Join("/proc", e.Name())
		info, err := os.Stat(dir)
		if err != nil {
			continue
		}
		// A helper that cannot be traced belongs to root in /proc (proc(5)), so the
		// real uid is read from its status.
		uid := info.Sys().(*syscall.Stat_t).Uid
		status, _ := os.ReadFile(filepath.Join(dir, "status"))
		nested := false
		for _, line := range strings.Split(string(status), "\n") {
			f := strings.Fields(line)
			switch {
			case len(f) > 2 && f[0] == "NSpid:":
				nested = true
			case len(f) > 1 && f[0] == "Uid:":
				if n, err := strconv.ParseUint(f[1], 10, 32); err == nil {
					uid = uint32(n)
				}
			case len(f) > 1 && f[0] == "State:" && f[1] == "Z":
				uid = ^uint32(0) // a zombie waits for its parent, not for us
			}
		}
		if uid != uint32(os.Getuid()) && uid < 100000 || uid == ^uint32(0) {
			continue
		}
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		command := string(bytes.TrimSpace(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		switch name := processName(status, command); {
		case name == "rc-net":
			r[fmt.Sprintf("keeper %d %s", pid, command)] = true
		case name == "slirp4netns" && caller.OfKeeper(status, command):
			r[fmt.Sprintf("keeper %d's way out", pid)] = true
		case nested || ours[name]:
			r[fmt.Sprintf("process %d %s %.150s", pid, name, command)] = true
		}
	}
}

var ours = map[string]bool{"rc": true, "rc-init": true, "rc-image": true, "slirp4netns": true, "fuse-overlayfs": true}

// processName is the program's: a helper that was executed through a descriptor
// has that for its comm.
func processName(status []byte, command string) string {
	first, _, _ := strings.Cut(command, " ")
	base := filepath.Base(first)
	if base == "rc-net" || ours[base] {
		return base
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(string(status), "Name:\t"), "\n")
	return name
}

func (r residue) mounts() {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(data), "\n") {
		f := strings.Fields(line)
		if len(f) > 4 {
			r["mount "+f[4]+" "+f[0]] = true
		}
	}
}

func (r residue) cgroups() {
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() || !strings.HasPrefix(d.Name(), "rc-") || strings.HasPrefix(d.Name(), "rc-rig.") || d.Name() == "rc-host" { // the rig's, and where a caller stands aside
			return nil
		}
		if info, err := d.Info(); err == nil && info.Sys().(*syscall.Stat_t).Uid == uint32(os.Getuid()) {
			r["cgroup "+path] = true
		}
		return nil
	})
}

// storeListing is every path of the store that holds image content or says what
// is there; not locks, and not the cache, which exists to be left.
func storeListing(root string) []string {
	var out []string
	for _, pattern := range []string{"images/*", "image-names/*", "volumes/*", "containers/*", "container-names/*", "trash/*",
		"storage/rc/dir/*", "storage/rc-layers/*.gz", "storage/rc-images/*", "storage/rc-containers/*", "cache/tmp/*"} {
		found, _ := filepath.Glob(filepath.Join(root, pattern))
		for _, f := range found {
			// Locks and indexes appear with the first use and stay.
			if ext := filepath.Ext(f); ext != ".lock" && ext != ".json" {
				out = append(out, strings.TrimPrefix(f, root+"/"))
			}
		}
	}
	sort.Strings(out)
	return out
}
