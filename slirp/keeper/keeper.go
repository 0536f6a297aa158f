package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/version"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

const (
	idleLimit    = 5 * time.Second  // without a connection, then it leaves
	starterLimit = 10 * time.Second // for rc to say where
	maxConns     = 4096             // more containers than one user's keeper can have descriptors for
)

// keeper is the state of the one process.
type keeper struct {
	runtime  string // absolute path of the runtime folder
	self     os.FileInfo
	listener *stage.Listener
	mapping  *userns.Mapping
	networks *networks
	commons  *commons
	stand    *stand

	mu      sync.Mutex
	conns   map[*stage.Conn]bool
	idle    *time.Timer
	leaving bool
	serving sync.WaitGroup
}

// serveStarter reads where to listen, listens, says so, and serves.
func serveStarter(place Place) error {
	// The execution of /proc/self/exe named it "exe". ps -C shall find it.
	name, _ := unix.BytePtrFromString("rc-net")
	_ = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(name)), 0, 0, 0)
	// A heap of 0.8 MB before the first collection, not of 4: it lives as long as
	// any container, and works for milliseconds.
	debug.SetGCPercent(20)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return err
	}
	conn, lock := stage.NewConn(connFD), os.NewFile(lockFD, slirp.LockName)
	unix.CloseOnExec(connFD)
	unix.CloseOnExec(lockFD)
	_ = conn.SetDeadline(time.Now().Add(starterLimit))
	var s slirp.Start
	if _, err := conn.Recv(&s); err != nil {
		return err
	}
	k, err := open(&s, place)
	if err != nil {
		_ = conn.Send(&slirp.Reply{Failed: stage.Fail(err)})
		return err
	}
	// rc has the lock open too: it is free when both of us are done with it.
	_ = lock.Close()
	// A starter that is gone is no reason to go: another may be connected already.
	_ = conn.Send(&slirp.Reply{Ready: true})
	_ = conn.Close()
	return k.run()
}

// open checks what the starter said and binds the socket. The starter's lock is
// held: nobody else is bound there.
func open(s *slirp.Start, place Place) (*keeper, error) {
	const op = "start the keeper of the network"
	if s.Version != version.Version {
		return nil, hint.Newf(op, "install the programs of rc together", "rc is version %q, rc-net is %q", s.Version, version.Version)
	}
	if err := checkRuntime(s.Runtime); err != nil {
		return nil, hint.New(op, err, "")
	}
	// A folder without room for the words is no reason to do without a network.
	_ = keepWords(s.Runtime)
	mapping, err := userns.ReadMapping(0)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	networks, err := newNetworks(s.Runtime, s.Path)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	path := filepath.Join(s.Runtime, slirp.SocketName)
	listener, err := stage.Listen(path)
	if err != nil {
		return nil, hint.New(op, err, "")
	}
	self, err := os.Lstat(path)
	if err != nil {
		_ = listener.Close()
		return nil, hint.New(op, err, "")
	}
	return &keeper{runtime: s.Runtime, self: self, listener: listener, mapping: mapping,
		networks: networks, commons: newCommons(networks, inheritedN0()), stand: &stand{place: place, uid: outerUID(mapping)}, conns: map[*stage.Conn]bool{}}, nil
}

// outerUID is the number that the user has outside of U0, where it is 0.
func outerUID(m *userns.Mapping) int {
	for _, e := range m.UID {
		if e.Inside == 0 {
			return int(e.Outside)
		}
	}
	return os.Getuid()
}

// checkRuntime: the folder is the user's and closed to everybody else.
func checkRuntime(dir string) error {
	var st unix.Stat_t
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("runtime folder %q is not absolute", dir)
	}
	if err := unix.Lstat(dir, &st); err != nil {
		return &os.PathError{Op: "lstat", Path: dir, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Uid != 0 || st.Mode&0o077 != 0 {
		return fmt.Errorf("runtime folder %s (mode %o, owner %d) is not a folder of the user's alone", dir, st.Mode, st.Uid)
	}
	return nil
}

// run serves until SIGTERM or until nobody has been connected for idleLimit.
func (k *keeper) run() error {
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM, unix.SIGINT)
	idle := make(chan struct{}, 1)
	k.mu.Lock()
	k.idle = time.AfterFunc(idleLimit, func() { idle <- struct{}{} })
	k.mu.Unlock()
	go func() {
		// Before the first greeting is answered, and before the tools of networks are
		// started: they shall stand where we do.
		_, _ = k.stand.where()
		k.commons.inherit() // before anybody could make another
		go k.accept()
		k.networks.warm()
	}()
	for {
		select {
		case <-end:
			k.hangUp()
			return k.leave(true)
		case <-idle:
			if k.leave(false) == nil {
				return nil
			}
			k.idle.Reset(idleLimit / 5)
		}
	}
}

func (k *keeper) accept() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			if k.gone() {
				return
			}
			time.Sleep(20 * time.Millisecond) // EMFILE, ENOMEM: let somebody go first
			continue
		}
		if !k.admit(c) {
			_ = c.Close()
			continue
		}
		go func() {
			defer k.dismiss(c)
			(&session{keeper: k, conn: c}).serve()
		}()
	}
}

func (k *keeper) gone() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.leaving
}

// admit counts a connection in; false while leaving, or when there are too many.
func (k *keeper) admit(c *stage.Conn) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.leaving || len(k.conns) >= maxConns {
		return false
	}
	k.idle.Stop()
	k.conns[c] = true
	k.serving.Add(1)
	return true
}

func (k *keeper) dismiss(c *stage.Conn) {
	_ = c.Close()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, c)
	if len(k.conns) == 0 {
		k.idle.Reset(k.idleLimit())
	}
	k.serving.Done()
}

// hangUp ends every connection, and waits until what they attached is gone.
func (k *keeper) hangUp() {
	k.mu.Lock()
	for c := range k.conns {
		_ = c.Close()
	}
	k.mu.Unlock()
	done := make(chan struct{})
	go func() { k.serving.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
	}
}
