package engine

import (
	"bytes"
	"errors"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// Top is ps(1) of the host with the options given, of a container's processes: a
// row of headings and one a process.
func (e *Engine) Top(c *Entry, options []string) ([][]string, error) {
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	if err := checkTop(options); err != nil {
		return nil, err
	}
	path, err := exec.LookPath("ps")
	if err != nil {
		return nil, hint.New("run ps", err, "install procps").WithCode(1)
	}
	pids, err := e.PIDs(c)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, pid := range pids {
		list = append(list, strconv.Itoa(pid))
	}
	// As Docker: only these, or where that goes not together with an option, all.
	out, err := exec.Command(path, append(slices.Clone(options), "-q"+strings.Join(list, ","))...).Output()
	if err != nil || len(list) == 0 {
		if out, err = exec.Command(path, options...).Output(); err != nil {
			return nil, psFailed(options, err)
		}
	}
	return filterTop(string(out), pids)
}

func psFailed(options []string, err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if line, _, _ := bytes.Cut(bytes.TrimSpace(exit.Stderr), []byte{'\n'}); len(line) > 0 {
			err = errors.New(string(line))
		}
	}
	return hint.New("ps "+strings.Join(options, " "), err, "see ps(1)").WithCode(1)
}

// checkTop refuses a column that would be taken for PID (moby, daemon/top_unix.go).
func checkTop(options []string) error {
	renamed := regexp.MustCompile(`\s+([^\s]*)=\s*(PID[^\s]*)`) // here: a variable would cost every start 70 µs
	for _, m := range renamed.FindAllStringSubmatch(strings.Join(options, " "), -1) {
		if m[1] != "pid" {
			return hint.Newf("rc top", "leave the column PID as it is", "specifying %q is not allowed", m[1]+"="+m[2]).WithCode(1)
		}
	}
	return nil
}

// filterTop keeps the rows whose PID is one of pids, and rows of threads ("-")
// below one. The last column holds what is left of the line.
func filterTop(out string, pids []int) ([][]string, error) {
	lines := strings.Split(out, "\n")
	head := strings.Fields(lines[0])
	at := slices.Index(head, "PID")
	if at < 0 {
		return nil, hint.Newf("rc top", "add the column: -o pid,...", "there is no PID in the output of ps").WithCode(1)
	}
	table := [][]string{head}
	inside := false
	for _, line := range lines[1:] {
		f := strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("\t\n\f\r ", r) })
		if len(f) < len(head) {
			if len(f) <= at {
				continue
			}
			f = append(f, make([]string, len(head)-len(f))...) // an empty last column
		}
		if f[at] != "-" {
			pid, err := strconv.Atoi(f[at])
			if err != nil {
				return nil, hint.Newf("rc top", "see ps(1)", "ps says %q where a process id should be", f[at]).WithCode(1)
			}
			inside = slices.Contains(pids, pid)
		}
		if inside {
			last := len(head) - 1
			table = append(table, append(f[:last:last], strings.Join(f[last:], " ")))
		}
	}
	return table, nil
}
