package hostile

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

// steering sets a title, clears the screen, answers for the user, writes the other
// way round and forges a line; in UTF-8 and as a byte.
const steering = "e\x1b]0;pwn\x07\u009b2J\x9b5n\x7f\u202egnp\u2066\r\nforged  Up 3 days  "

// onTerminal is what a command shows on one.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	master, slave := terminal(t)
	shown := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(master) // EIO at the end
		shown <- string(text)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	defer cancel()
	cmd := host.Command(ctx, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if r := caller.Finish(ctx, cmd); r.Code < 0 {
		t.Errorf("rc %v: %s", args, r.Err)
	}
	_ = slave.Close()
	return <-shown
}

// Words of images and payloads, wherever rc itself shows them on a terminal, do
// not steer it. (A payload's own output, rc logs and attach, goes as it is.)
func TestWordsOnTerminals(t *testing.T) {
	require(t)
	ref := build(t, "words", func(c *images.Config) {
		c.Labels = map[string]string{"k" + steering: "v" + steering}
		c.Env = []string{"E=" + steering}
		c.WorkingDir = "/" + steering
		c.Healthcheck = map[string][]string{"Test": {"CMD", "/attack", "echo", steering}}
		c.Volumes = map[string]struct{}{"/v" + steering: {}}
	})
	r := host.RC("run", "-d", "--name", "wordy", "--network", "none", "--health-interval", "100ms", ref, "sleep", "60", steering)
	if r.Code != 0 {
		t.Fatalf("%d %s", r.Code, r.Err)
	}
	t.Cleanup(func() { host.RC("rm", "-f", "-v", "wordy") })
	eventually(t, "it was probed", func() bool {
		return strings.Contains(host.RC("inspect", "wordy").Out, "ExitCode\": 0,\n                    \"Output\"") || strings.Contains(host.RC("ps").Out, "healthy")
	})
	for _, args := range [][]string{
		{"ps"}, {"ps", "-a", "--no-trunc", "-s"}, {"ps", "--format", "json"}, {"ps", "--format", "{{.Labels}} {{.Command}} {{.Mounts}}"}, {"ps", "--format", "table {{.Labels}}"},
		{"inspect", "wordy"}, {"inspect", "-f", "json", "wordy"}, {"inspect", "-f", "{{json .}}", "wordy"}, {"inspect", "-f", "{{.Config}} {{.State}}", "wordy"}, {"inspect", ref},
		{"events", "--since", "1m", "--until", "0s"}, {"events", "--since", "1m", "--until", "0s", "--format", "json"}, {"events", "--since", "1m", "--until", "0s", "--format", "{{.Actor.Attributes}}"},
		{"top", "wordy"}, {"stats", "--no-stream", "wordy"}, {"volume", "ls"}, {"diff", "wordy"}, {"images"}, {"system", "df", "-v"}, {"port", "wordy"},
		{"exec", "wordy", "/none" + steering}, {"exec", "-w", "/none" + steering, "wordy", "/attack", "true"}, {"cp", "wordy:/none" + steering, "/tmp"},
	} {
		text := onTerminal(t, args...)
		for _, r := range strings.ToValidUTF8(text, "\u009b") { // a bare 0x9b is CSI to an 8-bit terminal
			if r < ' ' && r != '\n' && r != '\r' && r != '\t' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Errorf("rc %q shows %q in %.300q", args, r, text)
				break
			}
		}
		if text == "" && args[0] != "port" && args[0] != "diff" {
			t.Errorf("rc %q shows nothing", args)
		}
	}
	// What is one object stays one, whatever is in it.
	for _, args := range [][]string{{"ps", "--format", "json"}, {"events", "--since", "1m", "--until", "0s", "--format", "json"}} {
		for line := range strings.Lines(host.RC(args...).Out) {
			if !json.Valid([]byte(line)) {
				t.Errorf("rc %v: %q is no JSON", args, line)
			}
		}
	}
	for _, args := range [][]string{{"ps"}, {"events", "--since", "1m", "--until", "0s"}} {
		for line := range strings.Lines(host.RC(args...).Out) {
			if strings.HasPrefix(line, "forged") {
				t.Errorf("rc %v: a line of the image's: %q", args, line)
			}
		}
	}
}

// The log holds what was written, byte by byte, and no entry that the payload made
// up: its own lines of JSON are text.
func TestForgedLogEntries(t *testing.T) {
	require(t)
	forged := `"}` + "\n" + `{"log":"forged\n","stream":"stderr","time":"2001-01-01T00:00:00Z"}` + "\n"
	for name, text := range map[string]string{"json": forged, "binary": "\xff\xfe\x1b\u2028\r\n\n\x01", "head": `{"log":"a"}` + "\r"} {
		t.Run(name, func(t *testing.T) {
			detached(t, "forger", []string{"--network", "none"}, "echo", text)
			host.RC("wait", "forger")
			if r := host.RC("logs", "forger"); r.Out != text+"\n" || r.Err != "" {
				t.Errorf("%q, stderr %q; written was %q", r.Out, r.Err, text+"\n")
			}
		})
	}
}
