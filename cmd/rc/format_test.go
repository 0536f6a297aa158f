package main

import (
	"encoding/json"
	"strings"
	"testing"
)

// What is executed in rc, and what is left to rc-image.
func TestSimple(t *testing.T) {
	for format, want := range map[string]int{
		"{{.Name}}": 1, "{{ .A.B_2 }}": 1, "a {{.B}} c\t{{.D}}": 4, "}} {{.A}}": 2, "": 0, "text": 1,
		"{{json .}}": -1, "{{.}}": -1, "{{.A": -1, "{{- .A}}": -1, "{{.A | json}}": -1, "{{if .A}}{{end}}": -1, "{{.A.}}": -1, "{{.1}}": -1, "{{$x}}": -1, "{{/* */}}": -1,
	} {
		parts := simple(format)
		if want < 0 != (parts == nil) || want >= 0 && len(parts) != want {
			t.Errorf("%q: %v, want %d parts", format, parts, want)
		}
	}
}

func TestExecute(t *testing.T) {
	const value = `{"A":{"B":"x"},"N":9007199254740993,"F":1.5,"T":true,"L":[1],"Z":null,"E":"\u001b]0;\u0007"}`
	for format, want := range map[string]string{"{{.A.B}}-{{.N}}-{{.T}}": "x-9007199254740993-true", "{{.E}}": "\x1b]0;\a"} {
		f := &formatter{parts: simple(format)}
		if got, ok := f.execute([]byte(value)); got != want || !ok {
			t.Errorf("%s: %q %v", format, got, ok)
		}
	}
	// text/template has its own way to print these, or an error.
	for _, format := range []string{"{{.F}}", "{{.L}}", "{{.Z}}", "{{.A}}", "{{.Nosuch}}", "{{.A.B.C}}", "{{.N.X}}"} {
		f := &formatter{parts: simple(format)}
		if got, ok := f.execute([]byte(value)); ok {
			t.Errorf("%s: %q", format, got)
		}
	}
	f := &formatter{parts: simple("{{.E}}"), clean: true}
	if got, _ := f.execute([]byte(value)); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("%q steers the terminal", got)
	}
}

func TestFormats(t *testing.T) {
	shelf(t)
	for line, want := range map[string]string{
		"ps -a --format {{.Names}}={{.ID}}":                 "web=" + webID[:12] + "\njob=" + jobID[:12] + "\nfar=" + farID[:12] + "\n",
		`ps -aq --format {{.Names}}`:                        webID[:12] + "\n" + jobID[:12] + "\n" + farID[:12] + "\n",
		`ps --format table`:                                 "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n",
		`ps -a -l --format table\t{{.Names}}\t{{.State}}`:   "\tNAMES\tSTATE\n\tweb\texited\n",
		"inspect -f {{.Name}} web job":                      "/web\n/job\n",
		"inspect -f {{.State.ExitCode}} web":                "3\n",
		"inspect -f {{.State.Running}} web":                 "false\n",
		"image inspect -f {{.Os}}/{{.Architecture}} alpine": "linux/amd64\n",
		"images --format {{.Repository}}:{{.Tag}}":          "alpine:latest\n",
	} {
		o := rc(t, strings.Fields(line)...)
		if strings.HasPrefix(want, "\t") { // a table: only the words count
			o.stdout, want = strings.Join(strings.Fields(o.stdout), " "), strings.Join(strings.Fields(want), " ")
		}
		if o.stdout != want || o.code != 0 {
			t.Errorf("rc %s: %+v, want %q", line, o, want)
		}
	}
	if o := rc(t, "ps", "--format", "{{json"); o.code == 0 { // needs rc-image, which is not beside the test
		t.Errorf("%+v", o)
	}
}

func TestInspectFields(t *testing.T) {
	shelf(t)
	o := rc(t, "inspect", "--format", "json", "web")
	if strings.Count(o.stdout, "\n") != 1 {
		t.Errorf("not one line: %q", o.stdout)
	}
	var got []struct {
		Name, Image string
		Args        []string
		State       struct{ Health any }
		Config      struct {
			StopSignal   string
			ExposedPorts map[string]any
			Labels       map[string]string
			Entrypoint   []string
		}
		HostConfig struct {
			PortBindings  map[string][]struct{ HostPort string }
			RestartPolicy struct{ Name string }
			LogConfig     struct{ Type string }
		}
		NetworkSettings struct {
			Ports    map[string]any
			Networks map[string]any
		}
		Mounts []any
	}
	must(t, json.Unmarshal([]byte(o.stdout), &got))
	v := got[0]
	if v.Name != "/web" || v.Image != "sha256:"+imgID || v.Config.StopSignal != "SIGTERM" || v.Config.Labels["b"] != "2" || v.Mounts == nil {
		t.Errorf("%+v", v)
	}
	if v.HostConfig.PortBindings["80/tcp"][0].HostPort != "8080" || v.HostConfig.RestartPolicy.Name != "no" || v.HostConfig.LogConfig.Type != "json-file" {
		t.Errorf("%+v", v.HostConfig)
	}
	if _, ok := v.Config.ExposedPorts["80/tcp"]; !ok || len(v.NetworkSettings.Ports) != 0 {
		t.Errorf("ports of one that does not run: %+v", v)
	}
	if _, ok := v.NetworkSettings.Networks["slirp4netns"]; !ok {
		t.Errorf("%+v", v.NetworkSettings)
	}
	if o := rc(t, "inspect", "--type", "service", "web"); o.code != 125 || !strings.Contains(o.stderr, "--type service") {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "inspect", "--type", "network", "web"); o.code != 1 || o.stdout != "[]\n" || !strings.Contains(o.stderr, `find network "web": no such network`) {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "image", "inspect", "web"); o.code != 1 || o.stdout != "[]\n" {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "container", "inspect", "alpine"); o.code != 1 {
		t.Errorf("%+v", o)
	}
}

func TestSignalName(t *testing.T) {
	for n, want := range map[int]string{15: "SIGTERM", 10: "SIGUSR1", 34: "SIGRTMIN+0", 37: "SIGRTMIN+3", 64: "SIGRTMIN+30", 33: "33"} {
		if got := signalName(n); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}
