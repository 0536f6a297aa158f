package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	webID  = "abc123abc123abc123abc123abc123abc123abc123abc123abc123abc123abcd"
	jobID  = "def456def456def456def456def456def456def456def456def456def456defa"
	farID  = "fed456def456def456def456def456def456def456def456def456def456defa"
	imgID  = "1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"
	secret = "\x1b]0;owned\a"
)

// shelf makes a state folder with containers that have ended and an image, and
// points RC_ROOT to it.
func shelf(t *testing.T) *record.Store {
	t.Helper()
	root := t.TempDir()
	t.Setenv("RC_ROOT", root)
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	s, err := record.Open(root)
	must(t, err)
	now := time.Now()
	add := func(c *record.Container, st *record.State) {
		must(t, os.Mkdir(s.ContainerDir(c.ID), 0o700))
		must(t, s.SaveContainer(c))
		must(t, s.ClaimName(c.Name, c.ID))
		must(t, record.SaveState(s.ContainerDir(c.ID), st, atomicfile.Fast))
	}
	add(&record.Container{ID: webID, Name: "web", ImageName: "alpine", Image: imgID, Created: now.Add(-2 * time.Hour), MachineID: record.MachineID(),
		Command: []string{"sh", "-c", "echo " + secret + strings.Repeat("long ", 10)}, Labels: map[string]string{"b": "2", "a": "1"},
		Ports: []slirp.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}}, Network: "slirp4netns", StopSignal: 15, StopAfter: 10 * time.Second},
		&record.State{Status: record.Exited, ExitCode: 3, Finished: now.Add(-time.Hour), Started: now.Add(-2 * time.Hour), BootID: record.BootID()})
	add(&record.Container{ID: jobID, Name: "job", Rootfs: "/srv/root", Created: now.Add(-3 * time.Hour), MachineID: record.MachineID(), Command: []string{"true"}},
		&record.State{Status: record.Exited, ExitCode: -1, Finished: now.Add(-2 * time.Hour), BootID: record.BootID()})
	add(&record.Container{ID: farID, Name: "far", ImageName: "busybox", Created: now.Add(-4 * time.Hour), MachineID: "another"},
		&record.State{Status: record.Running, PID: 1, BootID: "elsewhere"})
	must(t, s.SaveImage(&record.Image{ID: imgID, Digest: "sha256:" + imgID, Created: now.Add(-48 * time.Hour), Size: 8_345_678,
		Architecture: "amd64", OS: "linux", Layers: []string{"/l"}, Config: record.ImageConfig{Cmd: []string{"sh"}}}))
	must(t, s.SetName("docker.io/library/alpine:latest", imgID))
	return s
}

func TestPs(t *testing.T) {
	shelf(t)
	if o := rc(t, "ps"); o.code != 0 || strings.Count(o.stdout, "\n") != 1 || !strings.HasPrefix(o.stdout, "CONTAINER ID ") {
		t.Errorf("nothing runs: %+v", o)
	}
	o := rc(t, "ps", "-a")
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if o.code != 0 || o.stderr != "" || len(lines) != 4 {
		t.Fatalf("%+v", o)
	}
	for i, want := range [][]string{
		{webID[:12] + " ", "alpine", "2 hours ago", "Exited (3) About an hour ago", "web"},
		{jobID[:12] + " ", "/srv/root", "Exited (unknown) 2 hours ago", "job"},
		{farID[:12] + " ", "busybox", "on another host", "far"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i+1], part) {
				t.Errorf("line %q lacks %q", lines[i+1], part)
			}
		}
	}
	if strings.Contains(o.stdout, "8080") {
		t.Error("a port of a container that ended is shown as if somebody listened")
	}
	if strings.ContainsAny(o.stdout, "\x1b\a") {
		t.Error("an escape sequence of a command came through")
	}
	if o := rc(t, "ps", "-aq"); o.stdout != webID[:12]+"\n"+jobID[:12]+"\n"+farID[:12]+"\n" {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "ps", "-aq", "--no-trunc"); !strings.HasPrefix(o.stdout, webID+"\n") {
		t.Errorf("%+v", o)
	}
}

func TestPsJSON(t *testing.T) {
	shelf(t)
	o := rc(t, "ps", "-a", "--format", "json")
	dec := json.NewDecoder(strings.NewReader(o.stdout))
	var names []string
	for dec.More() {
		var line psLine
		must(t, dec.Decode(&line))
		names = append(names, line.Names)
		if line.Names == "web" && (line.State != "exited" || line.Labels != "a=1,b=2" || line.Networks != "slirp4netns") {
			t.Errorf("%+v", line)
		}
	}
	if strings.Join(names, " ") != "web job far" || strings.Count(o.stdout, "\n") != 3 {
		t.Errorf("%q", o.stdout)
	}
}

func TestInspect(t *testing.T) {
	shelf(t)
	o := rc(t, "inspect", "web", jobID[:5], "alpine")
	var got []map[string]any
	must(t, json.Unmarshal([]byte(o.stdout), &got))
	if o.code != 0 || len(got) != 3 {
		t.Fatalf("%+v", o)
	}
	state := got[0]["State"].(map[string]any)
	if got[0]["Id"] != webID || got[0]["Path"] != "sh" || len(got[0]["Args"].([]any)) != 2 || state["ExitCode"] != 3.0 || state["Running"] != false {
		t.Errorf("%v", got[0])
	}
	if got[0]["Config"].(map[string]any)["StopTimeout"] != 10.0 || got[0]["HostConfig"].(map[string]any)["NetworkMode"] != "slirp4netns" {
		t.Errorf("%v", got[0])
	}
	if got[1]["Name"] != "/job" || got[2]["Id"] != "sha256:"+imgID || got[2]["Os"] != "linux" {
		t.Errorf("%v %v", got[1], got[2])
	}
	// What is found is shown even if something else is not.
	o = rc(t, "inspect", "nope", "web")
	if o.code != 1 || strings.Count(o.stderr, "\n") != 1 || !strings.Contains(o.stdout, webID) {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "inspect", "--type", "image", "web"); o.code == 0 || strings.Contains(o.stdout, webID) {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "inspect", "--type", "container", "alpine"); o.code != 1 || o.stdout != "[]\n" {
		t.Errorf("%+v", o)
	}
}

func TestRm(t *testing.T) {
	s := shelf(t)
	o := rc(t, "rm", "web", "nope", "job")
	if o.code != 1 || o.stdout != "web\njob\n" || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("%+v", o)
	}
	for _, path := range []string{s.ContainerDir(webID), s.ContainerDir(jobID), s.Path("container-names/web"), s.Path("container-names/job")} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
	if left, _ := filepath.Glob(s.Path("trash/*")); len(left) > 0 {
		t.Errorf("left in the trash: %v", left)
	}
}

func TestImages(t *testing.T) {
	shelf(t)
	o := rc(t, "images")
	lines := strings.Split(o.stdout, "\n")
	if o.code != 0 || len(lines) != 3 || strings.Join(strings.Fields(lines[0]), " ") != "REPOSITORY TAG IMAGE ID CREATED SIZE" {
		t.Fatalf("%+v", o)
	}
	if f := strings.Fields(lines[1]); f[1] != "latest" || f[2] != imgID[:12] || !strings.Contains(lines[1], "2 days ago") || !strings.Contains(lines[1], "8.35MB") {
		t.Errorf("%q", lines[1])
	}
	if o := rc(t, "images", "--digests"); !strings.Contains(o.stdout, "sha256:"+imgID) || !strings.Contains(o.stdout, "DIGEST") {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "images", "-q", "alpine"); o.stdout != imgID[:12]+"\n" {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "tag", "alpine", "mine:v1"); o.code != 0 || o.stderr != "" {
		t.Errorf("%+v", o)
	}
	o = rc(t, "images", "--format", "json", "--no-trunc")
	if strings.Count(o.stdout, "\n") != 2 || strings.Count(o.stdout, `"ID":"sha256:`+imgID+`"`) != 2 || !strings.Contains(o.stdout, `"Tag":"v1"`) {
		t.Errorf("%+v", o)
	}
}

func TestStatus(t *testing.T) {
	here := record.MachineID()
	for want, e := range map[string]engine.Entry{
		"on another host":                     {Container: record.Container{MachineID: "x"}, State: record.State{Status: record.Running}},
		"Up 5 minutes":                        {Container: record.Container{MachineID: here}, State: record.State{Status: record.Running, Started: time.Now().Add(-5 * time.Minute)}},
		"Created":                             {Container: record.Container{MachineID: here}, State: record.State{Status: record.Created}},
		"Exited (0) Less than a second ago":   {Container: record.Container{MachineID: here}, State: record.State{Status: record.Exited, Finished: time.Now()}},
		"Exited (unknown) About a minute ago": {Container: record.Container{MachineID: here}, State: record.State{Status: record.Exited, ExitCode: -1, Finished: time.Now().Add(-time.Minute)}},
	} {
		if got := status(&e); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour: "Less than a second", 0: "Less than a second", time.Second: "1 second", 59 * time.Second: "59 seconds",
		time.Minute: "About a minute", 119 * time.Second: "About a minute", 2 * time.Minute: "2 minutes", 59*time.Minute + 59*time.Second: "59 minutes",
		time.Hour: "About an hour", 89 * time.Minute: "About an hour", 90 * time.Minute: "2 hours", 47 * time.Hour: "47 hours",
		2 * day: "2 days", 13 * day: "13 days", 14 * day: "2 weeks", 60 * day: "2 months", 729 * day: "24 months", 800 * day: "2 years",
	} {
		if got := ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0B", 999: "999B", 1000: "1kB", 1234: "1.23kB", 8_345_678: "8.35MB", 99_950: "100kB", 999_400: "999kB",
		999_999: "1MB", 999_999_999: "1GB", 5_000_000_000_000_000: "5000TB", -1: "-1B",
	} {
		if got := size(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

func TestPortsAndLabels(t *testing.T) {
	got := portsText([]slirp.Port{{HostPort: 80, ContainerPort: 8080, Proto: "tcp"}, {HostIP: "127.0.0.1", HostPort: 53, ContainerPort: 53, Proto: "udp"},
		{HostIP: "::1", HostPort: 1, ContainerPort: 2, Proto: "tcp"}})
	if got != "[::1]:1->2/tcp, 127.0.0.1:53->53/udp, 0.0.0.0:80->8080/tcp" {
		t.Error(got)
	}
	for range 20 { // a map's order is random
		if got := labelsText(map[string]string{"b": "2", "a": "1", "c": ""}); got != "a=1,b=2,c=" {
			t.Fatal(got)
		}
	}
}

func TestPrintInfo(t *testing.T) {
	text := capture(t, func() {
		printInfo(&engine.Info{Version: "v", Root: "/r", Runtime: "/t", Containers: 2, Running: 1, Images: 3, Driver: "overlay"})
	})
	for _, want := range []string{"rc v\n", "state:      /r\n", "runtime:    /t\n", "containers: 2, 1 running, 0 paused, 0 stopped\n", "images:     3\n", "storage:    overlay\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q lacks %q", text, want)
		}
	}
}
