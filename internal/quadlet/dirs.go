package quadlet

import (
	"path/filepath"
	"strconv"
)

// Dir is a folder of quadlet files; those in folders below it count, too.
type Dir struct {
	Path string
	Skip Skip
}

// Skip says which folders directly below one are other people's.
type Skip int

// The kinds of Skip.
const (
	SkipNone    Skip = iota
	SkipUsers        // the system's: users/ has the files of users
	SkipNumbers      // users/ of a user: users/1000 is for one uid
)

func (s Skip) skips(name string, depth int) bool {
	if depth > 0 {
		return false
	}
	if s == SkipNumbers {
		_, err := strconv.ParseUint(name, 10, 32)
		return err == nil
	}
	return s == SkipUsers && name == "users"
}

// Where tells where quadlet files are kept on a host.
type Where struct {
	User   bool
	UID    int
	Config string // $XDG_CONFIG_HOME or ~/.config; "" for none
	Run    string // $XDG_RUNTIME_DIR; "" for none
	Podman bool   // podman's folders, too
}

// Dirs lists the folders, the one that counts most first: rc's own and then podman's,
// in the order of podman-systemd.unit(5).
func (w Where) Dirs() []Dir {
	dirs := w.of("rc")
	if w.Podman {
		dirs = append(dirs, w.of("containers")...)
	}
	return dirs
}

func (w Where) of(vendor string) []Dir {
	at := func(base string) string { return filepath.Join(base, vendor, "systemd") }
	if !w.User {
		return []Dir{{at("/run"), SkipUsers}, {at("/etc"), SkipUsers}, {at("/usr/share"), SkipUsers}}
	}
	var dirs []Dir
	// $XDG_RUNTIME_DIR/rc is full of rc's own sockets; its quadlets have no place there.
	if w.Run != "" && vendor != "rc" {
		dirs = append(dirs, Dir{at(w.Run), SkipNone})
	}
	if w.Config != "" {
		dirs = append(dirs, Dir{at(w.Config), SkipNone})
	}
	users := filepath.Join(at("/etc"), "users")
	return append(dirs, Dir{filepath.Join(users, strconv.Itoa(w.UID)), SkipNone}, Dir{users, SkipNumbers})
}

// PodmanGenerators are podman's own generators, by their places (systemd.generator(7)):
// where one is installed, the files in podman's folders are podman's to run.
func PodmanGenerators(user bool) []string {
	scope := "system"
	if user {
		scope = "user"
	}
	var list []string
	for _, base := range []string{"/run", "/etc", "/usr/local/lib", "/usr/lib", "/lib"} {
		list = append(list, filepath.Join(base, "systemd", scope+"-generators", "podman-"+scope+"-generator"))
	}
	return list
}
