package guest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What enters a snapshot names it: memory and processors, and the agent.
func TestSnapshotFollowsItsInputs(t *testing.T) {
	name := func(o Options, program string) string {
		t.Helper()
		t.Setenv("RC_GUEST_QEMU", program)
		g := &Guest{options: o, base: base{dir: "/base"}, dir: "/work"}
		dir, err := g.snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return dir
	}
	plain := name(Options{}, "/bin/true")
	if !strings.HasPrefix(plain, "/base/snapshot-1024-2-") {
		t.Errorf("the snapshot is %s", plain)
	}
	for what, other := range map[string]string{
		"defaults spelt out": name(Options{Memory: 1024, CPUs: 2}, "/bin/true"),
		"shared files":       name(Options{Share: map[string]string{"a": "/b"}, Scratch: 64}, "/bin/true"),
	} {
		if other != plain {
			t.Errorf("%s: another snapshot", what)
		}
	}
	for what, other := range map[string]string{
		"memory": name(Options{Memory: 512}, "/bin/true"),
		"QEMU":   name(Options{}, "/bin/sh"),
		"time":   name(Options{Counted: true}, "/bin/true"),
	} {
		if other == plain {
			t.Errorf("other %s: the same snapshot", what)
		}
	}
}

// qmp answers commands like QEMU, with an event before each answer, until answers end.
func qmp(t *testing.T, answers map[string]string) *monitor {
	t.Helper()
	q, theirs, err := newMonitor()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = q.conn.Close() })
	go func() {
		defer theirs.Close()
		fmt.Fprintln(theirs, `{"QMP": {"version": {}}}`)
		lines := bufio.NewScanner(theirs)
		for lines.Scan() {
			var c struct{ Execute string }
			if json.Unmarshal(lines.Bytes(), &c) != nil || answers[c.Execute] == "" {
				return
			}
			fmt.Fprintln(theirs, `{"event": "STOP"}`)
			fmt.Fprintln(theirs, answers[c.Execute])
		}
	}()
	return q
}

func TestMonitor(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := `{"return": {}}`
	q := qmp(t, map[string]string{"qmp_capabilities": done, "migrate-set-capabilities": done, "query-migrate": `{"return": {"status": "completed"}}`})
	if err := q.prepareMigration(ctx); err != nil {
		t.Error(err)
	}
	if err := q.migrated(ctx); err != nil {
		t.Error(err)
	}
	if err := q.do(ctx, "quit", nil, nil); err == nil {
		t.Error("a monitor that closed gave an answer")
	}
	q = qmp(t, map[string]string{"cont": `{"error": {"class": "GenericError", "desc": "not now"}}`,
		"query-migrate": `{"return": {"status": "failed", "error-desc": "no room"}}`})
	if err := q.do(ctx, "cont", nil, nil); err == nil || !strings.Contains(err.Error(), "cont: not now") {
		t.Errorf("an error came as %v", err)
	}
	if err := q.migrated(ctx); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a failed migration came as %v", err)
	}
}

// Guests of one snapshot know the time, differ in what is random, keep nothing.
func TestRestored(t *testing.T) {
	Require(t)
	ctx := context.Background()
	var random [2]string
	for n := range random {
		g := Start(t, Options{Scratch: 64, Log: t.Errorf}) // a boot instead of a restore is told to Log
		r := g.Run(ctx, Root, "date +%s; head -c 16 /dev/urandom | od -An -tx8; findmnt -no FSTYPE,SIZE /scratch; echo x >>/root/kept; wc -l </root/kept")
		f := strings.Split(strings.TrimSpace(r.Stdout), "\n")
		if r.Code != 0 || len(f) != 4 {
			t.Fatalf("%+v", r)
		}
		var seconds int64
		if _, err := fmt.Sscan(f[0], &seconds); err != nil || time.Since(time.Unix(seconds, 0)).Abs() > 10*time.Second {
			t.Errorf("its clock says %s, it is %d", f[0], time.Now().Unix())
		}
		random[n] = f[1]
		if !strings.HasPrefix(f[2], "ext4") || f[3] != "1" {
			t.Errorf("the scratch disk is %q, lines written by guests before: %s", f[2], f[3])
		}
		if r := g.Run(ctx, User, "echo mine >/scratch/mine && cat /scratch/mine"); r.Stdout != "mine\n" {
			t.Errorf("the scratch disk: %+v", r)
		}
		begin := time.Now()
		g.Kill()
		if err := g.Boot(ctx); err != nil {
			t.Fatal(err)
		}
		if r := g.Run(ctx, User, "true"); r.Code != 0 || r.Err != nil {
			t.Errorf("%+v", r)
		}
		t.Logf("restored and a command run in %s", time.Since(begin).Round(time.Millisecond))
		g.Kill()
	}
	if random[0] == random[1] {
		t.Errorf("two guests drew the same random number: %s", random[0])
	}
}

// A snapshot that is broken is said, replaced by a boot, and gone.
func TestBrokenSnapshot(t *testing.T) {
	Require(t)
	if os.Geteuid() != 0 {
		t.Skip("breaks a snapshot on purpose: as root only, who makes it anew")
	}
	var said []string
	g, err := New(Options{Memory: 768, Log: func(format string, a ...any) { said = append(said, fmt.Sprintf(format, a...)) }})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	dir, err := g.snapshot()
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ram", "state", "root.ext4", "initrd"} {
		if err := os.WriteFile(filepath.Join(dir, name), make([]byte, 4096), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Boot(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(said) != 1 || !strings.Contains(said[0], "restore the snapshot") {
		t.Errorf("said %q", said)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it is still there")
	}
}
