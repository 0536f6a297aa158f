package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

// environment sets what containers/image and containers/storage ask of it, before
// their first call.
func environment() {
	unix.Umask(0o022)
	uid := hostID("/proc/self/uid_map")
	// We are in a user namespace that has its maps: the library neither makes
	// one nor writes trusted.* xattrs (storage/pkg/unshare).
	setenv("_CONTAINERS_USERNS_CONFIGURED", "done")
	setenv("_CONTAINERS_ROOTLESS_UID", uid)
	setenv("_CONTAINERS_ROOTLESS_GID", hostID("/proc/self/gid_map"))
	// The store is ours: storage.conf says how podman's is made.
	setenv("CONTAINERS_STORAGE_CONF", "/dev/null")
	if os.Getenv("HOME") == "" {
		// The library would take that of uid 0, which is /root here.
		setenv("HOME", passwdHome(uid))
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		if _, err := os.Stat(dir); err != nil {
			_ = os.Unsetenv("XDG_RUNTIME_DIR") // left over from a login; the library would fail
		}
	}
}

func setenv(key, value string) {
	if err := os.Setenv(key, value); err != nil {
		panic(err) // only for a malformed key
	}
}

// hostID is the id outside that appears as 0 here (user_namespaces(7)).
func hostID(path string) string {
	data, _ := os.ReadFile(path)
	for line := range strings.Lines(string(data)) {
		var inside, outside, size int64
		if _, err := fmt.Sscan(line, &inside, &outside, &size); err == nil && inside == 0 {
			return strconv.FormatInt(outside, 10)
		}
	}
	return strconv.Itoa(os.Getuid())
}

func passwdHome(uid string) string {
	data, _ := os.ReadFile("/etc/passwd")
	for line := range strings.Lines(string(data)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) >= 7 && f[2] == uid {
			return f[5]
		}
	}
	return "/"
}

// inNamespace refuses to work outside of a namespace where we are root: layers
// could not be given their owners.
func inNamespace(verb string) error {
	if os.Getuid() == 0 {
		return nil
	}
	return hint.Newf("rc-image "+verb, "use rc "+verb, "it is started by rc, inside the user's namespace")
}
