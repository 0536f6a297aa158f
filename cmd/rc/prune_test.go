package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
)

func filtersOf(t *testing.T, texts ...string) (f filters) {
	t.Helper()
	for _, text := range texts {
		if err := f.Set(text); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestVolumeFilters(t *testing.T) {
	volumes := []*engine.VolumeEntry{
		{Volume: &record.Volume{Name: "data", Labels: map[string]string{"tier": "test"}}, Users: []string{"c"}},
		{Volume: &record.Volume{Name: "other"}},
		{Volume: &record.Volume{Name: "0123", Anonymous: true}},
	}
	for text, want := range map[string]string{
		"":                               "data other 0123",
		"dangling=true":                  "other 0123",
		"dangling=0":                     "data",
		"driver=local":                   "data other 0123",
		"driver=nfs":                     "",
		"name=at":                        "data",
		"name=at name=oth":               "data other",
		"label=tier":                     "data",
		"label=tier=prod":                "",
		"label!=tier":                    "other 0123",
		"label=" + engine.AnonymousLabel: "0123",
		"dangling=true name=data":        "",
	} {
		f := filtersOf(t, strings.Fields(text)...)
		passes, err := f.volumes()
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var got []string
		for _, v := range volumes {
			if passes(v) {
				got = append(got, v.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"dangling=maybe", "colour=red"} {
		f := filtersOf(t, text)
		if _, err := f.volumes(); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
}

func TestPruneFilters(t *testing.T) {
	o := pruneOptions{filter: filtersOf(t, "until=1h", "label=a=b", "label!=c")}
	f, err := o.spared()
	if err != nil || time.Since(f.Until) < 59*time.Minute || time.Since(f.Until) > 61*time.Minute {
		t.Fatalf("%+v %v", f, err)
	}
	for labels, want := range map[string]bool{"a=b": true, "a=x": false, "a=b c=d": false, "": false} {
		set := map[string]string{}
		for _, l := range strings.Fields(labels) {
			k, v, _ := strings.Cut(l, "=")
			set[k] = v
		}
		if f.Labels(set) != want {
			t.Errorf("%q: %v", labels, !want)
		}
	}
	for _, texts := range [][]string{{"until=yesterday"}, {"until=1h", "until=2h"}, {"name=x"}} {
		o := pruneOptions{filter: filtersOf(t, texts...)}
		if _, err := o.spared(); err == nil {
			t.Errorf("%q was taken", texts)
		}
	}
}

// asked runs a prune with an answer on its standard input.
func asked(t *testing.T, answer string, args ...string) outcome {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = []string{asRC + "=1", "HOME=" + t.TempDir(), "RC_ROOT=" + os.Getenv("RC_ROOT"), "XDG_RUNTIME_DIR=" + t.TempDir()}
	cmd.Stdin = strings.NewReader(answer)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestPruneAsks(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	const question = "WARNING! This will remove all stopped containers.\nAre you sure you want to continue? [y/N] "
	for answer, want := range map[string]outcome{
		"y\n":   {0, question + "Total reclaimed space: 0B\n", ""},
		" Y ":   {0, question + "Total reclaimed space: 0B\n", ""},
		"n\n":   {0, question, ""},
		"\n":    {0, question, ""},
		"yes\n": {0, question, ""},
		"":      {1, question + "\n", "rc: prune: nobody has answered: nothing is removed; answer y, or use -f\n"},
	} {
		if got := asked(t, answer, "container", "prune"); got != want {
			t.Errorf("%q: %+v", answer, got)
		}
	}
	// A wrong filter is refused before anybody is asked.
	if got := asked(t, "y\n", "container", "prune", "--filter", "until=x"); got.code != 1 || got.stdout != "" {
		t.Errorf("%+v", got)
	}
	got := asked(t, "n\n", "system", "prune", "-a", "--volumes", "--filter", "label=x")
	want := `WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all anonymous volumes not used by at least one container
  - all images without at least one container associated to them
  - all downloads that broke off

  Items to be pruned will be filtered with:
  - label=x

Are you sure you want to continue? [y/N] `
	if got.stdout != want {
		t.Errorf("%s", got.stdout)
	}
}

// volume verbs need no namespace: all of them can be run here.
func TestVolumeVerbs(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	for _, step := range []struct {
		line, stdout, stderr string
		code                 int
	}{
		{line: "volume create data", stdout: "data\n"},
		{line: "volume create --name named --label a=b", stdout: "named\n"},
		{line: "volume create data --name other", stderr: "two names", code: 125},
		{line: "volume create one two", stderr: "two", code: 125},
		{line: "volume create --label =x other", stderr: "no key", code: 1},
		{line: "volume create -d nfs other", stderr: "no driver but local", code: 1},
		{line: "volume ls -q", stdout: "data\nnamed\n"},
		{line: "volume list", stdout: "DRIVER    VOLUME NAME\nlocal     data\nlocal     named\n"},
		{line: "volume ls --cluster", stderr: "cluster", code: 125},
		{line: "volume inspect -f {{.Name}}:{{.Scope}} data named", stdout: "data:local\nnamed:local\n"},
		{line: "volume inspect", stderr: "no volume is named", code: 125},
		{line: "volume rm none data", stdout: "data\n", stderr: `remove volume "none": no such volume`, code: 1},
		{line: "volume remove -f none", stdout: "none\n"},
		{line: "volume prune -f", stdout: "Total reclaimed space: 0B\n"},
		{line: "volume prune -fa", stdout: "Deleted Volumes:\nnamed\n\nTotal reclaimed space: 0B\n"},
		{line: "volume frob", stderr: "no such command", code: 125},
	} {
		got := rc(t, strings.Fields(step.line)...)
		if got.code != step.code || got.stdout != step.stdout || !strings.Contains(got.stderr, step.stderr) || step.stderr == "" && got.stderr != "" {
			t.Errorf("%s: %+v", step.line, got)
		}
	}
}

func TestDfLines(t *testing.T) {
	entry := func(s record.Status) *engine.Entry { return &engine.Entry{State: record.State{Status: s}} }
	u := &engine.DiskUsage{
		Images:     []engine.ImageUsage{{Image: &record.Image{}, Containers: 2}, {Image: &record.Image{}}},
		Containers: []engine.ContainerUsage{{Entry: entry(record.Running), Written: 1000}, {Entry: entry(record.Exited), Written: 3000}},
		Volumes:    []engine.VolumeUsage{{VolumeEntry: &engine.VolumeEntry{Volume: &record.Volume{}}, Bytes: 5}},
		Layers:     200, FreeLayers: 50, Downloads: 1, DownloadBytes: 7,
	}
	got, err := json.Marshal(dfLines(u))
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"Active":"1","Reclaimable":"50B (25%)","Size":"200B","TotalCount":"2","Type":"Images"},` +
		`{"Active":"1","Reclaimable":"3kB (75%)","Size":"4kB","TotalCount":"2","Type":"Containers"},` +
		`{"Active":"0","Reclaimable":"5B (100%)","Size":"5B","TotalCount":"1","Type":"Local Volumes"},` +
		`{"Active":"0","Reclaimable":"0B","Size":"0B","TotalCount":"0","Type":"Build Cache"},` +
		`{"Active":"0","Reclaimable":"7B (100%)","Size":"7B","TotalCount":"1","Type":"Downloads"}]`
	if string(got) != want {
		t.Errorf("%s", got)
	}
}
