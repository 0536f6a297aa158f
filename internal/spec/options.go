// Package spec turns what the user typed and what the image says into an OCI
// runtime-spec (github.com/opencontainers/runtime-spec, config.md), the language
// between the engine and the runtime.
package spec

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// Options holds the flags of `rc run` as typed, in Docker's spelling. A pointer
// tells "not given" from "given and empty". cmd/rc binds its flags to these fields.
type Options struct {
	Command     []string // after IMAGE; empty: the image's
	Entrypoint  *string
	Env         []string // KEY=VALUE, or KEY taken from the caller
	EnvFile     []string
	Workdir     string
	User        string // name|uid[:group|gid]
	GroupAdd    []string
	Interactive bool
	TTY         bool
	Init        bool
	Systemd     string // "", "true", "false", "always"

	Hostname   string
	Domainname string
	Cgroupns   string // "", "private"
	PID        string // "", "private", "host", "container:ID"
	IPC        string
	UTS        string
	Network    []string // "", NETWORK[:opts], "slirp4netns[:opts]", "pasta[:opts]", "host", "none", "container:ID"
	Userns     string   // "", "host", "auto[:size=N]", "keep-id[:uid=N,gid=N]"

	Volume   []string
	Mount    []string
	Tmpfs    []string
	ReadOnly bool
	ShmSize  string
	Device   []string

	DNS       []string
	DNSSearch []string
	DNSOption []string
	AddHost   []string
	Publish   []string

	IP           string // of the first bridge network, as the three below
	IP6          string
	MAC          string
	NetworkAlias []string
	HostLoopback bool

	PublishAll  bool
	Expose      []string
	VolumesFrom []string
	OOMScoreAdj int
	Quiet       bool // nothing is printed of a pull

	CapAdd      []string
	CapDrop     []string
	SecurityOpt []string
	Privileged  bool
	Ulimit      []string
	Sysctl      []string

	StopSignal  string
	StopTimeout *int // seconds
	Label       []string
	LabelFile   []string
	LogDriver   string   // "", json-file, journald, none
	LogOpt      []string // KEY=VALUE
	Annotation  []string

	Memory     string
	MemorySwap string
	CPUs       string
	CPUShares  uint64
	CpusetCPUs string
	PidsLimit  int64

	MemoryReservation string
	CPUPeriod         int64 // µs
	CPUQuota          int64
	CpusetMems        string

	BlkioWeight       uint64
	BlkioWeightDevice []string // DEVICE:WEIGHT
	DeviceReadBps     []string // DEVICE:BYTES, with a unit
	DeviceWriteBps    []string
	DeviceReadIOps    []string // DEVICE:REQUESTS
	DeviceWriteIOps   []string
	Hugetlb           []string // PAGESIZE:BYTES
	CgroupConf        []string // FILE=VALUE
	CgroupParent      string
	Cgroups           string // "", enabled, split, disabled
	CgroupFallback    bool

	Health HealthOptions
	Unit   UnitOptions

	Restart string // no, on-failure[:N], always, unless-stopped

	Rootfs   string // --rootfs DIR, instead of an image
	Platform string
	Pull     string // missing, always, never
	Name     string
	CIDFile  string
	Detach   bool
	Remove   bool
	Replace  bool // podman's: what has Name now is removed first
}

// Input is everything Build needs besides the flags.
type Input struct {
	ID      string
	Options *Options
	Image   *record.Image   // nil with --rootfs
	Dir     string          // the container's folder: hosts, hostname, resolv.conf stand in it
	Mapping *userns.Mapping // of U0
	Environ []string        // the caller's, for -e KEY

	Sandbox *Sandbox       // the one that is joined, nil for one of its own
	From    []From         // of --volumes-from, in their order
	UsedIDs []userns.IDMap // of other containers with --userns=auto: kept out of
}

// Sandbox is what Build has to know of the container whose namespaces are joined
// (see Options.Joins): a container lives in the user namespace of that sandbox.
type Sandbox struct {
	UIDMap   []userns.IDMap
	GIDMap   []userns.IDMap
	Hostname string
}

// NamespaceMode says where one namespace of the container comes from.
type NamespaceMode struct {
	Kind      NamespaceKind
	Container string // of KindContainer: the name or id as typed
}

// NamespaceKind is a closed choice.
type NamespaceKind string

// The kinds of NamespaceMode.
const (
	KindPrivate   NamespaceKind = "private"
	KindHost      NamespaceKind = "host"
	KindContainer NamespaceKind = "container"
	KindNone      NamespaceKind = "none"        // network only: a namespace with lo alone
	KindSlirp     NamespaceKind = "slirp4netns" // network only: a stack of its own, as is pasta
	KindPasta     NamespaceKind = "pasta"
	KindBridge    NamespaceKind = "bridge" // network only: Plan.Networks says which
)

// Kept tells whether the network is one that the keeper attaches the container to.
func (k NamespaceKind) Kept() bool { return k == KindSlirp || k == KindPasta || k == KindBridge }

// Volume is a named or anonymous volume that the container uses. The engine
// makes its folder before the start; init copies the image's content into a
// fresh one (Docker's copy-up).
type Volume struct {
	Name        string // "" for an anonymous one: the engine names it
	Anonymous   bool
	Destination string
	ReadOnly    bool
	NoCopy      bool
	Subpath     string
	Labels      map[string]string // for a volume that is made by this start
	MountIndex  int               // of its entry in Spec.Mounts, whose Source the engine fills in
}

// Plan is what Build decided: the runtime-spec and what it has no words for.
//
// In Spec:
//   - Process.User.Username is the whole text "user[:group]" for init to resolve
//     in the rootfs by the rules of moby/sys/user.GetExecUser: "" is root, and a
//     number need not stand in the image's passwd. UID and GID are set as far as
//     they are numbers, for other runtimes.
//   - Process.Env has no HOME unless HomeSet: init adds the one of the image's
//     passwd, "/" where there is none.
//   - Mounts are in the order in which they are made, with the options of
//     mount(8) and runtime-spec's "rro" (read-only with all submounts, beside
//     "ro" for who does not know it). A bind whose
//     Source is "" is completed by the engine: Volumes and ShmMount say which.
//   - Linux.Namespaces lists the new ones; joined ones are in Network, PID, IPC, UTS.
//   - Linux.Seccomp stays nil, see Seccomp.
type Plan struct {
	Spec *specs.Spec

	Network  NamespaceMode
	Networks []record.NetworkUse // of KindBridge
	Unnamed  bool                // nobody asked for this kind of network
	PID      NamespaceMode
	IPC      NamespaceMode
	UTS      NamespaceMode
	UIDMap   []userns.IDMap // of the sandbox, inside U0
	GIDMap   []userns.IDMap
	Shifted  bool // the map is not the identity: ids on disk differ from ids inside
	GroupAdd []string
	Volumes  []Volume
	Ports    []slirp.Port
	Exposed  []string  // --expose: "80/tcp"
	DNS      slirp.DNS // --dns, --dns-search, --dns-option, --add-host: what the files in Dir are made from
	HostLoop bool      // the network may reach the host's loopback
	IPv6     bool      // the network has IPv6 too

	PastaOptions []string // of KindPasta, as pasta has them

	Resources  cgroup.Resources
	Place      cgroup.Place // of its cgroup
	Seccomp    SeccompProfile
	Restart    record.RestartPolicy
	StopSignal int
	StopAfter  time.Duration // negative: wait for ever
	HomeSet    bool          // the image or the user gave HOME
	Overlay    []int         // of :O, indexes in Spec.Mounts: see start.Binds
	Chown      []int         // of :U
	ShmMount   int           // with another container's IPC: index in Spec.Mounts of the /dev/shm whose Source the engine fills in; else -1
	Labels     map[string]string
	Log        record.LogConfig    // without its Tag and Image, which need the container's name
	Health     *record.Healthcheck // nil: neither the image nor the user names one
	Init       bool
	Privileged bool
	Systemd    string   // "", SystemdFound or SystemdAlways
	Warnings   []string // each printed once on stderr
}

// SeccompProfile names the filter to load.
type SeccompProfile struct {
	Unconfined bool
	Path       string   // absolute, of a profile in Docker's JSON; "" is the default one
	Caps       []string // capabilities the profile's conditions look at
}
