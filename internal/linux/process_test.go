package linux

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// sleeper starts a process that stays until the test kills it.
func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestPidfd(t *testing.T) {
	cmd := sleeper(t)
	f, err := OpenPidfd(cmd.Process.Pid)
	must(t, err)
	defer f.Close()
	must(t, SignalPidfd(f, 0))
	must(t, f.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	if err := WaitPidfd(f); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it runs, yet the wait gave %v", err)
	}
	must(t, f.SetReadDeadline(time.Time{}))
	must(t, SignalPidfd(f, unix.SIGKILL))
	must(t, WaitPidfd(f)) // a zombie counts as ended
	_ = cmd.Wait()
	if err := SignalPidfd(f, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := OpenPidfd(1 << 30); !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ESRCH) {
		t.Errorf("a pid that cannot be: %v", err)
	}
}

func TestExitStatus(t *testing.T) {
	for command, want := range map[string]unix.WaitStatus{"exit 7": 7 << 8, "kill -TERM $$": unix.WaitStatus(unix.SIGTERM)} {
		cmd := exec.Command("sh", "-c", "read x; "+command)
		in, err := cmd.StdinPipe()
		must(t, err)
		must(t, cmd.Start())
		f, err := OpenPidfd(cmd.Process.Pid)
		must(t, err)
		defer f.Close()
		if status, err := ExitStatus(f); !errors.Is(err, ErrNoExitInfo) {
			t.Errorf("it runs, yet its status is %#x, %v", status, err)
		}
		must(t, in.Close())
		must(t, WaitPidfd(f))
		_ = cmd.Wait()
		status, err := ExitStatus(f)
		if errors.Is(err, ErrNoExitInfo) {
			t.Skip("needs PIDFD_GET_INFO with the exit status, Linux 6.15")
		}
		if err != nil || status != want {
			t.Errorf("%s: %#x, %v, want %#x", command, int(status), err, int(want))
		}
	}
}

func TestExitStatusWithoutTheCall(t *testing.T) {
	if !again(t, 0, withoutVariable+"="+PidfdInfo) {
		return
	}
	cmd := exec.Command("true")
	must(t, cmd.Start())
	f, err := OpenPidfd(cmd.Process.Pid)
	must(t, err)
	defer f.Close()
	_ = cmd.Wait()
	if _, err := ExitStatus(f); !errors.Is(err, ErrNoExitInfo) {
		t.Errorf("%v", err)
	}
}

func TestIdentity(t *testing.T) {
	cmd := sleeper(t)
	id, err := IdentityOf(cmd.Process.Pid)
	must(t, err)
	if !id.Alive() || !id.Runs() || id.StartTime == 0 || id.BootID == "" {
		t.Errorf("%+v", id)
	}
	for name, other := range map[string]Identity{
		"recycled pid": {id.PID, id.StartTime + 1, id.BootID},
		"other boot":   {id.PID, id.StartTime, "00000000-0000-0000-0000-000000000000"},
		"no process":   {1 << 22, id.StartTime, id.BootID},
		"zero":         {},
	} {
		if f, err := other.Open(); err == nil || other.Alive() || other.Runs() {
			t.Errorf("%s: opened %v, %v", name, f, err)
		} else if name != "zero" && !errors.Is(err, unix.ESRCH) {
			t.Errorf("%s: %v, want ESRCH", name, err)
		}
	}
	must(t, cmd.Process.Kill())
	f, err := id.Open()
	must(t, err) // a zombie can be opened
	defer f.Close()
	must(t, WaitPidfd(f))
	if id.Alive() || id.Runs() {
		t.Error("a zombie is alive")
	}
	_ = cmd.Wait()
	if _, err := id.Open(); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := StartTime(cmd.Process.Pid); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after the end: %v", err)
	}
}

// A process names itself: the name must not shift the fields.
func TestStartTimeOfAHostileName(t *testing.T) {
	rest := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21\n"
	for _, name := range []string{"sh", ") S 1 1 1", "a b c", "((", "\n)\n", ""} {
		if state, got, err := parseStat([]byte("7 (" + name + ")" + rest)); err != nil || got != 4242 || state != 'S' {
			t.Errorf("%q: %c, %d, %v", name, state, got, err)
		}
	}
	for _, bad := range []string{"", "7 (x) S 1", "no brackets"} {
		if _, got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %d", bad, got)
		}
	}
}

func TestPeerOf(t *testing.T) {
	if os.Getenv(insideVariable) == "" { // once as it is, once with the fallback
		testPeerOf(t)
	}
	if again(t, 0, withoutVariable+"="+SoPeerPidfd) {
		testPeerOf(t)
	}
}

func testPeerOf(t *testing.T) {
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	must(t, err)
	defer l.Close()
	client, err := net.Dial("unix", path)
	must(t, err)
	defer client.Close()
	server, err := l.Accept()
	must(t, err)
	defer server.Close()
	f, err := server.(*net.UnixConn).File()
	must(t, err)
	defer f.Close()
	p, err := PeerOf(f)
	must(t, err)
	if p.PID != os.Getpid() || p.UID != os.Getuid() || p.GID != os.Getgid() || p.PidFD == nil {
		t.Fatalf("%+v", p)
	}
	defer p.PidFD.Close()
	if err := SignalPidfd(p.PidFD, 0); err != nil {
		t.Error(err)
	}
	if _, err := PeerOf(os.Stdin); err == nil {
		t.Error("standard input has a peer")
	}
}

func TestPeerGone(t *testing.T) {
	cmd := sleeper(t)
	id := Peer{PID: cmd.Process.Pid, UID: os.Getuid() + 1}
	if os.Getuid() != 0 {
		if f := peerByPID(id); f != nil {
			t.Error("another user's process was taken for the peer")
		}
	}
	id.UID = os.Getuid()
	must(t, cmd.Process.Kill())
	_ = cmd.Wait()
	if f := peerByPID(id); f != nil {
		t.Error("a process that is gone was taken for the peer")
	}
}
