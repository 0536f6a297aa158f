package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestRepeatCounts(t *testing.T) {
	r := repeat(50*time.Millisecond, []string{"true"}, 0)
	if r.Starts < 1 || r.Failed != 0 || r.Took < 50*time.Millisecond {
		t.Errorf("%+v", r)
	}
}

func TestFailuresEndItAndAreTold(t *testing.T) {
	r := repeat(10*time.Second, []string{"sh", "-c", "echo no such image >&2; exit 125"}, 0)
	if r.Starts != 0 || r.Failed != enough || !strings.Contains(r.Failure, "no such image") || !strings.Contains(r.Failure, "125") {
		t.Errorf("%+v", r)
	}
	if r := repeat(time.Second, []string{"no-such-program"}, 0); r.Failed != 1 || r.Failure == "" {
		t.Errorf("%+v", r)
	}
}

func TestClone(t *testing.T) {
	if out, err := exec.Command("unshare", "--user", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("no user namespaces here: %s", out)
	}
	if r := repeat(30*time.Millisecond, []string{"true"}, namespaces); r.Starts < 1 || r.Failed != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRunPrintsJSON(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"20ms", "true"}, &out); err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Starts < 1 {
		t.Errorf("%s, %v", out.Bytes(), err)
	}
	for _, args := range [][]string{nil, {"1s"}, {"-clone", "1s"}, {"soon", "true"}} {
		if err := run(args, &out); err == nil {
			t.Errorf("no error for %q", args)
		}
	}
}
