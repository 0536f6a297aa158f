// Package gostart looks whether a way into Go's runtime leaves a program as Go's own
// does: those of rc (cmd/rc/patient) and of rc-init (userns/entry) change what the
// runtime finds while it starts.
package gostart

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// DescriptorsAreBack builds a program that is entered at entry, with the package that
// tag names in testdata/limit. While Go starts it gets no descriptor, and looks for no
// cgroup. What it has then is as if that had not been: the soft limit raised by Go, the
// child's as it came, and streams that were closed open.
func DescriptorsAreBack(t *testing.T, entry, tag string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "limit")
	build := exec.Command("go", "build", "-tags", tag, "-ldflags", "-E "+entry, "-o", program, "github.com/rc-containers/rc/tests/gostart/testdata/limit")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, c := range []struct{ shell, want string }{
		{"ulimit -Sn 300; ulimit -Hn 700; exec $0", `own 699 700; child "300\n700\n"; no cgroup`},
		{"ulimit -n 500; exec $0", `own 500 500; child "500\n500\n"; no cgroup`},
		{"ulimit -Sn 300; ulimit -Hn 700; exec $0 <&- 2>&-", `own 699 700; child "300\n700\n"; no cgroup`},
		{"ulimit -Sn 300; ulimit -Hn 700; exec 7</dev/null; exec $0", `own 699 700; child "300\n700\n"; no cgroup`},
	} {
		out, err := exec.Command("sh", "-c", c.shell, program).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != c.want {
			t.Errorf("%s: %v\n%s\nwant %s", c.shell, err, got, c.want)
		}
	}
}
