package boot

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// talk is a shim's end of the conversation, and init's.
func talk(t *testing.T) (shim, init *stage.Conn) {
	t.Helper()
	a, b, err := stage.Pair()
	must(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func sealed(t *testing.T, v any) *os.File {
	t.Helper()
	f, err := stage.Seal("test", v)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestReceive(t *testing.T) {
	shim, init := talk(t)
	cfg := &start.InitConfig{Spec: &specs.Spec{Hostname: "h"}, Inside: start.Inside{Username: "web", CopyUp: []int{2}, Without: "close-range"}}
	t.Setenv("RC_TEST_WITHOUT", "")
	must(t, shim.Send(&start.Message{Kind: start.KindInit, Files: []string{"rootfs", "config"}}, openPath(t, "/"), sealed(t, cfg)))
	b, err := receive(init)
	must(t, err)
	if b.cfg.Spec.Hostname != "h" || b.cfg.Inside.Username != "web" || b.files["rootfs"] == nil || os.Getenv("RC_TEST_WITHOUT") != "close-range" {
		t.Errorf("%+v", b.cfg)
	}
	for _, f := range b.files {
		_ = f.Close()
	}
}

func TestReceiveRefuses(t *testing.T) {
	plain := openPath(t, "/etc/passwd")
	for name, c := range map[string]struct {
		m     start.Message
		files []*os.File
	}{
		"another kind":        {start.Message{Kind: start.KindExec}, nil},
		"no kind":             {start.Message{}, nil},
		"what rc gets":        {start.Message{Kind: start.KindConfig, Files: []string{"config"}}, []*os.File{sealed(t, &start.InitConfig{})}},
		"a failure":           {start.Message{Kind: start.KindFailed}, nil},
		"no configuration":    {start.Message{Kind: start.KindInit}, nil},
		"fewer files":         {start.Message{Kind: start.KindInit, Files: []string{"config", "rootfs"}}, []*os.File{sealed(t, &start.InitConfig{})}},
		"more files":          {start.Message{Kind: start.KindInit, Files: []string{"config"}}, []*os.File{sealed(t, &start.InitConfig{}), plain}},
		"unsealed":            {start.Message{Kind: start.KindInit, Files: []string{"config"}}, []*os.File{plain}},
		"no configuration in": {start.Message{Kind: start.KindInit, Files: []string{"config"}}, []*os.File{sealed(t, []int{1})}},
	} {
		shim, init := talk(t)
		must(t, shim.Send(&c.m, c.files...))
		if b, err := receive(init); err == nil {
			t.Errorf("%s was taken: %+v", name, b)
		}
	}
	shim, init := talk(t)
	shim.Close()
	if _, err := receive(init); !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

func TestReady(t *testing.T) {
	for name, c := range map[string]struct {
		reply  *start.Message
		refuse string
	}{
		"exec":         {&start.Message{Kind: start.KindExec}, ""},
		"called off":   {nil, "the start was called off"},
		"another kind": {&start.Message{Kind: start.KindStart}, `unexpected message "start"`},
	} {
		shim, init := talk(t)
		if c.reply != nil {
			must(t, shim.Send(c.reply))
		} else {
			go func() {
				_, _ = shim.Recv(new(start.Message))
				shim.Close()
			}()
		}
		err := newBox().ready(init)
		if c.refuse == "" && err != nil || c.refuse != "" && (err == nil || !strings.Contains(err.Error(), c.refuse)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The terminal's master goes to the shim and does not stay: whoever holds it
// reads what the user types.
func TestReadyHandsTheTerminalOver(t *testing.T) {
	shim, init := talk(t)
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs a terminal: %v", err)
	}
	b := newBox()
	b.pty = master
	must(t, shim.Send(&start.Message{Kind: start.KindExec}))
	must(t, b.ready(init))
	var m start.Message
	files, err := shim.Recv(&m)
	must(t, err)
	defer stage.CloseFiles(files)
	if m.Kind != start.KindReady || len(files) != 1 || m.Files[0] != "terminal" {
		t.Fatalf("%+v with %d files", m, len(files))
	}
	if _, err := unix.IoctlGetInt(int(files[0].Fd()), unix.TIOCGPTN); err != nil {
		t.Errorf("no terminal came: %v", err)
	}
	if _, err := master.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("init keeps the master: %v", err)
	}
}

// Main tells the shim why it failed, and ends with the exit code of that.
func TestMainReportsFailures(t *testing.T) {
	if !again(t, ownKernel...) {
		return
	}
	fails := func(spec *specs.Spec, files map[string]*os.File) (int, *start.Message) {
		shim, init := talk(t)
		m := &start.Message{Kind: start.KindInit, Files: []string{"config"}}
		list := []*os.File{sealed(t, &start.InitConfig{Spec: spec})}
		for name, f := range files {
			m.Files, list = append(m.Files, name), append(list, f)
		}
		must(t, shim.Send(m, list...))
		code := Main(init)
		var reply start.Message
		_, err := shim.Recv(&reply)
		must(t, err)
		if reply.Kind != start.KindFailed || reply.Fail == nil || reply.Fail.Code != code {
			t.Fatalf("%+v", reply)
		}
		return code, &reply
	}
	spec := &specs.Spec{Process: &specs.Process{Args: []string{"nope"}, Cwd: "/"}, Linux: &specs.Linux{UIDMappings: []specs.LinuxIDMapping{{Size: 1}}, GIDMappings: []specs.LinuxIDMapping{{Size: 1}}}}
	if code, m := fails(spec, nil); code != hint.ExitRefused || m.Fail.Op != "attach the root file system" {
		t.Errorf("%d %+v", code, m.Fail)
	}
	dir := t.TempDir()
	must(t, unix.Mount("image", dir, "tmpfs", 0, "mode=755"))
	code, m := fails(spec, map[string]*os.File{"rootfs": treeOf(t, dir)})
	if code != hint.ExitNotFound || !strings.Contains(m.Fail.Text, "not found") {
		t.Errorf("%d %+v", code, m.Fail)
	}
	leave(t)
}
