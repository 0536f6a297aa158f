package boot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
)

// status reads a line of this thread's own status: credentials belong to a thread.
func status(t *testing.T, key string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/status")
	must(t, err)
	_, after, found := strings.Cut(string(text), "\n"+key+":\t")
	if !found {
		t.Fatalf("no %s in the status", key)
	}
	value, _, _ := strings.Cut(after, "\n")
	return strings.TrimSpace(value)
}

func wantStatus(t *testing.T, want map[string]string) {
	t.Helper()
	for key, value := range want {
		if got := status(t, key); got != value {
			t.Errorf("%s is %q, want %q", key, got, value)
		}
	}
}

func hex(names ...string) string {
	mask, _ := capMask(names)
	return fmt.Sprintf("%016x", mask)
}

// A user other than root gets the ids, the groups and no capability; what is
// dropped from the bounding set never comes back.
func TestBecomeAUser(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	b := newBox()
	kept := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID"}
	b.cfg.Spec.Process.Capabilities.Bounding = kept
	b.who = identity{uid: 33, gid: 44, groups: []int{45, 44, 5, 45}}
	must(t, b.dropBounding())
	must(t, b.become())
	wantStatus(t, map[string]string{"Uid": "33\t33\t33\t33", "Gid": "44\t44\t44\t44", "Groups": "5 44 45", "CapEff": hex(), "CapPrm": hex(), "CapInh": hex(),
		"CapAmb": hex(), "CapBnd": hex(kept...)})
	if err := unix.Setresuid(0, 0, 0); err == nil {
		t.Error("became root again")
	}
	wantErr(t, unix.Mount("x", "/mnt", "tmpfs", 0, ""), unix.EPERM, "")
}

func TestBecomeRoot(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	b := newBox()
	c := b.cfg.Spec.Process.Capabilities
	c.Bounding = []string{"CAP_CHOWN", "CAP_SETPCAP", "CAP_NET_RAW", "CAP_CHECKPOINT_RESTORE"}
	c.Effective, c.Permitted = c.Bounding, c.Bounding
	must(t, b.dropBounding())
	must(t, b.become())
	wantStatus(t, map[string]string{"Uid": "0\t0\t0\t0", "Gid": "0\t0\t0\t0", "Groups": "0", "CapEff": hex(c.Bounding...), "CapPrm": hex(c.Bounding...), "CapBnd": hex(c.Bounding...), "CapInh": hex()})
}

// Ambient capabilities survive the change of user: that is what they are for.
func TestAmbient(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	b := newBox()
	list := []string{"CAP_NET_BIND_SERVICE"}
	c := b.cfg.Spec.Process.Capabilities
	c.Bounding, c.Permitted, c.Effective, c.Inheritable, c.Ambient = list, list, list, list, list
	b.who = identity{uid: 1000, gid: 1000}
	must(t, b.dropBounding())
	must(t, b.become())
	wantStatus(t, map[string]string{"CapAmb": hex(list...), "CapEff": hex(list...), "Uid": "1000\t1000\t1000\t1000"})
}

func TestBecomeRefusals(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	b := newBox()
	b.who = identity{groups: []int{4_000_000_000}}
	wantErr(t, b.become(), unix.EINVAL, "an id is not mapped")
	b.who = identity{gid: 0, uid: 3_999_999_999}
	wantErr(t, b.become(), unix.EINVAL, "become uid 3999999999")
	b.who = identity{}
	b.cfg.Spec.Process.Capabilities.Effective = []string{"CAP_CHOWN"} // not permitted
	wantErr(t, b.become(), unix.EPERM, "set capabilities")
	bad := []string{"CAP_NONE"}
	for _, c := range []specs.LinuxCapabilities{{Effective: bad}, {Permitted: bad}, {Inheritable: bad}, {Ambient: bad}} {
		b.cfg.Spec.Process.Capabilities = &c
		wantErr(t, b.setCaps(), nil, `unknown capability "CAP_NONE"`)
	}
	b.cfg.Spec.Process.Capabilities = &specs.LinuxCapabilities{Bounding: bad}
	wantErr(t, b.dropBounding(), nil, `unknown capability "CAP_NONE"`)
}

// With one mapped id the kernel forbids setgroups: nothing to do, and asking for
// a group says why not.
func TestGroupsWithASingleID(t *testing.T) {
	if !again(t, singleID...) {
		return
	}
	b := newBox()
	b.who.groups = []int{1, 2, 3} // those of the image's root
	must(t, b.setGroups())
	b.cfg.Inside.Groups = []string{"video"}
	wantErr(t, b.setGroups(), nil, "--add-subgids")
}

func TestLimits(t *testing.T) {
	if !again(t) {
		return
	}
	b := newBox()
	b.cfg.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE", Soft: 0, Hard: 0}}
	must(t, b.setLimits())
	for which, want := range map[int]unix.Rlimit{unix.RLIMIT_NOFILE: {Cur: 100, Max: 200}, unix.RLIMIT_CORE: {}} {
		var got unix.Rlimit
		must(t, unix.Getrlimit(which, &got))
		if got != want {
			t.Errorf("limit %d is %+v", which, got)
		}
	}
	b.cfg.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NONE"}}
	wantErr(t, b.setLimits(), nil, "set RLIMIT_NONE: unknown limit")
	if os.Getuid() != 0 {
		b.cfg.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 1 << 20}}
		wantErr(t, b.setLimits(), unix.EPERM, "set --ulimit RLIMIT_NOFILE=100:1048576")
	}
	b.cfg.Spec.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 5, Hard: 0}}
	wantErr(t, b.setLimits(), unix.EINVAL, "RLIMIT_CORE=5:0")
}

// program writes a BPF program as the cache holds it.
func program(t *testing.T, prog ...unix.SockFilter) *os.File {
	t.Helper()
	var text bytes.Buffer
	must(t, binary.Write(&text, binary.NativeEndian, prog))
	return fileOf(t, text.Bytes())
}

func fileOf(t *testing.T, text []byte) *os.File {
	t.Helper()
	path := t.TempDir() + "/f"
	must(t, os.WriteFile(path, text, 0o600))
	f, err := os.Open(path)
	must(t, err)
	return f
}

// give returns a value for every call but one.
func give(nr int, value uint32) []unix.SockFilter {
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(nr), Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: value},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
}

func TestSeccomp(t *testing.T) {
	if !again(t) {
		return
	}
	b := newBox()
	must(t, b.loadSeccomp()) // unconfined
	b.cfg.Inside.Seccomp = true
	wantErr(t, b.loadSeccomp(), nil, "no filter came")
	// A cache that lost its bytes in a power cut must not mean "no filter".
	for name, text := range map[string][]byte{"empty": nil, "a part": make([]byte, 7), "too long": make([]byte, 8*4097)} {
		b.files["seccomp"] = fileOf(t, text)
		wantErr(t, b.loadSeccomp(), nil, "load the seccomp filter")
		if t.Failed() {
			t.Fatal(name)
		}
	}
	must(t, noNewPrivs())
	b.files["seccomp"] = fileOf(t, make([]byte, 16)) // no return
	wantErr(t, b.loadSeccomp(), unix.EINVAL, "load the seccomp filter")
	b.files["seccomp"] = program(t, give(unix.SYS_GETPPID, unix.SECCOMP_RET_ERRNO|uint32(unix.EXDEV))...)
	must(t, b.loadSeccomp())
	if _, _, errno := unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); errno != unix.EXDEV {
		t.Errorf("the filter does not act: %v", errno)
	}
	wantStatus(t, map[string]string{"NoNewPrivs": "1", "Seccomp": "2"})
}

// The payload's descriptors: /dev/null for stdin without -i, pipes that belong
// to its user, so that /dev/stdout can be opened anew.
func TestConnectStreams(t *testing.T) {
	if !again(t, manyIDs...) {
		return
	}
	var p [2]int
	must(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
	must(t, unix.Dup3(p[1], 2, 0))
	b := newBox()
	b.who = identity{uid: 33, gid: 44}
	must(t, b.connectStreams())
	var in, null, errs unix.Stat_t
	must(t, unix.Fstat(0, &in))
	must(t, unix.Stat("/dev/null", &null))
	must(t, unix.Fstat(2, &errs))
	if in.Rdev != null.Rdev || in.Mode&unix.S_IFMT != unix.S_IFCHR {
		t.Error("stdin is not /dev/null")
	}
	if in.Uid == 33 {
		t.Error("the host's /dev/null changed hands")
	}
	if errs.Uid != 33 {
		t.Errorf("stderr belongs to %d", errs.Uid)
	}
	flags, err := unix.FcntlInt(0, unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		t.Errorf("stdin would be closed by the payload's execve: %#x %v", flags, err)
	}
}

// reaped runs sh -c script as --init does and returns its exit code.
func reaped(t *testing.T, script string) (int, error) {
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer ours.Close()
	b := newBox()
	b.exe, b.cfg.Spec.Process.Args, b.cfg.Spec.Process.Env = "/bin/sh", []string{"sh", "-c", script}, []string{"PATH=/bin:/usr/bin"}
	return b.reap(theirs)
}

func TestReap(t *testing.T) {
	if !again(t) {
		return
	}
	must(t, unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)) // as PID 1 is
	for script, want := range map[string]int{
		"exit 0": 0, "exit 7": 7, "exit 300": 44, "kill -KILL $$": 137, "kill -TERM $$": 143, "kill -SEGV $$": 139,
		"(sleep 0.2; exit 9) & exit 3":   3,   // an orphan outlives it
		"(exit 5) & (exit 6) & wait; :":  0,   // orphans that end before it
		"kill -USR1 $PPID; sleep 0.3; :": 138, // what PID 1 gets, the payload gets
	} {
		if got, err := reaped(t, script); err != nil || got != want {
			t.Errorf("%q: %d %v, want %d", script, got, err, want)
		}
	}
}

// A command that cannot be executed is told like without --init, and the shim is
// not told that it runs.
func TestReapRefusal(t *testing.T) {
	ours, theirs, err := stage.Pair()
	must(t, err)
	defer theirs.Close()
	b := newBox()
	b.exe = fileOf(t, []byte("no program")).Name()
	must(t, os.Chmod(b.exe, 0o755))
	_, err = b.reap(theirs)
	if hint.ExitCode(err) != 126 || !errors.Is(err, unix.ENOEXEC) {
		t.Errorf("%v", err)
	}
	must(t, ours.SetDeadline(time.Now().Add(50*time.Millisecond)))
	if _, err := ours.Recv(new(int)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the conversation ended: %v", err)
	}
}
