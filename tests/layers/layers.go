// Package layers holds the table of who may import whom. Its test reads
// `go list` and fails on anything else, so the table is the architecture.
package layers

// module is the prefix of our own packages.
const module = "github.com/rc-containers/rc/"

// leaves may be imported by everybody and import only each other.
var leaves = []string{"internal/hint", "internal/linux", "internal/atomicfile", "internal/unwind", "internal/version", "internal/lazyjson", "internal/trace"}

// allowed lists, for each package of ours, the packages of ours that it may
// import besides the leaves. A package that is not listed here is an error too:
// a new one must find its place.
var allowed = map[string][]string{
	"internal/host":  {},
	"internal/stage": {},
	// The vocabularies of the two conversations: between rc, shim and init at a
	// start, and between later commands and the shim.
	"internal/stage/start":   {"internal/stage", "internal/record", "cgroup", "fuse", "slirp", "userns"},
	"internal/stage/control": {"internal/stage", "internal/stage/start", "internal/record", "slirp", "userns"},
	// The way into Go: nothing at all, not even Go's own packages.
	"internal/patient": {},
	// What a service manager is told, and told us.
	"internal/sdnotify": {},

	// Drivers know the host and the leaves, never each other; userns is below
	// them all, because each starts its helpers there.
	"userns":        {"internal/host", "internal/stage"},
	"userns/nsjoin": {"userns/entry"},
	"userns/park":   {"userns/entry"},
	"userns/entry":  {"internal/patient"},
	"fuse":          {"internal/host", "userns"},
	"fuse/layers":   {"internal/host", "internal/record"},
	"slirp":         {"internal/host", "internal/stage", "userns"},
	"slirp/names":   {"slirp"}, // for the keeper only, as the next
	"slirp/forward": {},        // knows sockets and namespaces, and no network of ours
	"slirp/bridge":  {"internal/host", "slirp"},
	"slirp/keeper":  {"internal/host", "internal/stage", "slirp", "slirp/bridge", "slirp/forward", "slirp/names", "userns"},
	"cgroup":        {"internal/host"},
	"cgroup/scope":  {"cgroup"}, // links a D-Bus library: for the keeper only

	"internal/record":  {"slirp", "userns"}, // for the published ports and the ids of a container
	"internal/logs":    {"internal/record"},
	"internal/seccomp": {},
	"internal/quadlet": {}, // systemd waits for it
	"internal/spec":    {"internal/record", "cgroup", "slirp", "userns"},
	"internal/boot":    {"internal/spec", "internal/stage", "internal/stage/start"},
	"internal/shim": {"internal/boot", "internal/record", "internal/sdnotify", "internal/stage", "internal/stage/start", "internal/stage/control", "internal/logs",
		"cgroup", "fuse", "slirp", "userns", "userns/park"},
	"internal/engine": {"internal/record", "internal/sdnotify", "internal/spec", "internal/host", "internal/stage", "internal/stage/start", "internal/stage/control",
		"internal/logs", "cgroup", "fuse", "slirp", "userns"},
	// cp, commit, diff and export open a container's files.
	"internal/transfer": {"fuse", "fuse/layers", "internal/record", "internal/stage", "internal/stage/start", "userns"},

	"cmd/rc":       {"internal/engine", "internal/host", "internal/logs", "internal/patient", "internal/quadlet", "internal/record", "internal/sdnotify", "internal/spec", "internal/stage/control", "cgroup", "slirp"},
	"cmd/rc-init":  {"internal/boot", "internal/shim", "internal/stage", "internal/stage/start", "userns/nsjoin"},
	"cmd/rc-net":   {"cgroup/scope", "slirp/keeper", "userns/nsjoin"},
	"cmd/rc-image": {"internal/record", "internal/seccomp", "internal/stage", "internal/stage/start", "internal/transfer", "fuse", "userns/nsjoin"},
}

// forbidden lists, for each program, what must not be linked into it, by prefix
// of the import path ("=" before an exact one). Every package initialises itself
// at every start: that time is the reason (DESIGN.md, section 2). net itself is
// in rc, because pflag, which the project was asked to use, has flags of type IP.
var forbidden = map[string][]string{
	"cmd/rc": {"net/http", "net/url", "=os/user", "text/template", "html/template", "encoding/xml", "crypto/tls", "github.com/containers/",
		"runtime/cgo", "github.com/rootless-containers/", "google.golang.org/", "github.com/sirupsen/"},
	"cmd/rc-init": {"=net", "net/http", "=os/user", "text/template", "github.com/containers/", "github.com/rootless-containers/",
		"google.golang.org/", "github.com/sirupsen/"},
	"cmd/rc-net": {"github.com/containers/"},
}

// onlyIn says which program alone may link what begins so.
var onlyIn = map[string]string{
	"github.com/containers/":     "cmd/rc-image",
	"github.com/godbus/":         "cmd/rc-net",
	"github.com/google/nftables": "cmd/rc-net",
	"github.com/mdlayher/":       "cmd/rc-net",
}
