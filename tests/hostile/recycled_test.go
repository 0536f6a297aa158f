package hostile

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/tests/hostile/caller"
)

// bystander is a process of the user's that rc has nothing to do with.
func bystander(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(host.Attack(), "sleep", "120")
	cmd.Args[0] = "bystander"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd.Process.Pid
}

// slain makes a container whose shim was killed with everything in it: what
// stays is a record that says it runs. It returns the path of its state.
func slain(t *testing.T, name string) (id, state string) {
	t.Helper()
	r := host.RC("run", "-d", "--name", name, "--network", "none", image, "sleep")
	if r.Code != 0 {
		t.Fatal(r.Err)
	}
	id = strings.TrimSpace(r.Out)
	t.Cleanup(func() { host.RC("rm", "-f", name) })
	pids := []int{host.PID(name)}
	for _, p := range host.Ours() {
		if p.Name == "rc-shim" && strings.Contains(p.Line, id[:12]) {
			pids = append(pids, p.PID)
		}
	}
	for _, pid := range pids {
		_ = unix.Kill(pid, unix.SIGKILL)
		eventually(t, "it is gone", func() bool { p, ok := caller.Look(pid); return !ok || p.Zombie })
	}
	return id, filepath.Join(host.Root, "containers", id, "state.json")
}

// A record that names a pid which another process has by now: rc neither shows
// the container as running nor touches the process.
func TestRecycledPID(t *testing.T) {
	require(t)
	for name, forge := range map[string]func(st map[string]any, victim linux.Identity){
		"recycled": func(st map[string]any, v linux.Identity) { st["PID"], st["ShimPID"] = v.PID, v.PID },
		"other-boot": func(st map[string]any, v linux.Identity) {
			st["PID"], st["PIDStart"], st["ShimPID"], st["ShimStart"] = v.PID, v.StartTime, v.PID, v.StartTime
			st["BootID"] = "11111111-2222-3333-4444-555555555555"
		},
		"no-start": func(st map[string]any, v linux.Identity) { st["PID"], st["PIDStart"] = v.PID, 0 },
		"negative": func(st map[string]any, v linux.Identity) { st["PID"] = -v.PID },
		"everyone": func(st map[string]any, v linux.Identity) { st["PID"] = -1 },
		"init":     func(st map[string]any, v linux.Identity) { st["PID"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			pid := bystander(t)
			me, err := linux.IdentityOf(pid)
			if err != nil {
				t.Fatal(err)
			}
			// Start times count in ticks of 10 ms (proc_pid_stat(5)): two processes of
			// one tick with one pid cannot be, and must not be forged here.
			time.Sleep(50 * time.Millisecond)
			id, file := slain(t, "stale-"+name)
			var st map[string]any
			data := json.NewDecoder(strings.NewReader(read(file)))
			data.UseNumber()
			if err := data.Decode(&st); err != nil {
				t.Fatal(err)
			}
			forge(st, me)
			text, _ := json.Marshal(st)
			if err := os.WriteFile(file, text, 0o600); err != nil {
				t.Fatal(err)
			}
			list, err := host.Ps()
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range list {
				if l.ID == id && l.State != "exited" {
					t.Errorf("it is shown as %s", l.Status)
				}
			}
			if r := host.RC("rm", "-f", "stale-"+name); r.Code != 0 {
				t.Errorf("rc rm -f: %d %s", r.Code, r.Err)
			}
			if p, ok := caller.Look(pid); !ok || p.Zombie {
				t.Error("a process that has nothing to do with it was killed")
			}
		})
	}
}

// What a keeper left behind, or somebody put in its place, is not believed: rc
// starts another keeper, or says in one line what is wrong, within its bound.
func TestForgedKeeper(t *testing.T) {
	require(t)
	run := func(want int) caller.Result {
		t.Helper()
		start := time.Now()
		r := host.RC("run", "--rm", "--network", "none", image, "true")
		if r.Code != want || want != 0 && strings.Count(r.Err, "\n") != 1 {
			t.Errorf("exit code %d: %s", r.Code, r.Err)
		}
		t.Logf("%.1f s: %s", time.Since(start).Seconds(), r.Err)
		return r
	}
	run(0)
	dir := runtimeFolder(t)
	sock, lock := filepath.Join(dir, "keeper.sock"), filepath.Join(dir, "keeper.lock")
	noKeeper := func() {
		t.Helper()
		for _, p := range host.Ours() {
			if p.Name == "rc-net" {
				_ = unix.Kill(p.PID, unix.SIGKILL)
			}
		}
		eventually(t, "no keeper", func() bool {
			for _, p := range host.Ours() {
				if p.Name == "rc-net" {
					return false
				}
			}
			return true
		})
	}
	pid := bystander(t)
	t.Run("killed", func(t *testing.T) { noKeeper(); run(0) })
	t.Run("file", func(t *testing.T) {
		noKeeper()
		_ = os.Remove(sock)
		if err := os.WriteFile(sock, []byte("1234\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(0)
	})
	t.Run("lock-names-a-pid", func(t *testing.T) {
		noKeeper()
		if err := os.WriteFile(lock, []byte{byte('0' + pid%10), '\n'}, 0o600); err != nil {
			t.Fatal(err)
		}
		run(0)
	})
	t.Run("link", func(t *testing.T) {
		noKeeper()
		_ = os.Remove(sock)
		if err := os.Symlink("/etc/passwd", sock); err != nil {
			t.Fatal(err)
		}
		run(125) // connect(2) follows it and refuses; nothing was written through it
		_ = os.Remove(sock)
		run(0)
	})
	t.Run("liar", func(t *testing.T) { // it answers, and knows nothing
		noKeeper()
		_ = os.Remove(sock)
		l, err := net.Listen("unixpacket", sock)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Write([]byte(`{"Welcome":{"PID":1,"UID":[{"Inside":0,"Outside":0,"Size":1}]}}`))
			}
		}()
		run(125)
		_ = l.Close()
		run(0)
	})
	t.Run("locked", func(t *testing.T) { // by somebody who never lets go
		noKeeper()
		f, err := os.OpenFile(lock, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(2*time.Second, func() { _ = f.Close() })
		run(0)
	})
	t.Run("open-folder", func(t *testing.T) { // a note that leads to everybody's folder
		notes, _ := filepath.Glob(filepath.Join(host.Root, "hosts/*/*"))
		for _, n := range notes {
			if !strings.HasSuffix(n, ".lock") {
				if err := os.WriteFile(n, []byte("/tmp\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				defer os.WriteFile(n, []byte(dir+"\n"), 0o600)
			}
		}
		run(0)
		if _, err := os.Lstat("/tmp/keeper.sock"); err == nil {
			t.Error("a keeper listens in /tmp")
		}
	})
	if p, ok := caller.Look(pid); !ok || p.Zombie {
		t.Error("a process that has nothing to do with it was killed")
	}
}
