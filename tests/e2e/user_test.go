package e2e

import (
	"os"
	"os/exec"
	"os/user"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// Scripts of root may act as the user that tests/run made.

// testUser says who that is, or why there is none.
func testUser() string {
	name := os.Getenv("RC_TEST_USER")
	if name == "" {
		return "RC_TEST_USER is not set: sudo make test"
	}
	if _, err := user.Lookup(name); err != nil {
		return err.Error()
	}
	return ""
}

// program0 makes a command of a prefix that command() knows: it must succeed.
func program0(name string) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if code := runCommand(ts, append([]string{name}, args...)); neg == (code == 0) {
			ts.Fatalf("exit code %d", code)
		}
	}
}

// asUser gives the script's home to the test user and becomes it.
func asUser(ts *testscript.TestScript, argv []string) []string {
	name := os.Getenv("RC_TEST_USER")
	for _, dir := range []string{ts.Getenv("HOME"), ts.Getenv("XDG_RUNTIME_DIR")} {
		ts.Check(exec.Command("chown", "-R", name+":", dir).Run())
	}
	ts.Check(os.Chmod(world.dir, 0o711))
	u, err := user.Lookup(name)
	ts.Check(err)
	return append([]string{"setpriv", "--reuid", u.Uid, "--regid", u.Gid, "--init-groups", "--inh-caps=-all", "--"}, argv...)
}

// without hides programs (a comma list) from /usr/bin in a mount namespace of the
// command's own, by overlay whiteouts: they are then not there, where an empty
// file in their place would be one that cannot be executed.
func without(ts *testscript.TestScript, programs string, argv []string) []string {
	const script = `d=$(mktemp -d) && for p in $0; do mknod "$d/$p" c 0 0; done && chmod 755 "$d" &&
mount -t overlay -o "lowerdir=$d:/usr/bin" overlay /usr/bin && exec "$@"`
	return append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", script, strings.ReplaceAll(programs, ",", " ")}, argv...)
}
