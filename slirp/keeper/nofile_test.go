package keeper

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestMoreFiles: what is started afterwards has the hard limit as its soft one.
func TestMoreFiles(t *testing.T) {
	if os.Getenv("RC_MORE_FILES") == "" {
		// In a process of its own, begun as a login's, so that no other test is changed.
		cmd := exec.Command("sh", "-c", `ulimit -S -n 256 && exec "$0" -test.run '^TestMoreFiles$'`, os.Args[0])
		cmd.Env = append(os.Environ(), "RC_MORE_FILES=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return
	}
	if err := moreFiles(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "ulimit -S -n; ulimit -H -n").Output()
	if got := strings.Fields(string(out)); err != nil || len(got) != 2 || got[0] != got[1] || got[0] == "256" {
		t.Errorf("%q, %v", got, err)
	}
}
