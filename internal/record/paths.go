// Package record keeps what rc knows on disk: containers, images, names and
// volumes. There is no database and no global lock: a record is a small file
// that is replaced whole, a name is a file made exclusively, and a lock is held
// by a live process and dies with it.
package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/linux"
)

// Store is the state of one user under one root folder. Opening it touches
// nothing but the folder itself.
type Store struct {
	Root string // absolute

	runtime string // cached by Runtime
	remade  bool   // by Runtime
}

// DefaultRoot resolves the state folder: the flag, else $RC_ROOT, else
// $XDG_DATA_HOME/rc, else ~/.local/share/rc with the home folder of $HOME or of
// the passwd database.
func DefaultRoot(flag string) (string, error) {
	for _, dir := range []string{flag, os.Getenv("RC_ROOT")} {
		if dir != "" {
			return filepath.Abs(dir)
		}
	}
	return UsualRoot()
}

// UsualRoot is the state folder of a user who names none.
func UsualRoot() (string, error) {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "rc"), nil
	}
	home := os.Getenv("HOME")
	if !filepath.IsAbs(home) {
		home = passwdHome(os.Getuid())
	}
	if home == "" {
		return "", hint.Newf("find the state folder", "set HOME, or name a folder: rc --root DIR ...",
			"$HOME is not set and uid %d has no home folder in /etc/passwd", os.Getuid())
	}
	return filepath.Join(home, ".local/share/rc"), nil
}

// passwdHome reads the home folder of a uid; a static binary has no NSS, and a
// user of LDAP practically always has HOME set.
func passwdHome(uid int) string {
	data, err := linux.ReadFile("/etc/passwd")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 7 && f[2] == strconv.Itoa(uid) && filepath.IsAbs(f[5]) {
			return f[5]
		}
	}
	return ""
}

// Open makes the root folder if need be.
func Open(root string) (*Store, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, hint.New("make the state folder "+root, hint.Cause(err), "name a folder that you can write to: rc --root DIR ... (or RC_ROOT=DIR)")
	}
	s := &Store{Root: root}
	for _, dir := range []string{"containers", "container-names", "images", "image-names", "networks", "volumes", "trash"} {
		err := unix.Mkdir(s.Path(dir), 0o700)
		if err != nil && err != unix.EEXIST {
			return nil, hint.New("make "+s.Path(dir), err, "name a folder that you can write to: rc --root DIR ... (or RC_ROOT=DIR)")
		}
		if err == nil && dir == "containers" {
			spread(s.Path(dir))
		}
	}
	return s, nil
}

// UseRuntime sets the runtime folder that a parent process found, for a program
// whose environment and view of the host may differ.
func (s *Store) UseRuntime(dir string) { s.runtime = dir }

// Path joins elements below the root.
func (s *Store) Path(elem ...string) string {
	return filepath.Join(append([]string{s.Root}, elem...)...)
}

// BootID names this boot of this kernel (random(4)).
func BootID() string {
	if id, err := linux.BootID(); err == nil {
		return id
	}
	return "unknown-boot"
}

// MachineID names this host: machine-id(5), or the node name where there is none.
func MachineID() string { return machineID() }

var machineID = sync.OnceValue(func() string {
	if b, err := linux.ReadFile("/etc/machine-id"); err == nil {
		if id := strings.TrimSpace(string(b)); id != "" && !strings.ContainsAny(id, "/.") {
			return id
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		return "node-" + strings.ReplaceAll(unix.ByteSliceToString(u.Nodename[:]), "/", "_")
	}
	return "unknown-host"
})

// Runtime returns the volatile folder of this user, host, boot and root: locks
// and sockets live there. The first caller of a boot chooses it and records the
// path, so that a login, cron and su agree whatever their environment says.
func (s *Store) Runtime() (string, error) {
	if s.runtime != "" {
		return s.runtime, nil
	}
	note := s.Path("hosts", MachineID(), BootID())
	if dir, err := readRuntime(note); err == nil {
		s.runtime = dir
		return dir, nil
	}
	dir, err := s.chooseRuntime(note)
	if err != nil {
		return "", err
	}
	s.runtime = dir
	return dir, nil
}

// Remade tells whether Runtime had to make another folder than the one that this
// boot's commands had recorded: a logout took that away (logind removes
// /run/user/UID), and live shims have to be told.
func (s *Store) Remade() bool { return s.remade }

func readRuntime(note string) (string, error) {
	b, err := linux.ReadFile(note)
	if err != nil {
		return "", err
	}
	dir := strings.TrimSpace(string(b))
	return dir, checkPrivate(dir)
}

// checkPrivate refuses a folder that is not ours alone: another user could have
// put it under /tmp after a reboot.
func checkPrivate(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return &fs.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Getuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s is not a private folder of uid %d (mode %o, uid %d)", dir, os.Getuid(), st.Mode&0o7777, st.Uid)
	}
	return nil
}

// chooseRuntime makes the folder under a lock, so that two first callers agree.
func (s *Store) chooseRuntime(note string) (string, error) {
	if err := os.MkdirAll(filepath.Dir(note), 0o700); err != nil {
		return "", hint.New("make the state folder", hint.Cause(err), "name a folder that you can write to: rc --root DIR ...")
	}
	lock, err := LockFile(note+".lock", unix.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if dir, err := readRuntime(note); err == nil {
		return dir, nil
	}
	var tried []error
	for _, base := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + strconv.Itoa(os.Getuid()), os.TempDir(), "/tmp"} {
		dir, err := makeRuntime(base)
		if err != nil {
			tried = append(tried, err)
			continue
		}
		_, before := os.Lstat(note)
		if err := atomicfile.Write(note, []byte(dir+"\n"), 0o600, atomicfile.Fast); err != nil {
			_ = os.RemoveAll(dir)
			return "", err
		}
		s.remade = before == nil
		return dir, nil
	}
	return "", hint.New("make a runtime folder", errors.Join(tried...), "set XDG_RUNTIME_DIR to a folder of your own with mode 0700")
}

func makeRuntime(base string) (string, error) {
	if !filepath.IsAbs(base) {
		return "", fmt.Errorf("%q is not an absolute path", base)
	}
	dir, err := os.MkdirTemp(base, "rc-"+strconv.Itoa(os.Getuid())+"-")
	if err != nil {
		return "", err
	}
	if err := unix.Mkdir(filepath.Join(dir, "c"), 0o700); err != nil {
		return "", err
	}
	return dir, nil
}

// LockFile opens path, made if need be, and takes a flock(2) of the given kind
// (LOCK_SH or LOCK_EX, with LOCK_NB not to wait: errors.Is(err,
// unix.EWOULDBLOCK)). Closing the file, or the death of its holders, unlocks.
func LockFile(path string, how int) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	if err := linux.Flock(fd, how); err != nil {
		_ = unix.Close(fd)
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}
