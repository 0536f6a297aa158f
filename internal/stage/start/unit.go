package start

import "time"

// Unit is what a service manager gave one start of a container: the shim's part of
// it. Descriptors travel under these names:
//
//	notify     datagrams for the manager go here: its socket, or, while an rc is
//	           attached, that rc, which is the process that the manager believes
//	listen-N   Sockets[N]
//
// It belongs to the start that it came with and to the restarts by policy of that.
type Unit struct {
	Notify   string        // mode of --sdnotify; "" where nobody is to be told
	Watchdog time.Duration // a sign of life is due each time; 0 for none
	Sockets  []Socket
}

// Socket is a descriptor of LISTEN_FDS for the payload (sd_listen_fds(3)).
type Socket struct {
	Name     string
	Nonblock bool // O_NONBLOCK as the manager set it: it is lost on the way
}

// The modes of --sdnotify.
const (
	NotifyConmon    = "conmon"    // ready when the payload runs
	NotifyContainer = "container" // when the payload says so
	NotifyHealthy   = "healthy"   // when its health check says so
	NotifyIgnore    = "ignore"
)
