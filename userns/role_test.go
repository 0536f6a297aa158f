package userns

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	_ "github.com/rc-containers/rc/userns/nsjoin" // the test binary starts itself
)

// The test binary is also the program that Start starts: the variable names
// which of these roles it plays there.
const roleVariable = "RC_USERNS_ROLE"

var roles = map[string]func() error{
	"show":    roleShow,
	"hold":    roleHold,
	"exit":    func() error { os.Exit(3); return nil },
	"attack":  roleAttack,
	"watch":   roleWatch,
	"resolve": roleResolve,
	"keyring": roleKeyring,
	"stand":   func() error { fmt.Print("stood aside"); return nil },
}

// A role changes its thread: the main goroutine stays on the first one, of which
// /proc/self/status tells.
func init() {
	if os.Getenv(roleVariable) != "" {
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	name, playing := os.LookupEnv(roleVariable)
	if !playing {
		os.Exit(m.Run())
	}
	role := roles[name]
	if role == nil {
		fmt.Fprintln(os.Stderr, "no role", name)
		os.Exit(2)
	}
	if err := role(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// seen is what a process says of itself.
type seen struct {
	UID, GID, PID, SID int
	UIDMap, GIDMap     []IDMap
	SetgroupsDenied    bool
	CapEff             string
	Dumpable           int
	Namespaces         map[string]string
	Cgroup             string
	Open, Inheritable  []string // descriptors above 2 and what they are; those without close-on-exec
}

// see collects it. It runs with the host's /proc still mounted: /proc/self is
// then looked up from the host's PID namespace and still finds the caller.
func see() (*seen, error) {
	s := &seen{UID: os.Getuid(), GID: os.Getgid(), PID: os.Getpid(), Namespaces: map[string]string{}}
	s.listDescriptors()
	m, err := ReadMapping(0)
	if err != nil {
		return nil, err
	}
	s.UIDMap, s.GIDMap, s.SetgroupsDenied = m.UID, m.GID, m.SingleID
	s.SID, _ = unix.Getsid(0)
	s.Dumpable, _ = unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil, err
	}
	_, after, _ := strings.Cut(string(status), "CapEff:\t")
	s.CapEff, _, _ = strings.Cut(after, "\n")
	cgroup, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	s.Cgroup = string(cgroup)
	for _, kind := range []int{unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNS, unix.CLONE_NEWNET,
		unix.CLONE_NEWIPC, unix.CLONE_NEWUTS, unix.CLONE_NEWCGROUP} {
		name := linux.NamespaceName(kind)
		s.Namespaces[name], _ = os.Readlink("/proc/self/ns/" + name)
	}
	return s, nil
}

func (s *seen) listDescriptors() {
	for fd := 3; fd < 64; fd++ {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil {
			continue
		}
		link, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
		if strings.HasPrefix(link, "anon_inode:[event") || strings.HasPrefix(link, "/sys/fs/cgroup/cpu") {
			continue // Go's poller, and what its GOMAXPROCS follows
		}
		s.Open = append(s.Open, strconv.Itoa(fd)+" "+link)
		if flags&unix.FD_CLOEXEC == 0 {
			s.Inheritable = append(s.Inheritable, link)
		}
	}
}

func roleShow() error {
	s, err := see()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(s)
}

// roleResolve resolves under no_new_privs.
func roleResolve() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	m, err := Resolve()
	if err == nil {
		fmt.Println("single", m.SingleID, m.Why)
	}
	return err
}

// roleKeyring joins a keyring charged to id 5 and says whose it is.
func roleKeyring() error {
	if err := linux.JoinSessionKeyring(5); err != nil {
		return err
	}
	text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, unix.KEY_SPEC_SESSION_KEYRING)
	if err != nil {
		return err
	}
	r, e, saved := unix.Getresuid()
	fmt.Println(text, r, e, saved)
	return nil
}

// roleHold stays until its standard input ends.
func roleHold() error {
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// program is this test binary in a role, its output going to the returned file.
func program(t testing.TB, role string) (*Program, *os.File) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return &Program{Path: "/proc/self/exe", Env: []string{roleVariable + "=" + role, "SECRET=swordfish"}, Stdout: out, Stderr: out}, out
}

// run starts p, waits, and gives its output; it must exit with 0.
func run(t testing.TB, p *Program, out *os.File) string {
	t.Helper()
	process, err := Start(p)
	if err != nil {
		t.Fatal(err)
	}
	defer process.Close()
	status, err := process.Wait()
	data, _ := io.ReadAll(io.NewSectionReader(out, 0, 1<<20))
	if err != nil || !status.Exited() || status.ExitStatus() != 0 {
		t.Fatalf("status %#x, %v: %s", int(status), err, data)
	}
	return string(data)
}

// show runs the plan and gives what the process saw.
func show(t testing.TB, change func(p *Program)) *seen {
	t.Helper()
	p, out := program(t, "show")
	change(p)
	var s seen
	text := run(t, p, out)
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return &s
}

// holder starts p in the role hold; it ends with the test.
func holder(t testing.TB, change func(p *Program)) *Process {
	t.Helper()
	p, _ := program(t, "hold")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p.Stdin = r
	change(p)
	process, err := Start(p)
	if err != nil {
		w.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if status, err := process.Wait(); err != nil || status.ExitStatus() != 0 {
			t.Errorf("holder: status %#x, %v", int(status), err)
		}
		process.Close()
	})
	return process
}

// namespace opens a namespace of pid until the test ends.
func namespace(t testing.TB, pid, kind int) *os.File {
	t.Helper()
	f, err := linux.OpenNamespace(pid, kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// needUserNS skips where this host refuses user namespaces to the caller.
func needUserNS(t testing.TB) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{roleVariable + "=stand"}
	cmd.SysProcAttr = &unix.SysProcAttr{Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWNET}
	if err := cmd.Run(); err != nil {
		t.Skipf("needs user namespaces: %v", err)
	}
}

// needRanges skips where the caller has no subordinate IDs to map.
func needRanges(t testing.TB) *Mapping {
	t.Helper()
	needUserNS(t)
	m, err := Resolve()
	if err != nil {
		t.Fatal(err)
	}
	if m.SingleID && os.Getuid() == 0 && onHost(t) {
		lines := []IDMap{{0, 0, 1}, {1, 100000, 65536}} // root may map any
		return &Mapping{UID: lines, GID: lines}
	}
	if m.SingleID {
		t.Skipf("needs subordinate IDs: %v", m.Why)
	}
	return m
}

// onHost says whether every id exists here, as outside of all containers.
func onHost(t testing.TB) bool {
	t.Helper()
	m, err := ReadMapping(0)
	if err != nil {
		t.Fatal(err)
	}
	return Count(m.UID) == 1<<32-1
}

// u0 starts a holder of a namespace like the keeper's and opens it.
func u0(t testing.TB, m *Mapping) *os.File {
	t.Helper()
	p := holder(t, func(p *Program) {
		p.Plan = Plan{Unshare: unix.CLONE_NEWUSER, BecomeRoot: true}
		p.MapIDs = m
	})
	return namespace(t, p.PID, unix.CLONE_NEWUSER)
}

func me(t testing.TB) *user.User {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func number(t testing.TB, text string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}
