package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// The test binary plays rc-init when it is started under one of its names.
func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); strings.HasPrefix(name, "rc-") && !strings.HasSuffix(name, ".test") {
		main()
	}
	os.Exit(m.Run())
}

// as starts rc-init under a name with descriptor 4, or without.
func as(t *testing.T, name string, conversation *os.File) (code int, text string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(self)
	cmd.Args, cmd.Env = []string{name}, []string{}
	cmd.Stdout, cmd.Stderr = &out, &out
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	cmd.ExtraFiles = []*os.File{null} // 3, where a plan would be: it has no magic, so the constructor stands aside
	if conversation != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, conversation)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), out.String()
}

// By hand it does nothing but say what it is, whatever it is called.
func TestByHand(t *testing.T) {
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	ours, theirs, err := stage.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	type start struct {
		name string
		fd   *os.File
	}
	lines := []start{{"rc-init", nil}, {"rc-init", theirs.File()}, {"rc-frob", theirs.File()}}
	for role := range roles {
		lines = append(lines, start{role, nil}, start{role, null}, start{"/somewhere/" + role, nil})
	}
	for _, l := range lines {
		code, text := as(t, l.name, l.fd)
		if code != 125 || text != "rc-init: this program is started by rc; see `rc --help`\n" {
			t.Errorf("%s: %d %q", l.name, code, text)
		}
	}
}

// A starter that hangs up, or says nonsense, ends every role; none of them writes
// to stderr, which is the user's terminal.
func TestRolesEnd(t *testing.T) {
	for role := range roles {
		for _, say := range []any{nil, []int{1}, &start.Message{Kind: start.KindDetach}, &start.Message{Kind: start.KindInit, Files: []string{"config"}}} {
			ours, theirs, err := stage.Pair()
			if err != nil {
				t.Fatal(err)
			}
			if say != nil {
				_ = ours.Send(say)
			}
			if role != "rc-lend" || say == nil { // rc-lend is told nothing: it answers and ends
				ours.Close()
			}
			code, text := as(t, role, theirs.File())
			if role != "rc-lend" && code == 0 || code < 0 || text != "" {
				t.Errorf("%s, told %v: %d %q", role, say, code, text)
			}
			ours.Close()
			theirs.Close()
		}
	}
}

// The names are what the engine and the shim start: one that is missing here is a
// container that does not start.
func TestRoles(t *testing.T) {
	for _, name := range []string{"rc-shim", "rc-boot", "rc-tidy", "rc-unshare", "rc-probe", "rc-lend"} {
		if roles[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}
