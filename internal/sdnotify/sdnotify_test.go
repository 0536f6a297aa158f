package sdnotify

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// manager is a socket as a service manager's.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetReadDeadline(time.Now().Add(5*time.Second)))
	return c
}

func TestSend(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@rc-notify-" + filepath.Base(t.TempDir()) + t.Name() + time.Now().String()} {
		m := manager(t, name)
		to, err := Dial(name)
		must(t, err)
		must(t, Send(to, "MAINPID=3", Ready))
		buf := make([]byte, 100)
		n, err := m.Read(buf)
		must(t, err)
		if got := string(buf[:n]); got != "MAINPID=3\nREADY=1" {
			t.Errorf("%s: %q", name, got)
		}
		_ = to.Close()
	}
}

func TestDialRefuses(t *testing.T) {
	for _, name := range []string{"", "x", "vsock:2:3", "/nonexistent/notify", "@nobody-listens-here-" + t.Name()} {
		if f, err := Dial(name); err == nil {
			_ = f.Close()
			t.Errorf("%q: somebody answered", name)
		}
	}
}

// A barrier is over when its reader closes what came with it.
func TestBarrier(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	m := manager(t, name)
	to, err := Dial(name)
	must(t, err)
	defer to.Close()
	done := make(chan error)
	go func() { done <- Barrier(to) }()
	select {
	case err := <-done:
		t.Fatalf("nobody has read it: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	buf := make([]byte, 100)
	n, err := m.Read(buf) // without room for descriptors: the kernel closes them
	must(t, err)
	if string(buf[:n]) != "BARRIER=1" {
		t.Errorf("%q", buf[:n])
	}
	must(t, <-done)
}

// A container says what concerns its service and no more.
func TestClean(t *testing.T) {
	for said, want := range map[string]string{
		"READY=1":                           "READY=1",
		"READY=1\nSTATUS=all is well – ☺\n": "READY=1\nSTATUS=all is well – ☺",
		"MAINPID=1\nREADY=1\nMAINPIDFDID=7": "READY=1",
		"FDSTORE=1\nFDNAME=x\nFDPOLL=0":     "",
		"FDSTOREREMOVE=1\nNOTIFYACCESS=all": "",
		"BARRIER=1":                         "",
		"X_MINE=1\nREADY":                   "",
		"READY =1\n READY=1\nready=1":       "",
		"STATUS=\x1b[2J\nWATCHDOG=1":        "WATCHDOG=1",
		"STATUS=\u202egnp.exe\nSTATUS=a\tb": "",
		"STATUS=\xff\xfe":                   "",
		"STATUS=a\x00b":                     "",
		"STATUS=" + strings.Repeat("x", maxLine) + "\nSTOPPING=1":                         "STOPPING=1",
		strings.Repeat("READY=1\n", MaxMessage/8) + "READY=1":                             "",
		"RELOADING=1\nMONOTONIC_USEC=5\nERRNO=2\nEXTEND_TIMEOUT_USEC=9\nWATCHDOG=trigger": "RELOADING=1\nMONOTONIC_USEC=5\nERRNO=2\nEXTEND_TIMEOUT_USEC=9\nWATCHDOG=trigger",
	} {
		if got := Clean([]byte(said)); got != want {
			t.Errorf("%.60q: %.60q, want %q", said, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add([]byte("READY=1\nMAINPID=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for line := range strings.SplitSeq(Clean(data), "\n") {
			key, _, _ := strings.Cut(line, "=")
			if line != "" && (!allowed[key] || !printable(line)) {
				t.Errorf("%q became %q", data, line)
			}
		}
	})
}

// What was meant for another process counts for nothing.
func TestParse(t *testing.T) {
	parsed := func(env map[string]string) *Environment {
		return parse(func(name string) string { return env[name] }, 42)
	}
	e := parsed(map[string]string{"NOTIFY_SOCKET": "/n", "SYSTEMD_EXEC_PID": "42", "WATCHDOG_USEC": "3000000"})
	if e.Notify != "/n" || !e.Main || e.Watchdog != 3*time.Second || e.Sockets != nil || e.Err != nil {
		t.Errorf("%+v", e)
	}
	e = parsed(map[string]string{"NOTIFY_SOCKET": "/n", "SYSTEMD_EXEC_PID": "41", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "41", "LISTEN_PID": "41", "LISTEN_FDS": "1"})
	if e.Main || e.Watchdog != 0 || e.Sockets != nil || e.Err != nil {
		t.Errorf("%+v", e)
	}
	for _, bad := range []string{"-1", "x", "70000", "65"} {
		if e := parsed(map[string]string{"LISTEN_PID": "42", "LISTEN_FDS": bad}); e.Err == nil || len(e.Sockets) > 0 {
			t.Errorf("LISTEN_FDS=%s: %+v", bad, e)
		}
	}
}

const inside = "RC_SDNOTIFY_TEST"

// The descriptors are taken in a process of their own: here they are Go's.
func TestSockets(t *testing.T) {
	if os.Getenv(inside) != "" {
		report()
		return
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	socket := os.NewFile(uintptr(pair[0]), "socket")
	defer unix.Close(pair[1])
	folder, err := os.Open("/")
	must(t, err)
	for _, c := range []struct {
		files []*os.File
		names string
		want  string
	}{
		{[]*os.File{socket, socket}, "a:b", "a b cloexec cloexec <nil> gone"},
		{[]*os.File{socket}, "a:b", " cloexec <nil> gone"},
		{[]*os.File{socket, folder}, "", "cloexec cloexec descriptor 4 of LISTEN_FDS: " + errNoSocket.Error() + " gone"},
	} {
		cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" -test.run=TestSockets -test.v=false`, os.Args[0])
		cmd.Env = []string{inside + "=1", "LISTEN_FDS=" + string(rune('0'+len(c.files))), "LISTEN_FDNAMES=" + c.names}
		cmd.ExtraFiles = c.files
		out, err := cmd.CombinedOutput()
		if got, _, _ := strings.Cut(string(out), "\n"); err != nil || strings.TrimSpace(got) != strings.TrimSpace(c.want) {
			t.Errorf("%v: %s, want %s", err, out, c.want)
		}
	}
}

// report says what Here found.
func report() {
	e := Here()
	var words []string
	for _, s := range e.Sockets {
		words = append(words, s.Name)
	}
	n := len(e.Sockets)
	if e.Err != nil {
		n = 2
	}
	for fd := firstSocket; fd < firstSocket+n; fd++ {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC != 0 {
			words = append(words, "cloexec")
		}
	}
	said := "<nil>"
	if e.Err != nil {
		said = e.Err.Error()
	}
	if _, set := os.LookupEnv("LISTEN_FDS"); !set {
		said += " gone"
	}
	_, _ = os.Stdout.WriteString(strings.Join(append(words, said), " ") + "\n")
}

// One that nobody reads costs a bounded time and is an error.
func TestNobodyReads(t *testing.T) {
	name := filepath.Join(t.TempDir(), "notify")
	manager(t, name)
	to, err := Dial(name)
	must(t, err)
	defer to.Close()
	for began := time.Now(); time.Since(began) < 2*patience; {
		if err = Send(to, Ready); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EAGAIN) {
		t.Errorf("%v", err)
	}
}
