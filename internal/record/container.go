package record

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/lazyjson"
	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// ErrNoContainer is what errors.Is finds in a failed look-up.
var ErrNoContainer = errors.New("no such container")

// Container is what `rc run` decided; written once, before the shim starts.
type Container struct {
	Version     int
	ID          string
	Name        string
	Image       string // image id; "" with --rootfs
	ImageName   string // as the user typed it
	Rootfs      string // --rootfs DIR
	Created     time.Time
	Command     []string
	Labels      map[string]string `json:",omitempty"`
	Annotations map[string]string `json:",omitempty"` // the runtime-spec's
	AutoRemove  bool              `json:",omitempty"`
	TTY         bool              `json:",omitempty"`
	Interactive bool              `json:",omitempty"`
	Network     string            // kind, or container:ID
	Networks    []NetworkUse      `json:",omitempty"` // of the kind bridge; may be none any more
	Ports       []slirp.Port      `json:",omitempty"`
	Exposed     []string          `json:",omitempty"` // --expose: "80/tcp"; the image's own are in the image
	Volumes     []VolumeUse       `json:",omitempty"`
	OwnIDs      []userns.IDMap    `json:",omitempty"` // of --userns=auto: ids of U0 that no other container shall have
	StopSignal  int
	StopAfter   time.Duration
	MachineID   string
	Restart     RestartPolicy `json:",omitzero"`
	Log         LogConfig     `json:",omitzero"`
	Health      *Healthcheck  `json:",omitempty"`

	// How it was made, for `rc generate systemd --new`: the flags of `rc run`, as
	// --NAME=VALUE, what follows them, and the folder in which they were typed.
	CreateCommand []string `json:",omitempty"`
	CreateFolder  string   `json:",omitempty"`
}

// RestartPolicy says what the shim does when the payload has ended. The zero
// value is "no". `rc update` may change it while the container runs: the shim
// reads it from the record at each end.
type RestartPolicy struct {
	Name string `json:",omitempty"` // "", no, on-failure, always, unless-stopped
	Max  int    `json:",omitempty"` // of on-failure: so many restarts, 0 for no bound
}

// LogConfig is where the payload's output goes besides attached callers.
type LogConfig struct {
	Driver  string            `json:",omitempty"` // "" and json-file, journald (json-file and a copy), none
	MaxSize int64             `json:",omitempty"` // bytes of one file; 0 is the default, negative for no bound
	MaxFile int               `json:",omitempty"` // files kept, the one being written included; 0 is 1 with a MaxSize, else the default
	Opts    map[string]string `json:",omitempty"` // as typed: max-size, labels, env, tag
	Attrs   [][2]string       `json:",omitempty"` // the labels and variables that Opts chose, with their values
	Tag     string            `json:",omitempty"` // Opts' tag, filled in; the short id where there is none
	Image   string            `json:",omitempty"` // the image's name, of the driver journald
}

// Healthcheck is a probe as Docker's HEALTHCHECK defines it. A zero duration is
// the default: interval 30 s, timeout 30 s, start interval 5 s; retries 3.
type Healthcheck struct {
	Test          []string // CMD arg… or CMD-SHELL line
	Interval      time.Duration
	Timeout       time.Duration
	StartPeriod   time.Duration
	StartInterval time.Duration
	Retries       int
	OnFailure     string `json:",omitempty"` // "", none, kill, restart, stop
}

// VolumeUse says which volume a container mounts where.
type VolumeUse struct {
	Name        string
	Destination string
	Anonymous   bool `json:",omitempty"`
	ReadOnly    bool `json:",omitempty"`
}

// Status is a closed choice.
type Status string

// A container's statuses. Lost is never stored: it is what a reader says of a
// container whose shim died before it could write an end.
const (
	Created    Status = "created"
	Running    Status = "running"
	Paused     Status = "paused"
	Restarting Status = "restarting" // it has ended and its shim waits to start it again
	Exited     Status = "exited"
	Lost       Status = "lost"
)

// State is the life of a container. Only its shim writes it, and, while no shim
// lives, whoever holds the life lock: `rc create` (Created) and a reader that
// repairs. No state at all is a container whose making was interrupted.
type State struct {
	Status     Status
	PID        int    `json:",omitempty"` // of init, in the host's pid namespace
	PIDStart   uint64 `json:",omitempty"` // its start time, proc_pid_stat(5) field 22
	ShimPID    int    `json:",omitempty"`
	ShimStart  uint64 `json:",omitempty"`
	BootID     string
	Started    time.Time       `json:",omitzero"`
	Finished   time.Time       `json:",omitzero"`
	ExitCode   int             // 128+n for a signal n
	OOMKilled  bool            `json:",omitempty"`
	Error      string          `json:",omitempty"`
	Cgroup     string          `json:",omitempty"`
	Driver     string          `json:",omitempty"`
	DriverNote string          `json:",omitempty"`
	Net        *slirp.Attached `json:",omitempty"`

	Fresh        bool      `json:",omitempty"` // of Created: made by `rc run`, which removes what it cannot start
	Stopped      bool      `json:",omitempty"` // a user ended it (stop, kill): no restart policy applies, not even after a reboot for unless-stopped
	RestartCount int       `json:",omitempty"` // restarts by policy since the user's last start
	NextStart    time.Time `json:",omitzero"`  // of Restarting
	Health       *Health   `json:",omitempty"`
}

// Health is what the probes have found.
type Health struct {
	Status        string // starting, healthy, unhealthy
	FailingStreak int
	Log           []HealthResult `json:",omitempty"` // the last five
}

// HealthResult is one probe. Output is its first 4096 bytes.
type HealthResult struct {
	Start    time.Time
	End      time.Time
	ExitCode int // 0 healthy; -1 the probe timed out or could not run
	Output   string
}

// ContainerDir is the folder of a container.
func (s *Store) ContainerDir(id string) string { return s.Path("containers", id) }

// SaveContainer writes the record of a container into its folder, which exists. Who
// reads it at this very moment finds none or all of it: no text is as good as no
// file (loadJSON), and a page is the least that a reader sees of one write(2).
func (s *Store) SaveContainer(c *Container) error {
	path := filepath.Join(s.ContainerDir(c.ID), "container.json")
	data, err := lazyjson.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	if len(data) <= 4096 {
		if err = atomicfile.Make(path, data, 0o600); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return saveText(path, data, atomicfile.Fast)
}

// SaveState replaces the state in a container's folder. Callers hold the life lock.
// Durable, the record beside it becomes so too: it was written without waiting for
// the disk, and an end without the container that ended is worth nothing.
func SaveState(dir string, st *State, d atomicfile.Durability) error {
	if d == atomicfile.Durable {
		if err := syncRecord(dir); err != nil {
			return err
		}
	}
	return saveJSON(filepath.Join(dir, "state.json"), st, d)
}

func syncRecord(dir string) error {
	f, err := os.Open(filepath.Join(dir, "container.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(dir))
}

func saveJSON(path string, v any, d atomicfile.Durability) error {
	data, err := lazyjson.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return saveText(path, data, d)
}

func saveText(path string, data []byte, d atomicfile.Durability) error {
	err := atomicfile.Write(path, data, 0o600, d)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		if overwrite(path, data) == nil {
			return nil
		}
	}
	return err
}

// overwrite puts a text into the bytes that the file has already, for a disk that
// has no other: what a user stopped must not look as if it had crashed. One write
// within a block; whoever reads at this very moment may see half of it.
func overwrite(path string, data []byte) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	const block = 512 // the smallest there is: the file holds it, or is longer
	if have := (st.Size + block - 1) / block * block; int64(len(data)) > have {
		return unix.ENOSPC
	}
	if pad := st.Size - int64(len(data)); pad > 0 {
		data = append(data, bytes.Repeat([]byte{' '}, int(pad))...)
	}
	if n, err := unix.Pwrite(fd, data, 0); err != nil || n != len(data) {
		return errors.Join(err, unix.ENOSPC)
	}
	return nil
}

// loadJSON reads what saveJSON wrote. A text of no bytes, or of NULs, is one whose
// bytes a power cut kept from the disk while its name got there (ext4(5),
// auto_da_alloc; XFS): as good as never written, and errors.Is(err, fs.ErrNotExist).
// Nothing that was written Durable can look so.
func loadJSON(path string, v any) error {
	data, err := linux.ReadFile(path)
	if err != nil {
		return err
	}
	if len(bytes.Trim(data, "\x00")) == 0 {
		return &fs.PathError{Op: "read", Path: path, Err: fs.ErrNotExist}
	}
	if err := lazyjson.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// LoadContainer reads one record; errors.Is(err, fs.ErrNotExist) where a start
// was interrupted before the record was written.
func (s *Store) LoadContainer(id string) (*Container, error) {
	var c Container
	if err := loadJSON(filepath.Join(s.ContainerDir(id), "container.json"), &c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, fmt.Errorf("record in %s speaks of container %q", s.ContainerDir(id), c.ID)
	}
	return &c, nil
}

// LoadState reads the last state that the shim wrote; nil where it wrote none.
func (s *Store) LoadState(id string) (*State, error) {
	var st State
	err := loadJSON(filepath.Join(s.ContainerDir(id), "state.json"), &st)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && st.Status == "" { // no shim has ever written that
		err = fmt.Errorf("read %s: it names no status", filepath.Join(s.ContainerDir(id), "state.json"))
	}
	return &st, err
}

// ContainerIDs lists the folders of containers/, sorted, half-made ones included.
func (s *Store) ContainerIDs() ([]string, error) {
	names, err := linux.Names(s.Path("containers"))
	if err != nil {
		return nil, err
	}
	return containerIDs(names), nil
}

// containerIDs takes the ids out of the names of a folder, and sorts them.
func containerIDs(names []string) []string {
	ids := slices.DeleteFunc(names, func(name string) bool { return !ValidID(name) })
	slices.Sort(ids)
	return ids
}

// ValidID tells whether s is a full container id: 64 lower-case hex digits.
func ValidID(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// FindContainer resolves a name, a full id or an unambiguous prefix of an id. A
// name may begin with the slash that `docker inspect` prints before it, and that
// scripts hand back.
func (s *Store) FindContainer(ref string) (string, error) {
	ref = strings.TrimPrefix(ref, "/")
	if ValidID(ref) {
		if _, err := os.Lstat(s.ContainerDir(ref)); err == nil {
			return ref, nil
		}
	}
	if id, err := s.NameHolder(ref); err == nil {
		return id, nil
	}
	var found []string
	if ref != "" && strings.Trim(ref, "0123456789abcdef") == "" {
		ids, err := s.ContainerIDs()
		if err != nil {
			return "", err
		}
		for _, id := range ids {
			if strings.HasPrefix(id, ref) {
				found = append(found, id)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if ref != "" {
			if id, err := s.recordNamed(ref); id != "" || err != nil {
				return id, err
			}
		}
		return "", hint.New(fmt.Sprintf("find container %q", ref), ErrNoContainer, "see `rc ps -a`").WithCode(1)
	}
	sort.Strings(found)
	return "", hint.Newf(fmt.Sprintf("find container %q", ref), "type more of the id", "it is the start of %d ids, %.12s and %.12s among them", len(found), found[0], found[1]).WithCode(1)
}

// Trash renames a container's folder out of sight and returns where it went;
// deleting it is slow, may need U0, and may be interrupted at any point.
func (s *Store) Trash(id string) (string, error) {
	to := s.Path("trash", id)
	err := os.Rename(s.ContainerDir(id), to)
	if errors.Is(err, fs.ErrNotExist) {
		return to, nil
	}
	if errors.Is(err, fs.ErrExist) || errors.Is(err, unix.ENOTEMPTY) {
		to = fmt.Sprintf("%s.%d", to, time.Now().UnixNano())
		err = os.Rename(s.ContainerDir(id), to)
	}
	return to, err
}
