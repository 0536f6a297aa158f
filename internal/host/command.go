package host

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// commandLimit ends a helper that hangs: getent asks LDAP servers, which may be gone.
const commandLimit = 15 * time.Second

// Command is a small helper program on its way. (os/exec would cost the start
// path its package initialisation.)
type Command struct {
	path           string
	process        *os.Process
	stdout, stderr *os.File
}

// Begin starts path with args, an empty standard input, and only PATH and the C
// locale in its environment, so that its messages can be recognised.
func Begin(path string, args ...string) (*Command, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	c := &Command{path: path}
	out, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer outW.Close()
	said, saidW, err := os.Pipe()
	if err != nil {
		_ = out.Close()
		return nil, err
	}
	defer saidW.Close()
	c.stdout, c.stderr = out, said
	c.process, err = os.StartProcess(path, append([]string{path}, args...), &os.ProcAttr{
		Env:   []string{"LC_ALL=C", "PATH=" + os.Getenv("PATH")},
		Files: []*os.File{null, outW, saidW},
	})
	if err != nil {
		_, _ = out.Close(), said.Close()
		return nil, err
	}
	return c, nil
}

// End waits for the helper and gives its standard output. A failure is a
// *CommandError; a helper that takes longer than 15 s is killed.
func (c *Command) End() (string, error) {
	defer c.stdout.Close()
	defer c.stderr.Close()
	limit := time.Now().Add(commandLimit)
	_, _ = c.stdout.SetReadDeadline(limit), c.stderr.SetReadDeadline(limit)
	// One after the other is enough: helpers say a few lines, a pipe holds 64 KiB.
	out, err := readSome(c.stdout)
	said, serr := readSome(c.stderr)
	if err = errors.Join(err, serr); err != nil {
		_ = c.process.Kill()
	}
	state, werr := c.process.Wait()
	switch {
	case err != nil:
		return "", fmt.Errorf("%s: %w", c.path, err)
	case werr != nil:
		return "", werr
	case !state.Success():
		return out, &CommandError{Path: c.path, State: state.String(), Said: strings.TrimSpace(said)}
	}
	return out, nil
}

func readSome(f *os.File) (string, error) {
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(f, 1<<20))
	return b.String(), err
}

// CommandError is a helper that did not exit with 0.
type CommandError struct {
	Path  string
	State string // as os.ProcessState prints it: "exit status 1"
	Said  string // its standard error, trimmed
}

func (e *CommandError) Error() string {
	if e.Said == "" {
		return e.Path + ": " + e.State
	}
	// Several lines would break the one-line rule of refusals.
	return strings.Join(strings.Fields(e.Said), " ")
}

// Output is Begin and End.
func Output(path string, args ...string) (string, error) {
	c, err := Begin(path, args...)
	if err != nil {
		return "", err
	}
	return c.End()
}
