// Command report reads `go test -json` (one run or several, one after the
// other), prints a line for each package, every failure with its output, every
// skip with its reason, and at the end, alone on a line,
//
//	N passed, N failed, N skipped
//
// A test with subtests is counted by these. What one run skipped and another ran
// (as root, in a cgroup, in a guest) is no skip. Exit code 1 when anything failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"sort"
	"strings"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	if !r.finish() {
		os.Exit(1)
	}
}

// event is one line of test2json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output
	Test       string
	Output     string
	Elapsed    float64
}

type test struct {
	pkg, name string
	action    string
	output    []string
	parent    bool
}

// skip is a test that was skipped, and what is said of it.
type skip struct{ key, line string }

type report struct {
	out    io.Writer
	tests  map[string]*test // by package and name, of the packages that still run
	builds map[string][]string
	totals map[string]int
	skips  []skip
	ran    map[string]bool // by package and name: passed or failed, in some run
	fails  []string
}

func newReport(out io.Writer) *report {
	return &report{out: out, tests: map[string]*test{}, builds: map[string][]string{}, totals: map[string]int{}, ran: map[string]bool{}}
}

// read handles lines until the end; what is not JSON (a compiler, a registry) is
// passed through.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReaderSize(in, 1<<20)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if line[0] != '{' || json.Unmarshal([]byte(line), &e) != nil {
				_, _ = fmt.Fprint(r.out, line)
			} else {
				r.handle(e)
			}
		}
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (r *report) handle(e event) {
	if e.Action == "build-output" {
		r.builds[e.ImportPath] = append(r.builds[e.ImportPath], e.Output)
		return
	}
	if e.Package == "" {
		return
	}
	t := r.test(e.Package, e.Test)
	switch e.Action {
	case "output":
		t.output = append(t.output, e.Output)
	case "pass", "fail", "skip":
		t.action = e.Action
		if e.Test == "" {
			r.endPackage(e)
		}
	}
}

// test finds or makes one, and marks the tests above it as parents.
func (r *report) test(pkg, name string) *test {
	key := pkg + " " + name
	if r.tests[key] == nil {
		r.tests[key] = &test{pkg: pkg, name: name}
		for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
			r.test(pkg, name[:at]).parent = true
		}
	}
	return r.tests[key]
}

// endPackage counts its tests and prints what is worth reading.
func (r *report) endPackage(e event) {
	counts := map[string]int{}
	var keys []string
	for key, t := range r.tests {
		if t.pkg == e.Package && t.name != "" {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	failed := r.countTests(keys, counts)
	whole := r.tests[e.Package+" "]
	if e.Action == "fail" && failed == 0 {
		// It did not compile, or it died outside of a test.
		counts["fail"]++
		r.fail(whole, e.Package)
	}
	if len(keys) > 0 || e.Action == "fail" {
		_, _ = fmt.Fprintf(r.out, "%-4s %-52s %3d passed %d failed %d skipped  %.1f s\n", map[string]string{"pass": "ok", "fail": "FAIL", "skip": "ok"}[e.Action],
			shortName(e.Package), counts["pass"], counts["fail"], counts["skip"], e.Elapsed)
	}
	for action, n := range counts {
		r.totals[action] += n
	}
	delete(r.tests, e.Package+" ")
}

func (r *report) countTests(keys []string, counts map[string]int) (failed int) {
	defer func() {
		for _, key := range keys {
			delete(r.tests, key)
		}
	}()
	for _, key := range keys {
		t := r.tests[key]
		if t.action == "" && t.parent {
			continue // a suite that only its subtests name, or one of those did not end either
		}
		if t.action == "" {
			t.action = "fail" // it never ended: the process died in it
		}
		if t.action != "skip" {
			r.ran[key] = true
		}
		if t.parent && (t.action != "fail" || r.failedBelow(keys, t)) {
			continue
		}
		counts[t.action]++
		switch t.action {
		case "fail":
			failed++
			r.fail(t, t.pkg)
		case "skip":
			r.skips = append(r.skips, skip{key, fmt.Sprintf("skipped %s %s: %s", shortName(t.pkg), t.name, reason(t.output))})
		}
	}
	return failed
}

// failedBelow says whether a subtest of t failed: then t failed by it.
func (r *report) failedBelow(keys []string, t *test) bool {
	for _, key := range keys {
		if sub := r.tests[key]; strings.HasPrefix(sub.name, t.name+"/") && (sub.action == "fail" || sub.action == "") {
			return true
		}
	}
	return false
}

func (r *report) fail(t *test, pkg string) {
	r.fails = append(r.fails, strings.TrimSpace("failed "+shortName(pkg)+" "+t.name))
	r.fails = append(r.fails, cause(t.output)...)
	_, _ = fmt.Fprintf(r.out, "--- failed: %s %s\n", shortName(pkg), t.name)
	for path, lines := range r.builds {
		if t.name == "" && strings.HasPrefix(path, pkg) {
			_, _ = fmt.Fprint(r.out, strings.Join(lines, ""))
		}
	}
	_, _ = fmt.Fprint(r.out, strings.Join(t.output, ""))
}

// causeLines and causeBytes bound what the list at the end repeats of a failure.
const causeLines, causeBytes = 6, 300

// cause is what a failed test itself said first, without what it showed beside that:
// a guest's console is long, and the list at the end may be all that is read.
func cause(output []string) (lines []string) {
	for _, line := range output {
		text := strings.TrimSpace(line)
		if position, _, _ := strings.Cut(text, ": "); len(lines) == 0 && !said.MatchString(position) {
			continue
		}
		if len(lines) == causeLines || strings.HasPrefix(text, "--- ") {
			break
		}
		lines = append(lines, "    "+text[:min(len(text), causeBytes)])
	}
	return lines
}

// said is the position that package testing puts before what a test says.
var said = regexp.MustCompile(`^\w+_test\.go:\d+$`)

// reason is what a skipped test said last, without its position.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if line == "" || strings.HasPrefix(line, "---") || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "took ") {
			continue
		}
		if file, rest, ok := strings.Cut(line, ": "); ok && strings.Contains(file, ".go:") {
			line = rest
		}
		if line != "" && !strings.HasPrefix(line, "took ") {
			return line
		}
	}
	return "no reason given"
}

func shortName(pkg string) string { return strings.TrimPrefix(pkg, "github.com/rc-containers/rc/") }

// finish prints the lists and the closing line; false when something failed or
// nothing ran.
func (r *report) finish() bool {
	for _, t := range r.tests {
		if t.name == "" { // a package that began and never ended
			r.totals["fail"]++
			r.fail(t, t.pkg)
		}
	}
	for _, s := range r.skips {
		if r.ran[s.key] {
			r.totals["skip"]--
			continue
		}
		_, _ = fmt.Fprintln(r.out, s.line)
	}
	for _, line := range r.fails {
		_, _ = fmt.Fprintln(r.out, line)
	}
	if r.totals["pass"]+r.totals["fail"] == 0 {
		_, _ = fmt.Fprintln(r.out, "no test ran")
	}
	_, _ = fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.totals["pass"], r.totals["fail"], r.totals["skip"])
	return r.totals["fail"] == 0 && r.totals["pass"] > 0
}
