package linux

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
)

func TestSealedMemfd(t *testing.T) {
	if os.Getenv(insideVariable) == "" {
		testSealed(t)
	}
	if again(t, 0, withoutVariable+"="+MemfdNoexec) {
		testSealed(t)
	}
}

func testSealed(t *testing.T) {
	f, err := SealedMemfd("config", []byte("text"))
	must(t, err)
	defer f.Close()
	for range 2 { // the offset does not matter
		if data, err := ReadSealed(f, 4); err != nil || string(data) != "text" {
			t.Errorf("%q, %v", data, err)
		}
	}
	if _, err := ReadSealed(f, 3); !errors.Is(err, unix.EFBIG) {
		t.Errorf("too long: %v", err)
	}
	if _, err := f.WriteAt([]byte("T"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("write: %v", err)
	}
	if err := f.Truncate(0); !errors.Is(err, unix.EPERM) {
		t.Errorf("truncate: %v", err)
	}
	if w, err := Reopen(f, unix.O_RDWR); err == nil {
		if _, err = w.Write([]byte("T")); !errors.Is(err, unix.EPERM) {
			t.Errorf("write through another opening: %v", err)
		}
		w.Close()
	}
}

func TestReadSealedRefusesWhatCanChange(t *testing.T) {
	fd, err := unix.MemfdCreate("open", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	must(t, err)
	open := os.NewFile(uintptr(fd), "open")
	defer open.Close()
	plain, err := os.Create(t.TempDir() + "/plain")
	must(t, err)
	defer plain.Close()
	_, err = unix.FcntlInt(open.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW|unix.F_SEAL_SHRINK)
	must(t, err)
	for _, f := range []*os.File{open, plain} {
		if _, err := ReadSealed(f, 10); !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}

func TestCloexecFrom(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // leaks, on purpose
		must(t, err)
		must(t, CloexecFrom(3))
		if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
			t.Error("not marked")
		}
		out, err := exec.Command("ls", "/proc/self/fd").Output()
		if fds := strings.Fields(string(out)); err != nil || len(fds) != 4 { // 0 1 2 and ls's own
			t.Errorf("a child has %v, %v", fds, err)
		}
		return
	}
	again(t, 0)
	again(t, 0, withoutVariable+"="+CloseRange)
}

// keyringOf is what a command sees as its session keyring.
func keyringOf(t *testing.T) int {
	t.Helper()
	id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
	if errors.Is(err, unix.ENOSYS) {
		t.Skip("needs a kernel with keyrings")
	}
	must(t, err)
	return id
}

func TestJoinSessionKeyring(t *testing.T) {
	if !again(t, 0) {
		return
	}
	before := keyringOf(t)
	_, err := unix.AddKey("user", "rc-test-secret", []byte("swordfish"), unix.KEY_SPEC_SESSION_KEYRING)
	must(t, err)
	must(t, JoinSessionKeyring(-1))
	if after := keyringOf(t); after == before {
		t.Error("still the old keyring")
	}
	if _, err := unix.KeyctlSearch(unix.KEY_SPEC_SESSION_KEYRING, "user", "rc-test-secret", 0); !errors.Is(err, unix.ENOKEY) {
		t.Errorf("the user's key is in reach: %v", err)
	}
	if os.Getuid() != 0 {
		if err := JoinSessionKeyring(12345); !errors.Is(err, unix.EPERM) {
			t.Errorf("taking on another's id: %v", err)
		}
	}
}

// As root of the initial namespace the keyring can be charged to another user,
// as in U0 to a subordinate id; afterwards the thread is what it was.
func TestKeyringIsChargedToTheOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root; package userns has the same test in U0")
	}
	if !again(t, 0) {
		return
	}
	must(t, JoinSessionKeyring(54321))
	text, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, keyringOf(t))
	if err != nil || !strings.HasPrefix(text, "keyring;54321;") {
		t.Errorf("%q, %v", text, err)
	}
	if r, e, s := unix.Getresuid(); r != 0 || e != 0 || s != 0 {
		t.Errorf("ids are %d %d %d", r, e, s)
	}
}

func TestKeyQuotaIsExplained(t *testing.T) {
	if os.Getenv(insideVariable) == "" && os.Getuid() == 0 {
		t.Skip("root's quota is a million keys")
	}
	if !again(t, unix.CLONE_NEWUSER) { // the keys go with the process
		return
	}
	for i := range 400 {
		err := JoinSessionKeyring(-1)
		if err == nil {
			if _, err := unix.AddKey("keyring", "rc-"+string(rune('a'+i)), nil, unix.KEY_SPEC_PROCESS_KEYRING); err == nil {
				continue
			}
			err = JoinSessionKeyring(-1)
			if err == nil {
				continue
			}
		}
		var h *hint.Error
		if !errors.Is(err, unix.EDQUOT) || !errors.As(err, &h) || !strings.Contains(h.Fix, "kernel.keys.maxkeys") {
			t.Errorf("%v", err)
		}
		return
	}
	t.Skip("needs a host with kernel.keys.maxkeys below 400")
}

func TestLandlockScope(t *testing.T) {
	if os.Getenv(insideVariable) == "" && LandlockABI() < 6 {
		if err := RestrictScope(ScopeAbstractSocket); !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("%v", err)
		}
		t.Skip("needs Linux 6.12 with Landlock")
	}
	if os.Getenv(insideVariable) == "" {
		// The listener must be outside the domain: in the parent.
		name := "@rc-test-" + t.TempDir()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
		must(t, unix.Listen(fd, 1))
		again(t, 0, "RC_ABSTRACT="+name)
		return
	}
	dial := func() error {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		defer unix.Close(fd)
		return unix.Connect(fd, &unix.SockaddrUnix{Name: os.Getenv("RC_ABSTRACT")})
	}
	must(t, dial())
	must(t, unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	must(t, RestrictScope(ScopeAbstractSocket))
	if err := dial(); !errors.Is(err, unix.EPERM) {
		t.Errorf("connect to a host's abstract socket: %v, want EPERM", err)
	}
	if err := unix.Kill(os.Getppid(), 0); err != nil {
		t.Errorf("signals were not asked to be scoped: %v", err)
	}
}

func TestLandlockScopeMissing(t *testing.T) {
	if !again(t, 0, withoutVariable+"="+LandlockScope) {
		return
	}
	if err := RestrictScope(ScopeAbstractSocket | ScopeSignal); !errors.Is(err, unix.ENOTSUP) || !strings.Contains(err.Error(), "6.12") {
		t.Errorf("%v", err)
	}
}
