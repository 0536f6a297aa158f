// Package guest runs a part of tests/network in a virtual machine, where the limit of
// open files is what a systemd gives a user (524,288), and no smaller one of this host's.
//
//	RC_GUEST=1 RC_BIN=$PWD/bin go test ./tests/network/guest -v
package guest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// limit of the whole: four minutes were seen, and seven with fifteen others waiting for
// two processors.
const limit = 15 * time.Minute

// Ten thousand connections through one published port at the same time, each of which
// carries words; what the keeper needs for them is in the log.
func TestTenThousandConnections(t *testing.T) {
	guest.Require(t)
	program := filepath.Join(t.TempDir(), "network.test")
	c := exec.Command("go", "test", "-c", "-o", program, "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	g := guest.Start(t, guest.Options{Share: map[string]string{"bin": guest.Programs(t), "network": program, "peer": guest.Compiled(t, "../peer")}})
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r := g.Run(ctx, guest.User, "RC_BIN=/share/bin RC_TEST_PEER=/share/peer /share/network -test.v -test.run '^TestManyConnectionsThroughAPort$'")
	for line := range strings.Lines(r.Stdout) {
		t.Log(strings.TrimSpace(line))
	}
	// The exit code says that a keeper is left: in a scope of systemd's it stays a minute.
	if r.Err != nil || !strings.Contains(r.Stdout, "--- PASS: TestManyConnectionsThroughAPort") {
		t.Fatalf("exit code %d, %v: %s", r.Code, r.Err, r.Stderr)
	}
	if !regexp.MustCompile(`: 10000 connections in .*, 10000 carry words`).MatchString(r.Stdout) {
		t.Error("there were fewer")
	}
}
