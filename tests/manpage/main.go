// Command manpage writes the man pages from what the programs say themselves:
//
//	manpage BIN DIR      (make man)
//
// so that a flag cannot be in one and not in the other. Its test fails when
// docs/man is not what the programs of $RC_BIN say.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: manpage BIN DIR")
		os.Exit(2)
	}
	pages, err := generate(os.Args[1])
	if err == nil {
		err = write(os.Args[2], pages)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manpage:", err)
		os.Exit(1)
	}
}

func write(dir string, pages map[string]string) error {
	for name, text := range pages {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate asks rc in bin for every help text and returns the pages by file name.
func generate(bin string) (map[string]string, error) {
	overview, err := help(bin)
	if err != nil {
		return nil, err
	}
	top := parse(overview)
	pages := map[string]string{"rc.1": top.page("rc") + topExtra}
	for _, c := range top.commands {
		text, err := help(bin, c[0])
		if err != nil {
			return nil, err
		}
		page := parse(text).page("rc-" + c[0])
		pages["rc-"+c[0]+".1"] = page + ".SH SEE ALSO\n.BR rc (1)\n"
	}
	return pages, nil
}

func help(bin string, command ...string) (string, error) {
	out, err := exec.Command(filepath.Join(bin, "rc"), append(command, "--help")...).Output()
	if err != nil {
		return "", fmt.Errorf("rc %s --help: %w", strings.Join(command, " "), err)
	}
	return string(out), nil
}

// text is a help text in parts.
type text struct {
	short      string // first line, without its full stop
	usage      string
	paragraphs []string
	exit       string // the paragraph on exit codes
	examples   []string
	commands   [][2]string
	flags      [][2]string
}

var (
	commandLine = regexp.MustCompile(`^  (\S+) +(.*)$`)
	// A flag's usage stands two or more blanks after its names and its value.
	flagLine = regexp.MustCompile(`^ +((?:-\w, )?--\S+(?: \S+)?) {2,}(.*)$`)
)

// parse takes the layout that all help texts of rc share apart.
func parse(help string) *text {
	t := &text{}
	section := ""
	for i, block := range strings.Split(strings.TrimSpace(help), "\n\n") {
		lines := strings.Split(block, "\n")
		switch {
		case i == 0:
			t.short = strings.TrimSuffix(lines[0], ".")
			continue
		case strings.HasPrefix(block, "Usage: "):
			t.usage = strings.TrimPrefix(block, "Usage: ")
			continue
		}
		if strings.HasSuffix(lines[0], ":") && len(lines) > 1 && strings.HasPrefix(lines[1], " ") {
			section, lines = strings.TrimSuffix(lines[0], ":"), lines[1:]
		} else if !strings.HasPrefix(block, " ") {
			section = ""
		}
		t.add(section, block, lines)
	}
	return t
}

func (t *text) add(section, block string, lines []string) {
	switch section {
	case "Examples":
		for _, l := range lines {
			t.examples = append(t.examples, strings.TrimSpace(l))
		}
	case "Commands":
		for _, l := range lines {
			if m := commandLine.FindStringSubmatch(l); m != nil {
				t.commands = append(t.commands, [2]string{m[1], m[2]})
			}
		}
	case "Flags":
		for _, l := range lines {
			if m := flagLine.FindStringSubmatch(l); m != nil {
				t.flags = append(t.flags, [2]string{m[1], m[2]})
			}
		}
	default:
		if strings.HasPrefix(block, "Exit code") {
			t.exit = block
		} else {
			t.paragraphs = append(t.paragraphs, block)
		}
	}
}

// page writes the parts in man(7).
func (t *text) page(name string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	p(".\\\" Made from `%s --help` by tests/manpage (make man).\n", strings.Replace(name, "-", " ", 1))
	p(".TH %s 1 \"\" rc \"rc manual\"\n.SH NAME\n%s \\- %s\n", strings.ToUpper(name), roff(name), roff(lower(strings.TrimPrefix(t.short, "rc "))))
	p(".SH SYNOPSIS\n.B %s\n", roff(t.usage))
	if len(t.paragraphs) > 0 {
		p(".SH DESCRIPTION\n%s\n", roff(strings.Join(t.paragraphs, "\n.PP\n")))
	}
	if len(t.commands) > 0 {
		p(".SH COMMANDS\n")
		for _, c := range t.commands {
			p(".TP\n.BR rc\\-%s (1)\n%s\n", roff(c[0]), roff(c[1]))
		}
	}
	p(".SH OPTIONS\n")
	for _, f := range t.flags {
		p(".TP\n.B %s\n%s\n", roff(f[0]), roff(f[1]))
	}
	if t.exit != "" {
		p(".SH EXIT STATUS\n%s\n", roff(t.exit))
	}
	if len(t.examples) > 0 {
		p(".SH EXAMPLES\n.nf\n%s\n.fi\n", roff(strings.Join(t.examples, "\n")))
	}
	return b.String()
}

// roff guards what troff would take for its own: backslashes, hyphens that are
// typed, and a dot or a quote at a line's beginning (groff_man_style(7)).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", `\[u2026]`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if l != ".PP" && (strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'")) {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func lower(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// topExtra is what rc(1) has and no help text.
const topExtra = `.SH ENVIRONMENT
.TP
.B RC_ROOT
the state folder, where \-\-root does not say
.TP
.B RC_STORAGE_DRIVER
overlay, fuse\-overlayfs or copy, where \-\-storage\-driver does not say
.TP
.B CONTAINERS_REGISTRIES_CONF
the file to read instead of registries.conf
.TP
.B REGISTRY_AUTH_FILE
the file that login writes and pulls read, instead of auth.json
.SH FILES
.TP
.I /etc/subuid, /etc/subgid
the ranges of subordinate ids, see
.BR subuid (5)
.TP
.I ~/.local/share/rc
images, containers and volumes
.TP
.I ~/.config/containers/registries.conf, /etc/containers/registries.conf
registries and mirrors, see containers\-registries.conf(5)
.TP
.I $XDG_RUNTIME_DIR/containers/auth.json, ~/.docker/config.json
accounts at registries
.SH SEE ALSO
.BR rc\-run (1),
.BR rc\-info (1),
.BR user_namespaces (7),
.BR newuidmap (1),
.BR slirp4netns (1)
`
