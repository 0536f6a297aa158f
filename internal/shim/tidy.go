package shim

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/start"
)

// Tidy runs as rc-tidy: one message in, Exited or Failed out.
func Tidy(conv *stage.Conn) int {
	err := tidy(conv)
	m := &start.Message{Kind: start.KindExited, Exit: &start.Exit{}}
	if err != nil {
		m = &start.Message{Kind: start.KindFailed, Fail: start.Fail(err)}
	}
	_ = conv.Send(m)
	if err != nil {
		return 1
	}
	return 0
}

func tidy(conv *stage.Conn) error {
	var c start.TidyConfig
	if err := sealedConfig(conv, &c); err != nil {
		return err
	}
	store := &record.Store{Root: c.Root}
	var errs []error
	for _, path := range c.Groups {
		errs = append(errs, cgroup.Open(path).Remove())
	}
	for _, p := range c.Paths {
		if filepath.Clean(p) != p || !strings.HasPrefix(p, "trash/") && !strings.HasPrefix(p, "volumes/") {
			return fmt.Errorf("refuse to delete %q", p)
		}
		if err := removeTree(store.Path(p)); err != nil {
			errs = append(errs, hint.New("delete "+store.Path(p), err, "see what is left with `rc unshare ls -lR "+store.Path(p)+"`"))
		}
	}
	return errors.Join(errs...)
}

func sealedConfig(conv *stage.Conn, v any) error {
	var m start.Message
	files, err := conv.Recv(&m)
	if err != nil {
		return fmt.Errorf("receive the configuration: %w", err)
	}
	if m.Kind != start.KindConfig || len(files) != 1 {
		stage.CloseFiles(files)
		return fmt.Errorf("receive the configuration: unexpected message %q", m.Kind)
	}
	return stage.Unseal(files[0], v)
}

// Unshare runs as rc-unshare and becomes the command.
func Unshare(conv *stage.Conn) int {
	var c start.UnshareConfig
	err := sealedConfig(conv, &c)
	if err == nil {
		err = runUnshared(&c)
	}
	_ = conv.Send(&start.Message{Kind: start.KindFailed, Fail: start.Fail(err)})
	return hint.ExitCode(err)
}

func runUnshared(c *start.UnshareConfig) error {
	if err := os.Chdir(c.Dir); err != nil {
		return hint.New("enter "+c.Dir, err, "")
	}
	signal.Reset()
	exe, err := lookPath(c.Args[0], c.Env)
	if err != nil {
		return hint.New("run "+c.Args[0], err, "check the name and PATH").WithCode(hint.ExitNotFound)
	}
	// The thread that we happen to be on may have been told to be late (userns/entry).
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 50000, 0, 0, 0) // the kernel's default (init/init_task.c)
	err = syscall.Exec(exe, c.Args, c.Env)
	return hint.New("run "+c.Args[0], err, "").WithCode(hint.ExitNotRunnable)
}

func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, kv := range env {
		if k, v, _ := strings.Cut(kv, "="); k == "PATH" {
			for dir := range strings.SplitSeq(v, ":") {
				p := filepath.Join(dir, name)
				if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
					return p, nil
				}
			}
		}
	}
	return "", errors.New("command not found")
}
