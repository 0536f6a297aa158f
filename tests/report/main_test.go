package main

import (
	"bytes"
	"strings"
	"testing"
)

func summary(t *testing.T, lines ...string) (string, bool) {
	t.Helper()
	var out bytes.Buffer
	r := newReport(&out)
	if err := r.read(strings.NewReader(strings.Join(lines, "\n") + "\n")); err != nil {
		t.Fatal(err)
	}
	ok := r.finish()
	return out.String(), ok
}

func TestCountsSubtestsAndNotTheirParents(t *testing.T) {
	out, ok := summary(t,
		`{"Action":"run","Package":"p","Test":"TestA"}`,
		`{"Action":"run","Package":"p","Test":"TestA/one"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/one"}`,
		`{"Action":"output","Package":"p","Test":"TestA/two","Output":"    x_test.go:7: needs fuse: no /dev/fuse\n"}`,
		`{"Action":"output","Package":"p","Test":"TestA/two","Output":"    --- SKIP: TestA/two (0.00s)\n"}`,
		`{"Action":"skip","Package":"p","Test":"TestA/two"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p"}`)
	if !ok || !strings.HasSuffix(out, "\n1 passed, 0 failed, 1 skipped\n") {
		t.Errorf("%v\n%s", ok, out)
	}
	if !strings.Contains(out, "skipped p TestA/two: needs fuse: no /dev/fuse\n") {
		t.Error("the reason is missing:", out)
	}
}

func TestSkippedHereAndRunThere(t *testing.T) {
	once := []string{
		`{"Action":"skip","Package":"p","Test":"TestA"}`,
		`{"Action":"skip","Package":"p","Test":"TestB"}`,
		`{"Action":"pass","Package":"p"}`,
	}
	again := []string{
		`{"Action":"run","Package":"p","Test":"TestA/sub"}`,
		`{"Action":"pass","Package":"p","Test":"TestA/sub"}`,
		`{"Action":"pass","Package":"p","Test":"TestA"}`,
		`{"Action":"pass","Package":"p"}`,
	}
	for _, lines := range [][]string{append(once, again...), append(again, once...)} {
		out, ok := summary(t, lines...)
		if !ok || !strings.HasSuffix(out, "\n1 passed, 0 failed, 1 skipped\n") || !strings.Contains(out, "skipped p TestB") || strings.Contains(out, "skipped p TestA") {
			t.Errorf("%v\n%s", ok, out)
		}
	}
}

func TestFailures(t *testing.T) {
	for name, lines := range map[string][]string{
		"a test": {`{"Action":"output","Package":"p","Test":"TestA","Output":"it broke\n"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`},
		"a build": {`{"Action":"build-output","ImportPath":"p [p.test]","Output":"it broke\n"}`, `{"Action":"build-fail","ImportPath":"p [p.test]"}`,
			`{"Action":"start","Package":"p"}`, `{"Action":"fail","Package":"p"}`},
		"a crash": {`{"Action":"output","Package":"p","Test":"TestA","Output":"it broke\n"}`, `{"Action":"fail","Package":"p"}`},
		"a subtest": {`{"Action":"run","Package":"p","Test":"TestA"}`, `{"Action":"output","Package":"p","Test":"TestA/x","Output":"it broke\n"}`,
			`{"Action":"fail","Package":"p","Test":"TestA/x"}`, `{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`},
		"no ending": {`{"Action":"output","Package":"p","Output":"it broke\n"}`},
	} {
		out, ok := summary(t, lines...)
		if ok || !strings.Contains(out, "it broke\n") || !strings.HasSuffix(out, "\n0 passed, 1 failed, 0 skipped\n") {
			t.Errorf("%s: %v\n%s", name, ok, out)
		}
	}
}

func TestFailuresAreListedWithTheirCause(t *testing.T) {
	var lines []string
	for _, said := range []string{"=== RUN TestA", "    a_test.go:7: seed=3", "    a_test.go:9: this is left:", "        ./places", "        ./b", "        ./c", "        ./d", "        ./e", "--- FAIL: TestA"} {
		lines = append(lines, `{"Action":"output","Package":"p","Test":"TestA","Output":"`+said+`\n"}`)
	}
	out, _ := summary(t, append(lines, `{"Action":"fail","Package":"p","Test":"TestA"}`, `{"Action":"fail","Package":"p"}`)...)
	want := "failed p TestA\n    a_test.go:7: seed=3\n    a_test.go:9: this is left:\n    ./places\n    ./b\n    ./c\n    ./d\n0 passed, 1 failed, 0 skipped\n"
	if !strings.HasSuffix(out, want) {
		t.Errorf("%s\nwant at the end:\n%s", out, want)
	}
}

func TestNothingRan(t *testing.T) {
	if out, ok := summary(t, `{"Action":"skip","Package":"p"}`); ok || !strings.Contains(out, "no test ran") {
		t.Error(out)
	}
}
