package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// A terminal is a real pseudo-terminal with a program on its far side, driven by
// lines as a person would:
//
//	type TEXT         and Enter
//	send "\x03"       a Go string, as it is
//	expect REGEXP     in what was printed since the last match, within 15 s
//	resize ROWS COLS
//	signal NAME       to the program
//	exit CODE         wait for the end
//	hangup            close the terminal
//	pause MS          only for what shows nothing, as a change of the terminal's mode
type terminal struct {
	ts     *testscript.TestScript
	fd     int
	master *os.File
	cmd    *exec.Cmd
	done   chan struct{} // closed when the program has ended

	mu   sync.Mutex
	seen bytes.Buffer // printed and not yet matched
	all  bytes.Buffer
}

// pty FILE COMMAND ARGS... runs COMMAND on a terminal of 24 rows and 80 columns
// and follows the lines of FILE. Afterwards `stdout` is all that was printed.
func cmdPty(ts *testscript.TestScript, neg bool, args []string) {
	t, err := startTerminal(ts, args[1:])
	ts.Check(err)
	defer t.close()
	for n, line := range strings.Split(ts.ReadFile(args[0]), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		verb, rest, _ := strings.Cut(line, " ")
		if err := t.do(verb, rest); err != nil {
			t.mu.Lock()
			ts.Logf("[terminal]\n%q", t.all.String())
			t.mu.Unlock()
			ts.Fatalf("%s:%d: %s: %v", args[0], n+1, line, err)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	_, _ = ts.Stdout().Write(t.all.Bytes())
}

func startTerminal(ts *testscript.TestScript, argv []string) (*terminal, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	// Non-blocking, and never asked for its Fd again: so a Close ends the reader.
	t := &terminal{ts: ts, fd: fd, master: os.NewFile(uintptr(fd), "/dev/ptmx"), done: make(chan struct{})}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if err := t.resize(24, 80); err != nil {
		return nil, err
	}
	t.cmd = command(context.Background(), ts, argv)
	t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = slave, slave, slave
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := t.cmd.Start(); err != nil {
		return nil, err
	}
	_ = slave.Close()
	go t.read()
	go func() {
		_ = t.cmd.Wait()
		close(t.done)
	}()
	return t, nil
}

func (t *terminal) read() {
	buf := make([]byte, 4096)
	for {
		n, err := t.master.Read(buf)
		t.mu.Lock()
		t.seen.Write(buf[:n])
		t.all.Write(buf[:n])
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (t *terminal) close() {
	_ = t.master.Close()
	select {
	case <-t.done:
	case <-time.After(5 * time.Second):
		_ = t.cmd.Process.Kill()
		<-t.done
	}
}

func (t *terminal) resize(rows, cols uint16) error {
	return unix.IoctlSetWinsize(t.fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols})
}

func (t *terminal) do(verb, rest string) error {
	switch verb {
	case "type":
		_, err := t.master.WriteString(rest + "\r")
		return err
	case "send":
		text, err := strconv.Unquote(rest)
		if err != nil {
			return err
		}
		_, err = t.master.WriteString(text)
		return err
	case "expect":
		return t.expect(rest)
	case "resize":
		var rows, cols uint16
		if _, err := fmt.Sscan(rest, &rows, &cols); err != nil {
			return err
		}
		return t.resize(rows, cols)
	case "signal":
		return t.cmd.Process.Signal(unix.SignalNum("SIG" + rest))
	case "pause":
		ms, err := strconv.Atoi(rest)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return err
	case "hangup":
		return t.master.Close()
	case "exit":
		return t.exit(rest)
	}
	return fmt.Errorf("no such verb")
}

func (t *terminal) expect(pattern string) error {
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		t.mu.Lock()
		at := re.FindIndex(t.seen.Bytes())
		if at != nil {
			t.seen.Next(at[1])
		}
		t.mu.Unlock()
		if at != nil {
			return nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("not printed within 15 s; since the last match: %q", t.seen.String())
}

func (t *terminal) exit(code string) error {
	select {
	case <-t.done:
	case <-time.After(15 * time.Second):
		return fmt.Errorf("still running")
	}
	if got := strconv.Itoa(exitCode(t.cmd.ProcessState)); got != code {
		return fmt.Errorf("exit code %s", got)
	}
	return nil
}
