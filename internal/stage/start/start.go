// Package start is the conversation of a start: who says what, in which order.
//
//	rc                          shim (in U0)                          init (the container's PID 1)
//	Config (+descriptors)  ───►
//	                            mounts the root file system, detached
//	                            clones init into the container's cgroup
//	                            Init (+descriptors)              ───► mounts, pivot_root, user, command
//	                            keeper: Attach                        …
//	                                                             ◄─── Ready (+terminal)
//	                       ◄─── Created        (state saved before)
//	Start                  ───► Exec                             ───► caps, seccomp, execve
//	                                                             ◄─── end of file: it succeeded, or init died
//	                       ◄─── Started        (state saved before)
//	                       ◄─── Exited         (all output was written before)
//	Failed from any side at any time ends it; after Started, rc may send
//	Signal, Resize, CloseStream and Detach.
//	rc gone before Start: the shim tears down.
//
// Where Created tells rc nothing that has to be written down first, Start is sent
// ahead, and the shim finds it when it looks; Exec is sent ahead of Ready then, where
// nothing is made of that (shim/sendoff.go). Each still reads the other's in this order.
//
// One more rule: the socket to init is close-on-exec, so a successful execve
// closes it, and no answer from the payload is ever read.
package start

import (
	"fmt"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/fuse"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// Kind names a message.
type Kind string

// The kinds of message, in the order of a start.
const (
	KindConfig      Kind = "config"
	KindInit        Kind = "init"
	KindReady       Kind = "ready"
	KindCreated     Kind = "created"
	KindStart       Kind = "start"
	KindExec        Kind = "exec"
	KindStarted     Kind = "started"
	KindExited      Kind = "exited"
	KindFailed      Kind = "failed"
	KindSignal      Kind = "signal"
	KindResize      Kind = "resize"
	KindCloseStream Kind = "close-stream"
	KindDetach      Kind = "detach"
)

// Message is one packet. Files names the descriptors beside it, in order.
type Message struct {
	Kind   Kind
	Files  []string        `json:",omitempty"`
	Exit   *Exit           `json:",omitempty"`
	Fail   *Failure        `json:",omitempty"`
	Signal int             `json:",omitempty"`
	Rows   uint16          `json:",omitempty"`
	Cols   uint16          `json:",omitempty"`
	Stream string          `json:",omitempty"` // stdout or stderr
	PID    int             `json:",omitempty"`
	Note   string          `json:",omitempty"` // what the user should know of the root file system
	Said   []string        `json:",omitempty"` // of Created: further lines for the user
	Net    *slirp.Attached `json:",omitempty"`
}

// Exit says how the payload ended.
type Exit struct {
	Code      int // 0–255; 128+n for signal n
	OOMKilled bool
}

// Failure is a refusal that crosses the socket.
type Failure = stage.Failure

// Fail packs an error.
func Fail(err error) *Failure { return stage.Fail(err) }

// Config is what `rc` gives the shim, in a sealed memory file. Descriptors
// travel beside it under the names in Message.Files:
//
//	config            this, sealed
//	life              the container's life lock, held
//	u0                U0's user namespace
//	cgroup            folder to clone init into, if any
//	seccomp           compiled filter, if any
//	join-user, join-net, join-ipc, join-uts, join-pid   namespaces to join
//	join-mnt          mount namespace that lends its /dev/shm (ShmMount)
//	stdin, stdout, stderr   the caller's ends of the streams, if attached
type Config struct {
	Version    string // of rc; the shim refuses another's
	ID         string
	Name       string
	Dir        string // the container's folder
	Root       string // the state root
	Runtime    string // the runtime folder
	Spec       *specs.Spec
	Rootfs     fuse.Rootfs
	Driver     fuse.Driver
	RootfsDir  string // --rootfs: this folder itself is the root
	Clone      int    // CLONE_NEW* of the sandbox and the container
	UIDMap     []userns.IDMap
	GIDMap     []userns.IDMap
	ShmMount   int    // index of the mount that is the joined container's /dev/shm; -1 for none
	Network    string // kind of spec.NamespaceMode
	Attach     slirp.Attach
	Keeper     Keeper // how a shim starts one in the place of one that ended
	Cgroup     string // path of the container's group, "" for none
	StopSignal int
	StopAfter  time.Duration
	AutoRemove bool
	Image      string   // id whose reference is dropped by AutoRemove
	Anonymous  []string // volumes that go with an AutoRemove
	Detach     bool     // nobody is attached: the streams go to the log alone
	Inside     Inside
	Binds      Binds
	Without    string // RC_TEST_WITHOUT
	Rows, Cols uint16 // of the caller's terminal

	Fresh        bool                // `rc run` made the container just now: what cannot be started is removed
	Log          record.LogConfig    // of streams
	Health       *record.Healthcheck `json:",omitempty"`
	RestartCount int                 `json:",omitempty"` // of a restart by policy
	SDNotify     string              `json:",omitempty"` // --sdnotify, as typed
	PIDFile      string              `json:",omitempty"` // absolute; gets the payload's pid
	ShimPIDFile  string              `json:",omitempty"` // absolute; gets the shim's
	Unit         *Unit               `json:",omitempty"` // of this start
	Again        Again
	Systemd      string `json:",omitempty"` // of a system container: a spec.Plan's
}

// Keeper is what a shim has to know to start the keeper.
type Keeper struct {
	Program string // path of rc-net
	Path    string // rc's PATH, to find slirp4netns in
}

// SystemdAlways is the Config.Systemd of a container that is useless without a
// cgroup of its own; another that is not empty was guessed by its command.
const SystemdAlways = "always"

// Binds are indexes of Spec.Mounts: what the shim does to a source before it
// mounts it, and the runtime-spec has no words for.
type Binds struct {
	Overlay []int              `json:",omitempty"` // :O, changes go to a folder of this start's
	Chown   []int              `json:",omitempty"` // :U, all of it becomes the payload's user's
	Give    []int              `json:",omitempty"` // an empty volume becomes the container's root's
	Volumes []record.VolumeUse `json:",omitempty"` // for events
}

// Again is what rc needs besides Config to start the container another time.
// config.json in the container's folder is a Config as JSON, the very bytes that
// the shim of the first start was given: `rc start` loads it, replaces what
// belongs to one start (Version, Runtime, Cgroup, Detach, Rows, Cols, Without,
// Fresh) and opens the descriptors anew; the shim's own restarts load it too.
type Again struct {
	SeccompPath string   `json:",omitempty"`
	SeccompCaps []string `json:",omitempty"`
	Unconfined  bool     `json:",omitempty"`
	Resources   cgroup.Resources
	Place       cgroup.Place          `json:",omitzero"`
	Approx      *cgroup.Approximation `json:",omitempty"` // --cgroup-fallback at the last start
	DNS         slirp.DNS
	Join        string   `json:",omitempty"` // id of the container whose sandbox is joined
	JoinNames   []string `json:",omitempty"` // the namespaces of it, beside user: net, ipc, uts, pid, mnt
}

// Inside is what init needs and the runtime-spec has no words for.
type Inside struct {
	Username   string   // to resolve in the rootfs; "" when Spec.Process.User is numeric
	Groups     []string // --group-add
	Init       bool     // stay as PID 1 and reap
	System     bool     // of a system container
	Stdin      bool     // the payload's stdin is a pipe, else /dev/null
	HomeSet    bool     // HOME was given by the image or the user
	OwnNet     bool     // bring lo up
	OwnUTS     bool
	HostNet    bool  // Landlock's scope for abstract sockets
	CopyUp     []int // indexes of Spec.Mounts that are fresh volumes
	Keyring    uint32
	GuardKeys  bool // the payload could reach the user's own keyrings
	Seccomp    bool
	Privileged bool
	Rows, Cols uint16
	Without    string
}

// ExecConfig is one more process in a running container, in a sealed memory file
// that rc makes and the shim passes on unread to rc-exec (internal/boot). Beside
// it: "seccomp", from the shim. Paths and users mean those of the container.
type ExecConfig struct {
	Process *specs.Process // as Spec.Process; Args, Env, Cwd, Terminal, Capabilities, Rlimits …
	Inside  Inside
}

// InitConfig goes to init in a sealed memory file. Beside it: "rootfs" (a
// detached mount), "mount-N" for each Spec.Mounts[N] of type bind, "dev-NAME"
// for the device nodes, "seccomp".
type InitConfig struct {
	Spec   *specs.Spec
	Inside Inside

	// NotifySocket is where the payload finds a socket to tell its service manager
	// something; "" for none. Sockets are its LISTEN_FDS: init was born with them as
	// its descriptors 5 and on.
	NotifySocket string        `json:",omitempty"`
	Watchdog     time.Duration `json:",omitempty"` // of WATCHDOG_USEC
	Sockets      []Socket      `json:",omitempty"`
}

// Side is one of the three programs.
type Side int

// The sides of the conversation.
const (
	RC Side = iota
	Shim
	Init
)

// Order checks that messages come in the drawn order. The zero value is the
// beginning. Each process keeps one per socket and closes a conversation that
// breaks the order.
type Order struct{ last Kind }

// Next accepts the message that from sends, or says why it cannot come now.
func (o *Order) Next(from Side, k Kind) error {
	if k == KindFailed {
		o.last = KindFailed
		return nil
	}
	if want, ok := follows[k]; !ok || want.from != from || !contains(want.after, o.last) {
		return fmt.Errorf("message %q cannot come after %q here", k, o.last)
	}
	if k != KindSignal && k != KindResize && k != KindCloseStream && k != KindDetach {
		o.last = k
	}
	return nil
}

type rule struct {
	from  Side
	after []Kind
}

var follows = map[Kind]rule{
	KindConfig:      {RC, []Kind{""}},
	KindCreated:     {Shim, []Kind{KindConfig}},
	KindStart:       {RC, []Kind{KindCreated}},
	KindStarted:     {Shim, []Kind{KindStart}},
	KindExited:      {Shim, []Kind{KindStarted}},
	KindInit:        {Shim, []Kind{""}},
	KindReady:       {Init, []Kind{KindInit}},
	KindExec:        {Shim, []Kind{KindReady}},
	KindSignal:      {RC, []Kind{KindCreated, KindStart, KindStarted}},
	KindResize:      {RC, []Kind{KindConfig, KindCreated, KindStart, KindStarted}},
	KindCloseStream: {RC, []Kind{KindStart, KindStarted}},
	KindDetach:      {RC, []Kind{KindStart, KindStarted}},
}

func contains(list []Kind, k Kind) bool {
	for _, x := range list {
		if x == k {
			return true
		}
	}
	return false
}
