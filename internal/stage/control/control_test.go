package control

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/tests/accept"
	"github.com/rc-containers/rc/userns"
)

// shimThat plays a shim which treats each conversation by answer.
func shimThat(t *testing.T, answer func(*stage.Conn)) string {
	t.Helper()
	path := t.TempDir() + "/c.sock"
	l, err := stage.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	accept.Each(l, answer)
	return path
}

func TestAsk(t *testing.T) {
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var heard Request
	path := shimThat(t, func(c *stage.Conn) {
		if _, err := c.Recv(&heard); err == nil {
			_ = c.Send(&Reply{State: &record.State{Status: record.Running, PID: 7}, Files: []string{"u0", "user"},
				UIDMap: []userns.IDMap{{Inside: 0, Outside: 5, Size: 1}}, Hostname: "h"}, null, null)
		}
	})
	r, files, err := Ask(path, Request{Op: OpStop, Signal: 9, Timeout: -1}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer stage.CloseFiles(files)
	if want := (Request{Op: OpStop, Signal: 9, Timeout: -1}); !reflect.DeepEqual(heard, want) {
		t.Errorf("the shim heard %+v", heard)
	}
	if r.State.PID != 7 || len(files) != 2 || r.UIDMap[0].Outside != 5 || r.Hostname != "h" {
		t.Errorf("reply %+v with %d files", r, len(files))
	}
}

// The kinds of trouble that a command has with a shim: all bounded, all told
// apart from a refusal.
func TestAskTrouble(t *testing.T) {
	null, _ := os.Open("/dev/null")
	defer null.Close()
	recv := func(c *stage.Conn) {
		var q Request
		_, _ = c.Recv(&q)
	}
	for name, c := range map[string]struct {
		answer func(*stage.Conn)
		gone   bool
	}{
		"hangs up":              {func(*stage.Conn) {}, true},
		"hangs up after it":     {recv, true},
		"stays silent":          {func(c *stage.Conn) { recv(c); time.Sleep(2 * time.Second) }, true},
		"garbage":               {func(c *stage.Conn) { recv(c); _ = c.Send([]int{1}) }, true},
		"fewer files than said": {func(c *stage.Conn) { recv(c); _ = c.Send(&Reply{Files: []string{"u0", "user"}}, null) }, false},
		"more files than said":  {func(c *stage.Conn) { recv(c); _ = c.Send(&Reply{}, null) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := shimThat(t, c.answer)
			before, _ := os.ReadDir("/proc/self/fd")
			begin := time.Now()
			r, files, err := Ask(path, Request{Op: OpState}, 200*time.Millisecond)
			if err == nil || r != nil || files != nil {
				t.Fatalf("%+v %v %v", r, files, err)
			}
			if errors.Is(err, ErrGone) != c.gone {
				t.Errorf("%v: is it gone? want %v", err, c.gone)
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("took %v", d)
			}
			if !c.gone { // the peer has closed its side by now: what is left is ours
				time.Sleep(50 * time.Millisecond)
				if after, _ := os.ReadDir("/proc/self/fd"); len(after) > len(before) {
					t.Errorf("%d descriptors leaked", len(after)-len(before))
				}
			}
		})
	}
}

func TestAskNobody(t *testing.T) {
	_, _, err := Ask(t.TempDir()+"/none", Request{Op: OpState}, time.Second)
	if !errors.Is(err, ErrGone) || !errors.Is(err, unix.ENOENT) {
		t.Errorf("%v", err)
	}
	dead := t.TempDir() + "/dead"
	if fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0); err == nil {
		_ = unix.Bind(fd, &unix.SockaddrUnix{Name: dead})
		unix.Close(fd)
	}
	if _, _, err := Ask(dead, Request{Op: OpState}, time.Second); !errors.Is(err, ErrGone) || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

// A refusal of the shim is the refusal itself, not "gone": Kill tells them apart.
func TestAskRefused(t *testing.T) {
	path := shimThat(t, func(c *stage.Conn) {
		var q Request
		_, _ = c.Recv(&q)
		_ = c.Send(&Reply{Fail: start.Fail(hint.New("signal", unix.ESRCH, "fix").WithCode(3))})
	})
	_, _, err := Ask(path, Request{Op: OpSignal}, time.Second)
	if errors.Is(err, ErrGone) || !errors.Is(err, unix.ESRCH) || hint.ExitCode(err) != 3 {
		t.Errorf("%v (%d)", err, hint.ExitCode(err))
	}
}

// Without a bound, Ask waits: `wait` may take days.
func TestAskUnbounded(t *testing.T) {
	path := shimThat(t, func(c *stage.Conn) {
		var q Request
		_, _ = c.Recv(&q)
		time.Sleep(300 * time.Millisecond)
		_ = c.Send(&Reply{Hostname: "late"})
	})
	r, _, err := Ask(path, Request{Op: OpWait}, 0)
	if err != nil || r.Hostname != "late" {
		t.Errorf("%v %+v", err, r)
	}
}

// The protocol is spoken by programs of different ages: these texts must not
// change under a running container.
func TestWireFormat(t *testing.T) {
	for want, v := range map[string]any{
		`{"Op":"state"}`:                                 Request{Op: OpState},
		`{"Op":"signal","Signal":15}`:                    Request{Op: OpSignal, Signal: 15},
		`{"Op":"stop","Timeout":-1}`:                     Request{Op: OpStop, Timeout: -1},
		`{"Op":"namespaces"}`:                            Request{Op: OpNamespaces},
		`{"Op":"wait"}`:                                  Request{Op: OpWait},
		`{"Files":["u0"],"Hostname":"h"}`:                Reply{Files: []string{"u0"}, Hostname: "h"},
		`{"UIDMap":[{"Inside":0,"Outside":1,"Size":2}]}`: Reply{UIDMap: []userns.IDMap{{Inside: 0, Outside: 1, Size: 2}}},
	} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
