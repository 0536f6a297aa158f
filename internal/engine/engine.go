// Package engine holds the verbs of rc, composed from the drivers, the records
// and the conversation with the shim. The command line, and later every API,
// calls only this.
package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/sdnotify"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/internal/trace"
	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

// Engine works on one state root, as one user.
type Engine struct {
	Store    *record.Store
	Driver   string // forced storage driver, "" to find one
	Warn     func(string)
	programs string // folder of rc-init, rc-net and rc-image

	Unit *sdnotify.Environment // of tests; nil: sdnotify.Here

	mu      sync.Mutex
	home    *home
	greeted *slirp.Client   // by greetAhead
	looked  *look           // by lookAhead
	revive  map[string]bool // containers to start by their policy
}

// home is U0 as one command holds it: the connection keeps the keeper from
// leaving.
type home struct {
	keeper  *slirp.Client
	userns  *os.File
	mapping userns.Mapping

	pid     int    // the keeper's
	group   string // the cgroup in which it stands, for containers; "" with noGroup
	noGroup error

	namespaces slirp.Namespaces // of the host, in which it lives; with a group only
	far        bool             // the kernel lets only the keeper start somebody there
}

func (h *home) close() {
	h.keeper.Close()
	_ = h.userns.Close()
}

// Open prepares the state root; see record.DefaultRoot.
func Open(rootFlag string) (*Engine, error) {
	defer trace.Begin("open the state root").End()
	root, err := record.DefaultRoot(rootFlag)
	if err != nil {
		return nil, err
	}
	store, err := record.Open(root)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		Store:  store,
		Driver: os.Getenv("RC_STORAGE_DRIVER"),
		Warn:   func(s string) { fmt.Fprintln(os.Stderr, "rc: "+s) },
	}
	if _, err := store.Runtime(); err == nil && store.Remade() { // who needs it meets the error again
		e.recallShims()
	}
	return e, nil
}

// program finds one of rc's other programs: beside the running binary (bin/), or
// in ../libexec/rc of an installation.
func (e *Engine) program(name string) (string, error) {
	if e.programs == "" {
		exe, err := os.Executable()
		if err != nil {
			return "", hint.New("find rc's own folder", err, "")
		}
		dir := filepath.Dir(exe)
		for _, candidate := range []string{dir, filepath.Join(dir, "../libexec/rc")} {
			if unix.Access(filepath.Join(candidate, "rc-init"), unix.X_OK) == nil {
				e.programs = candidate
				break
			}
		}
	}
	path := filepath.Join(e.programs, name)
	if e.programs == "" || unix.Access(path, unix.X_OK) != nil {
		return "", hint.Newf("find the program "+name, "install all four programs together: make install", "it is not beside rc nor in ../libexec/rc")
	}
	return path, nil
}

// enter returns U0, made if need be.
func (e *Engine) enter() (*home, error) { return e.enterFor(false) }

// enterFor is enter for who is about to start a container; bridge says that it is on a
// bridge network.
func (e *Engine) enterFor(bridge bool) (*home, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.home != nil {
		return e.home, nil
	}
	h, err := e.openHome(slirp.Hello{Bridge: bridge})
	if err != nil {
		return nil, err
	}
	if h.mapping.SingleID {
		if m, err := userns.Resolve(); err == nil && m.Why != nil {
			h.mapping.Why = m.Why // `rc run` says what is lost, with this reason
		}
	}
	e.home = h
	return h, nil
}

func (e *Engine) openHome(hello slirp.Hello) (*home, error) {
	dir, err := e.Store.Runtime()
	if err != nil {
		return nil, err
	}
	last := -1
	for try := range keeperTries {
		time.Sleep(time.Duration(try*try) * 10 * time.Millisecond)
		h, err := e.greet(dir, hello)
		if err == nil {
			if path, failed := slirp.TakeCrash(dir); failed {
				e.Warn("the keeper of the network had failed, and a new one runs; the last words of the old one are in " + path)
			}
			return h, nil
		}
		if !errors.Is(err, slirp.ErrNoKeeper) {
			return nil, err
		}
		pid, listens := slirp.KeeperPID(dir)
		if try > 1 && listens && pid == last {
			who := fmt.Sprintf("process %d", pid)
			if pid == 0 { // unix(7), SO_PEERCRED: no number of this pid namespace's
				who = "of another pid namespace"
			}
			return nil, hint.Newf("reach the keeper of the user's namespaces",
				"run the command where the others were; or give it a state root and a runtime folder of its own: --root and XDG_RUNTIME_DIR",
				"the keeper in %s (%s) belongs to another user namespace than this command, and hangs up", dir, who)
		}
		if last = pid; !listens {
			last = -1
		}
	}
	return nil, hint.Newf("reach the keeper of the user's namespaces", "see who ends it: ps -C rc-net; `rc info` shows more", "%d of them ended as soon as they were asked", keeperTries)
}

// keeperTries bounds the search for a keeper that answers: one may be leaving just as
// we knock, or be killed.
const keeperTries = 6

// knock is openHome for a keeper that lives; slirp.ErrNoKeeper when there is none.
func knock(dir string) (*home, error) {
	client, err := slirp.Dial(dir)
	if err != nil {
		return nil, err
	}
	if err := client.Say(slirp.Hello{}); err != nil {
		client.Close()
		return nil, err
	}
	return welcome(client)
}

// keeperProgram is what a shim starts when the keeper has ended.
func (e *Engine) keeperProgram() start.Keeper {
	path, err := e.program("rc-net")
	if err != nil {
		return start.Keeper{} // the next rc says so
	}
	return start.Keeper{Program: path, Path: os.Getenv("PATH")}
}

// startKeeper makes U0, or goes back into it where containers outlived their
// keeper: their shims still hold it.
func (e *Engine) startKeeper(dir string) (*slirp.Client, error) {
	path, err := e.program("rc-net")
	if err != nil {
		return nil, err
	}
	mapping, err := userns.Resolve()
	if err != nil {
		return nil, err
	}
	u0, n0 := e.survivingHome()
	if u0 != nil {
		defer u0.Close()
	}
	if n0 != nil {
		defer n0.Close()
	}
	return slirp.StartKeeper(dir, &slirp.Birth{Program: path, Mapping: mapping, U0: u0, N0: n0, Path: os.Getenv("PATH")})
}

// survivingHome asks the live shims for U0, and for N0, which those of containers on
// bridge networks have. Descriptors, not pids, come back: there is nothing to be
// recycled.
func (e *Engine) survivingHome() (u0, n0 *os.File) {
	ids, err := e.Store.ContainerIDs()
	if err != nil {
		return nil, nil
	}
	for _, id := range ids {
		if alive, _ := e.Store.Alive(id); !alive {
			continue
		}
		// To ask costs a shim that sleeps 6 ms: once U0 is known, only those who may
		// have N0.
		if c, err := e.Store.LoadContainer(id); u0 != nil && (err != nil || !mayBridge(c.Network)) {
			continue
		}
		ns, err := e.borrow(id)
		if err != nil {
			continue
		}
		if u0 == nil {
			u0 = ns.take("u0")
		}
		n0 = ns.take("n0")
		ns.Close()
		if n0 != nil {
			break
		}
	}
	return u0, n0
}

// mayBridge tells whether a container with that network in its record can be on a
// bridge.
func mayBridge(network string) bool {
	switch spec.NamespaceKind(network) {
	case spec.KindHost, spec.KindNone, spec.KindContainer, spec.KindSlirp:
		return false
	}
	return true
}

// sandbox is another container's set of namespaces.
type sandbox struct {
	id             string
	names          []string            // the namespaces that it has to lend: user, net, ipc, …
	files          map[string]*os.File // none of one that does not run
	uidMap, gidMap []userns.IDMap
	hostname       string
}

// Close gives the descriptors back.
func (s *sandbox) Close() {
	for _, f := range s.files {
		_ = f.Close()
	}
}

// take makes one of the files the caller's; nil where it was not lent.
func (s *sandbox) take(name string) *os.File {
	f := s.files[name]
	delete(s.files, name)
	return f
}

// borrow gets the namespaces of a running container from its shim.
func (e *Engine) borrow(id string) (*sandbox, error) {
	path, err := e.Store.ControlPath(id)
	if err != nil {
		return nil, err
	}
	r, files, err := control.Ask(path, control.Request{Op: control.OpNamespaces}, askTimeout)
	if err != nil {
		return nil, err
	}
	s := &sandbox{id, r.Files, map[string]*os.File{}, r.UIDMap, r.GIDMap, r.Hostname}
	for i, name := range r.Files {
		s.files[name] = files[i]
	}
	if s.files["u0"] == nil || s.files["user"] == nil {
		s.Close()
		return nil, errors.New("the container's shim sent no user namespace")
	}
	return s, nil
}

// inHome starts one of our programs in U0 and a private copy of our mount
// namespace.
func (h *home) inHome(p *userns.Program) *userns.Program {
	p.Files = append([]*os.File{h.userns}, p.Files...)
	p.Plan.Join = append(p.Plan.Join, userns.Join{FD: 5, Type: unix.CLONE_NEWUSER})
	p.Plan.Unshare |= unix.CLONE_NEWNS
	p.Plan.BecomeRoot = true
	return p
}

// Image runs a verb of rc-image with the caller's own streams and returns its
// exit code. Verbs that touch no file system of an image stay outside U0.
func (e *Engine) Image(args []string, stdout *os.File) (int, error) {
	path, err := e.program("rc-image")
	if err != nil {
		return 0, err
	}
	p := &userns.Program{
		Path: path, Args: append([]string{"rc-image"}, args...),
		Env: replaceKey(os.Environ(), "RC_ROOT", e.Store.Root), Dir: workingDir(),
		Stdin: os.Stdin, Stdout: stdout, Stderr: os.Stderr,
	}
	if args[0] != "login" && args[0] != "logout" && !slices.Contains(args, "--help") {
		h, err := e.enter()
		if err != nil {
			return 0, err
		}
		h.inHome(p)
	}
	proc, err := userns.Start(p)
	if err != nil {
		return 0, err
	}
	return e.follow(proc)
}

// follow passes signals on to a program in our foreground and waits for it.
func (e *Engine) follow(proc *userns.Process) (int, error) {
	forwardSignals(func(sig unix.Signal) { _ = proc.Signal(sig) })
	defer forwardSignals(nil)
	ws, err := proc.Wait()
	_ = proc.Close()
	if err != nil {
		return 0, err
	}
	if ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return ws.ExitStatus(), nil
}

func replaceKey(env []string, key, value string) []string {
	env = slices.DeleteFunc(env, func(kv string) bool { return strings.HasPrefix(kv, key+"=") })
	return append(env, key+"="+value)
}

func workingDir() string {
	if dir, err := os.Getwd(); err == nil {
		return dir
	}
	return "/"
}

// Close lets the keeper go when it has nothing else to do, and starts what was
// found dead although its policy says otherwise.
func (e *Engine) Close() {
	defer trace.Begin("let go of the keeper").End()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reviveAll(e.revive)
	e.revive = nil
	if e.home != nil {
		e.home.close()
		e.home = nil
	}
	if e.greeted != nil {
		e.greeted.Close()
		e.greeted = nil
	}
}

// converse starts a role of rc-init in U0 and gives it its sealed configuration.
func (e *Engine) converse(h *home, role string, config any, files map[string]*os.File, p *userns.Program) (*stage.Conn, *userns.Process, error) {
	conn, starting, err := e.fork(h, role, p)
	if err != nil {
		return nil, nil, err
	}
	unheard := sendConfig(conn, config, files)
	if unheard != nil {
		_ = conn.Close() // which ends it
	}
	proc, err := starting.Finish()
	switch {
	case err != nil:
		_ = conn.Close()
		return nil, nil, err
	case unheard != nil:
		_, _ = proc.Wait()
		_ = proc.Close()
		return nil, nil, unheard
	}
	return conn, proc, nil
}

// fork starts a role of rc-init in U0 up to its constructor; it waits for its
// configuration.
func (e *Engine) fork(h *home, role string, p *userns.Program) (*stage.Conn, *userns.Starting, error) {
	path, err := e.program("rc-init")
	if err != nil {
		return nil, nil, err
	}
	ours, theirs, err := stage.Pair()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	p.Path, p.Conn = path, theirs.File()
	p.Args = append([]string{role}, p.Args...)
	starting, err := userns.Begin(h.inHome(p))
	if err != nil {
		_ = ours.Close()
		return nil, nil, err
	}
	return ours, starting, nil
}

func shortID(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}

func quoteList(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return strings.Join(q, ", ")
}
