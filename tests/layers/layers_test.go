package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const tags = "osusergo,netgo,exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper,containers_image_openpgp"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	GoFiles    []string
	CgoFiles   []string
}

// list runs go list on this module; the tags and CGO_ENABLED are those of the Makefile.
func list(t *testing.T, cgo string, patterns ...string) []pkg {
	t.Helper()
	args := append([]string{"list", "-json=ImportPath,Imports,Deps,GoFiles,CgoFiles", "-tags", tags}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	var errout bytes.Buffer
	cmd.Stderr = &errout
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, errout.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// Each package imports only what the table gives it.
func TestImportsGoDownward(t *testing.T) {
	for _, p := range list(t, "1", "./...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(name, "tests/") || len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue
		}
		may, known := allowed[name]
		if slices.Contains(leaves, name) {
			known = true
		}
		if !known {
			t.Errorf("%s is not in the table of tests/layers/layers.go: say there who it may import", name)
			continue
		}
		for _, i := range p.Imports {
			i, ours := strings.CutPrefix(i, module)
			if ours && !slices.Contains(may, i) && !slices.Contains(leaves, i) {
				t.Errorf("%s imports %s, which its layer may not (tests/layers/layers.go)", name, i)
			}
			if ours && strings.HasPrefix(i, "tests/") {
				t.Errorf("%s imports test code: %s", name, i)
			}
		}
	}
}

// No program links what would cost it time at each start or widen what it trusts.
func TestProgramsStaySmall(t *testing.T) {
	for _, program := range []string{"cmd/rc", "cmd/rc-init", "cmd/rc-net", "cmd/rc-image"} {
		cgo := "1"
		if program == "cmd/rc" {
			cgo = "0"
		}
		for _, p := range list(t, cgo, "./"+program) {
			for _, dep := range p.Deps {
				for _, f := range forbidden[program] {
					if matches(dep, f) {
						t.Errorf("%s links %s: find the import by `go mod why -vendor %s` or `go list -deps`", program, dep, dep)
					}
				}
				for prefix, owner := range onlyIn {
					if strings.HasPrefix(dep, prefix) && owner != program {
						t.Errorf("%s links %s: only %s may", program, dep, owner)
					}
				}
			}
		}
	}
}

func matches(dep, rule string) bool {
	if exact, ok := strings.CutPrefix(rule, "="); ok {
		return dep == exact
	}
	return strings.HasPrefix(dep, rule)
}
