package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// format runs the verb on lines of stdin.
func format(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", append([]string{"format"}, args...)...)
	cmd.Env = []string{"RC_TEST_MAIN=1"}
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

func TestFormatFunctions(t *testing.T) {
	const value = `{"Id":"abc","Name":"/web","N":9007199254740993,"Big":18446744073709551615,"F":1.5,"Yes":true,"Nil":null,` +
		`"List":["a","b"],"Labels":{"x.y":"1","z":"<&>"},"State":{"Status":"running","ExitCode":0},"Mounts":[{"Type":"bind"},{"Type":"volume"}]}` + "\n"
	for tmpl, want := range map[string]string{
		`{{.Name}}`: "/web", `{{.Id}} {{.ID}}`: "abc abc", `{{.N}} {{.Big}} {{.F}}`: "9007199254740993 18446744073709551615 1.5",
		`{{json .List}}`: `["a","b"]`, `{{join .List ","}}`: "a,b", `{{join .Nil ","}}`: "", `{{index .List 1}}`: "b", `{{len .List}}`: "2",
		`{{split .Name "e"}}`: "[/w b]", `{{title "web site"}} {{upper .Id}} {{lower "ABC"}}`: "Web Site ABC abc",
		`{{truncate .Id 2}}|{{truncate .Id 9}}|{{pad .Id 1 2}}|{{pad "" 1 2}}`: "ab|abc| abc  |",
		`{{println .Id}}`: "abc\n", `{{printf "%.2f %d %s" .F .N .Id}}`: "1.50 9007199254740993 abc",
		`{{index .Labels "x.y"}}|{{index .Labels "no"}}|{{.Label "z"}}|{{.Label "no"}}`:                                         "1||<&>|",
		`{{.Labels.z}}|{{.Labels.no}}|{{if .Labels.no}}a{{else}}b{{end}}|{{with $x := .Labels.z}}{{$x}}{{end}}|{{$.Labels.no}}`: "<&>|<no value>|b|<&>|<no value>",
		`{{range .Mounts}}{{if $.Labels.z}}{{upper $.Labels.z}}{{end}}{{len (print $.Labels.no)}}{{end}}`:                       "<&>5<&>5",
		`{{json .Labels}}`:  `{"x.y":"1","z":"<&>"}`,
		`{{json .State}}`:   `{"ExitCode":0,"Status":"running"}`,
		`{{.State.Status}}`: "running",
		`{{if eq .State.ExitCode 0}}ok{{end}}{{if eq .State.Status "running"}}up{{end}}`: "okup",
		`{{range .Mounts}}{{.Type}} {{end}}`:                                             "bind volume ",
		`{{range $k, $v := .Labels}}{{$k}}={{$v}};{{end}}`:                               "x.y=1;z=<&>;",
		`{{if .Nil}}no{{else}}none{{end}}{{with .Name}}{{.}}{{end}}`:                     "none/web",
		`{{if and .Yes (gt .N 5)}}big{{end}}`:                                            "big", "a\\tb": "a\\tb",
	} {
		if r := format(t, value, tmpl); r.code != 0 || r.out != want+"\n" || r.err != "" {
			t.Errorf("%s: %+v, want %q", tmpl, r, want)
		}
	}
}

func TestFormatRefusals(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		out  string
		says string
	}{
		{[]string{"{{"}, 64, "", "template parsing error: template: :1: unclosed action"},
		{[]string{"--list", "{{.A"}, 1, "", "unclosed action"},
		{[]string{"{{nosuch .A}}"}, 64, "", `function "nosuch" not defined`},
		{[]string{"{{.A}} {{.Nosuch}}"}, 1, "", `no entry for key "Nosuch"`},
		{[]string{"{{.A.B}}"}, 1, "", "can't evaluate field B"},
		{[]string{"{{.Time}}"}, 1, "", `no entry for key "Time"`},
		{[]string{"--each", "{{.B}}"}, 1, "5\n", `no entry for key "B"`},
		{[]string{}, 125, "", "one template"},
	} {
		r := format(t, "{\"A\":1}\n{\"B\":5}\n", c.args...)
		if r.code != c.code || r.out != c.out || !strings.Contains(r.err, c.says) || strings.Count(r.err, "\n") != 1 {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
}

// A table has Docker's headings and widths; functions leave headings alone.
func TestFormatTable(t *testing.T) {
	r := format(t, `{"ID":"1234567890123","Name":"web","labelMap":{"com.x-y":"v"}}`+"\n"+`{"ID":"2","Name":"a"}`+"\n", "--list", "--table", `{"ID":"CONTAINER ID","Name":"NAME"}`,
		"{{.ID}}\t{{upper .Name}}\t{{.Label \"com.x-y\"}}")
	if want := "CONTAINER ID    NAME      x y\n1234567890123   WEB       v\n2               A         \n"; r.out != want || r.code != 0 {
		t.Errorf("%q\n%q\n%+v", r.out, want, r)
	}
	if r := format(t, "", "--list", "--table", `{"ID":"CONTAINER ID"}`, "{{.ID}}"); r.out != "CONTAINER ID\n" {
		t.Errorf("an empty table: %+v", r)
	}
	// Two tables, with a text between them, and what labelMap is for is not shown.
	r = format(t, "{\"ID\":\"1\"}\n\n\"-- \\u0041\\n\"\n{\"ID\":\"2\",\"labelMap\":{}}\n", "--list", "--table", `{"ID":"I"}`, "{{json .ID}}{{json .}}")
	if !strings.HasPrefix(r.out, "I") || !strings.Contains(r.out, "-- A\nI") || strings.Contains(r.out, "labelMap") {
		t.Errorf("%+v", r)
	}
}

// What a verb that goes on prints is seen at once, and much data passes through.
func TestFormatStreams(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "format", "{{.A}}")
	cmd.Env = []string{"RC_TEST_MAIN=1"}
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); _ = cmd.Wait() }()
	buf := make([]byte, 64)
	for range 3 {
		_, _ = in.Write([]byte("{\"A\":\"x\"}\n\n"))
		got := make(chan string, 1)
		go func() { n, _ := out.Read(buf); got <- string(buf[:n]) }()
		select {
		case s := <-got:
			if s != "x\n" {
				t.Errorf("%q", s)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is printed while stdin is open")
		}
	}
	big := strings.Repeat(`{"A":"`+strings.Repeat("y", 1000)+`"}`+"\n", 5000)
	if r := format(t, big, "{{.A}}"); len(r.out) != 5000*1001 || r.code != 0 {
		t.Errorf("%d bytes, code %d", len(r.out), r.code)
	}
}
