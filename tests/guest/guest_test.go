package guest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// One boot for all that a guest promises its tests.
func TestGuest(t *testing.T) {
	Require(t)
	shared := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(shared, []byte("from the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := Start(t, Options{Share: map[string]string{"deep/file": shared}})
	ctx := context.Background()
	for _, c := range []struct{ user, line, out, err string }{
		{User, "id -un; echo $HOME; pwd", "user\n/home/user\n/home/user\n", ""},
		{Root, "id -u; cat /share/deep/file", "0\nfrom the host", ""},
		{User, "echo $XDG_RUNTIME_DIR; test -S $XDG_RUNTIME_DIR/bus && echo bus", "/run/user/1000\nbus\n", ""},
		{User, "echo out; echo err >&2", "out\n", "err\n"},
		{Root, "loginctl show-user user -p Linger --value", "yes\n", ""},
		{User, "head -c 300000 /dev/zero | tr '\\0' x | wc -c; head -c 200000 /dev/zero | tr '\\0' y", "300000\n" + strings.Repeat("y", 200000), ""},
		{User, "stat -f -c %T /sys/fs/cgroup", "cgroup2fs\n", ""},
		{User, "touch /share/x 2>&1 || echo no", "touch: cannot touch '/share/x': Read-only file system\nno\n", ""},
	} {
		if r := g.Run(ctx, c.user, c.line); r.Stdout != c.out || r.Stderr != c.err || r.Code != 0 || r.Err != nil {
			t.Errorf("%s: %s => %d %v, %.200q, %.200q", c.user, c.line, r.Code, r.Err, r.Stdout, r.Stderr)
		}
	}
	t.Run("delegated", func(t *testing.T) { delegated(t, g) })
	t.Run("codes", func(t *testing.T) { codes(t, g) })
	t.Run("streams", func(t *testing.T) { streams(t, g) })
}

func delegated(t *testing.T, g *Guest) {
	r := g.Run(context.Background(), User, "systemd-run --user --scope --quiet -p Delegate=yes cat /proc/self/cgroup && "+
		"cat /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/cgroup.controllers")
	got := strings.Fields(r.Stdout)
	if len(got) < 2 || !strings.HasPrefix(got[0], "0::/user.slice/user-1000.slice/user@1000.service/") {
		t.Fatalf("%+v", r)
	}
	for _, controller := range []string{"cpu", "cpuset", "io", "memory", "pids"} {
		if !slices.Contains(got[1:], controller) {
			t.Errorf("the user is delegated %q, not %s", got[1:], controller)
		}
	}
}

func codes(t *testing.T, g *Guest) {
	ctx := context.Background()
	for line, want := range map[string]int{"exit 3": 3, "kill -9 $$": 137, "no-such-command": 127} {
		for _, user := range []string{User, Root} {
			if r := g.Run(ctx, user, line); r.Code != want || r.Err != nil {
				t.Errorf("%s: %s => %d, %v; want %d", user, line, r.Code, r.Err, want)
			}
		}
	}
	short, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if r := g.Run(short, User, "exec sleep 1234"); !errors.Is(r.Err, context.DeadlineExceeded) {
		t.Errorf("a command longer than its context: %+v", r)
	}
	if r := g.Run(ctx, Root, "sleep 0.5; pgrep -fx 'sleep 1234'"); r.Code != 1 {
		t.Errorf("it goes on: %+v", r)
	}
	// What holds a command's streams after it delays its end, and does not prevent it.
	if r := g.Run(ctx, User, "sleep 1000 & echo done"); r.Stdout != "done\n" || r.Code != 0 {
		t.Errorf("a command that left a child: %+v", r)
	}
}

func streams(t *testing.T, g *Guest) {
	var out strings.Builder
	code, err := g.Stream(context.Background(), User, "tr a-z A-Z; echo end",
		Streams{Stdin: strings.NewReader("shout\n" + strings.Repeat("x", 100000)), Stdout: &out})
	if want := "SHOUT\n" + strings.Repeat("X", 100000) + "end\n"; code != 0 || err != nil || out.String() != want {
		t.Errorf("%d, %v, %d bytes, want %d", code, err, out.Len(), len(want))
	}
	ends := make(chan Result)
	for _, user := range []string{User, Root, User} {
		go func() { ends <- g.Run(context.Background(), user, "sleep 1; id -un") }()
	}
	for range 3 {
		if r := <-ends; r.Code != 0 || r.Err != nil {
			t.Errorf("one of three at once: %+v", r)
		}
	}
}

// What was synced is there after a power cut, what was not is lost: were it there,
// the drill of tests/powercut would prove nothing.
func TestPowerCut(t *testing.T) {
	Require(t)
	home := filepath.Join(t.TempDir(), "home.ext4")
	if err := NewDisk(home, 64); err != nil {
		t.Fatal(err)
	}
	g := Start(t, Options{Home: home, HomeOptions: "commit=60"})
	ctx := context.Background()
	if r := g.Run(ctx, User, "echo kept >synced && sync && echo lost >unsynced"); r.Code != 0 || r.Err != nil {
		t.Fatalf("%+v", r)
	}
	cut := make(chan Result)
	go func() { cut <- g.Run(ctx, User, "echo begun; sleep 1000") }()
	time.Sleep(time.Second)
	g.Kill()
	if r := <-cut; !errors.Is(r.Err, ErrPower) {
		t.Errorf("a command while the power went: %+v", r)
	}
	if r := g.Run(ctx, User, "true"); !errors.Is(r.Err, ErrPower) {
		t.Errorf("a command without power: %+v", r)
	}
	if err := Check(home); err != nil {
		t.Error(err)
	}
	if err := g.Boot(ctx); err != nil {
		t.Fatal(err)
	}
	if r := g.Run(ctx, User, "cat synced; ls unsynced"); r.Stdout != "kept\n" || r.Code != 2 {
		t.Errorf("after the cut: %+v", r)
	}
	if err := g.Boot(ctx); err == nil {
		t.Error("a guest that is on was switched on")
	}
}
