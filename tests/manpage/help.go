package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// help is what a command's --help says. Every command says it in this order:
//
//	SHORT.
//
//	Usage: rc NAME [FLAGS] ARGS
//
//	LONG                    (any paragraphs, or none; one may begin with "Exit code: ")
//
//	Examples:               (may be missing)
//	  LINE
//
//	Flags:
//	  -x, --flag VALUE      TEXT
type help struct {
	name     string // "" for rc itself; two words for a verb of a group
	short    string
	usage    string
	long     string
	exit     string // the paragraph on exit codes
	examples []string
	list     [][2]string // of rc itself: the commands and their short texts
	flags    []flag
}

type flag struct {
	short, name, value, text string // "-e", "--env", "KEY[=VALUE]", …
}

// page is the name of the command's manual page.
func (h *help) page() string {
	if h.name == "" {
		return "rc"
	}
	return "rc-" + strings.ReplaceAll(h.name, " ", "-")
}

// readHelp asks rc in the folder bin about itself and each of its commands.
func readHelp(bin string) (overview *help, commands []*help, err error) {
	rc := filepath.Join(bin, "rc")
	if overview, err = ask(rc, ""); err != nil {
		return nil, nil, err
	}
	for _, c := range overview.list {
		h, err := ask(rc, c[0])
		if err != nil {
			return nil, nil, err
		}
		if h.short != c[1] {
			return nil, nil, fmt.Errorf("rc --help says %q of %s, rc %s --help says %q", c[1], c[0], c[0], h.short)
		}
		commands = append(commands, h)
	}
	return overview, commands, nil
}

func ask(rc, name string) (*help, error) {
	args := []string{"--help"}
	if name != "" {
		args = append(strings.Fields(name), "--help")
	}
	out, err := exec.Command(rc, args...).Output()
	if err != nil {
		return nil, fmt.Errorf("rc %s: %w", strings.Join(args, " "), err)
	}
	h, err := parseHelp(name, string(out))
	if err != nil {
		return nil, fmt.Errorf("rc %s: %w", strings.Join(args, " "), err)
	}
	return h, nil
}

// Two spaces or more end the left column. A value's name has one only after a comma.
var flagLine = regexp.MustCompile(`^  (?:(-[a-zA-Z]), |    )(--[a-z][a-z0-9-]*)(?: (\S+(?:, \S+)*))? {2,}(\S.*)$`)

// parseHelp is strict: a heading that is unknown or out of order is an error, so
// that rc and rc-image cannot drift apart.
func parseHelp(name, text string) (*help, error) {
	h := &help{name: name}
	blocks := strings.Split(strings.TrimSpace(text), "\n\n")
	if len(blocks) < 3 || !strings.HasSuffix(blocks[0], ".") || !strings.HasPrefix(blocks[1], "Usage: rc ") {
		return nil, fmt.Errorf("it does not begin with what it does and with Usage")
	}
	h.short, h.usage = strings.TrimSuffix(blocks[0], "."), strings.TrimPrefix(blocks[1], "Usage: ")
	order := []string{"", "Examples:", "Commands:", "Flags:"}
	at := 0
	for _, b := range blocks[2:] {
		heading, body, _ := strings.Cut(b, "\n")
		step := 0
		for i, o := range order[1:] {
			if heading == o {
				step = i + 1
			}
		}
		if at == 3 { // only rc itself says one thing more
			if name != "" {
				return nil, fmt.Errorf("%q comes after the flags", b)
			}
			break
		}
		if step <= at && (step > 0 || at > 0) {
			return nil, fmt.Errorf("%q comes after %q", heading, order[at])
		}
		at = step
		if err := h.block(step, b, body); err != nil {
			return nil, err
		}
	}
	if len(h.flags) == 0 {
		return nil, fmt.Errorf("it has no flags")
	}
	return h, nil
}

// block takes one block of the kind that step names.
func (h *help) block(step int, whole, body string) error {
	if step == 0 && strings.HasPrefix(whole, "Exit code: ") {
		h.exit = whole
		return nil
	}
	if step == 0 {
		h.long = strings.TrimSpace(h.long + "\n\n" + whole)
		return nil
	}
	for line := range strings.SplitSeq(body, "\n") {
		switch step {
		case 1:
			h.examples = append(h.examples, strings.TrimSpace(line))
		case 2:
			command, short, _ := strings.Cut(strings.TrimSpace(line), "  ")
			h.list = append(h.list, [2]string{command, strings.TrimSpace(short)})
		case 3:
			m := flagLine.FindStringSubmatch(line)
			if m == nil {
				return fmt.Errorf("%q is no line of a flag", line)
			}
			h.flags = append(h.flags, flag{m[1], m[2], m[3], m[4]})
		}
	}
	return nil
}
