package hostile

import (
	"context"
	"os/exec"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

const keyName = "rc-test-key"

// userKey gives this thread a session keyring with a key in it, and the user one
// in the user keyring. It returns the serials that an attacker might guess. What
// is started from this thread inherits the session keyring (session-keyring(7)).
func userKey(t *testing.T) []string {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if _, err := unix.KeyctlJoinSessionKeyring("rc-test"); err != nil {
		t.Skipf("needs a kernel with keyrings: %v", err)
	}
	var serials []string
	for _, ring := range []int{unix.KEY_SPEC_SESSION_KEYRING, unix.KEY_SPEC_USER_KEYRING} {
		id, err := unix.AddKey("user", keyName, []byte(secret), ring)
		if err != nil {
			t.Skipf("add a key: %v", err)
		}
		t.Cleanup(func() { _, _ = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, ring, 0, 0) })
		ringID, err := unix.KeyctlGetKeyringID(ring, false)
		if err != nil {
			t.Fatal(err)
		}
		serials = append(serials, strconv.Itoa(id), strconv.Itoa(ringID))
	}
	return serials
}

func onThisThread(args ...string) caller.Result {
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	return caller.Finish(ctx, host.Command(ctx, args...))
}

// The user's keys are out of reach: those of the session, and those that belong
// to the uid, which container root shares with the caller as the host sees it.
func TestKeyring(t *testing.T) {
	require(t)
	serials := userKey(t)
	act := flags([]string{"keyring", keyName, secret}, serials)
	// The host's own look, read-only: the real act empties keyrings.
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	if r := caller.Finish(ctx, exec.CommandContext(ctx, host.Attack(), "keyring", keyName, secret)); r.Code != 3 {
		t.Fatalf("control: the caller's own program does not find the key: %d %s", r.Code, r.Out)
	}
	for name, f := range map[string][]string{
		"default":    {},
		"unconfined": {"--security-opt", "seccomp=unconfined"},
		"unmasked":   {"--security-opt", "seccomp=unconfined", "--security-opt", "unmask=ALL"},
		"privileged": {"--privileged"},
		"as-app":     flags(mighty, []string{"-u", "app"}),
		"pid-host":   {"--privileged", "--pid", "host"},
		"auto":       {"--privileged", "--userns", "auto"},
		"host-ids":   {"--privileged", "--userns", "host"},
		"init":       {"--privileged", "--init"},
		"terminal":   {"--privileged", "-t"},
	} {
		// No subtest: that would be another thread, with another session keyring.
		r := onThisThread(flags([]string{"run", "--rm", "--network", "none"}, f, []string{image}, act)...)
		verdict(t, r, name)
		keysIntact(t, name, serials)
	}
}

// keysIntact: still there, and still what they were.
func keysIntact(t *testing.T, name string, serials []string) {
	t.Helper()
	id, _ := strconv.Atoi(serials[0])
	buf := make([]byte, 64)
	n, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buf, 0)
	if err != nil || string(buf[:n]) != secret {
		t.Errorf("%s: the caller's session key is gone: %v %q", name, err, buf[:max(n, 0)])
	}
	if _, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", keyName, 0); err != nil {
		t.Errorf("%s: the caller's user key is gone: %v", name, err)
	}
}
