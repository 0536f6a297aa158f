package engine

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/hint"
)

// UnitOptions are the flags of `rc generate systemd`, podman's.
type UnitOptions struct {
	New          bool // the unit makes the container at its start and removes it at its end
	Name         bool // the unit is called by the container's name, not by its id
	Prefix, Sep  string
	Restart      string // Restart=
	RestartSec   int
	StartTimeout int  // seconds; 0: the manager's default
	StopTimeout  *int // seconds from the stop signal to SIGKILL; nil: the container's own
	NoHeader     bool
	Environment  []string
	Wants        []string
	After        []string
	Requires     []string
}

// restarts are the values of Restart=, systemd.service(5).
var restarts = []string{"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"}

// notInUnits are flags of `rc run` that a unit replaces or that need a terminal.
var notInUnits = []string{"detach", "rm", "replace", "name", "restart", "cidfile", "interactive", "detach-keys", "sig-proxy", "stop-timeout", "pidfile", "conmon-pidfile"}

// killTime is what systemd waits longer than rc does before it kills everything.
const killTime = time.Minute

// UnitFile makes the unit of a container. name ends with .service. note is what its
// user should know, "" for nothing.
func (e *Engine) UnitFile(ref string, o *UnitOptions) (name, text, note string, err error) {
	if !slices.Contains(restarts, o.Restart) {
		return "", "", "", hint.Newf("--restart-policy "+o.Restart, "choose one of "+strings.Join(restarts, ", "), "no such policy")
	}
	op := "generate a unit of container " + ref
	entry, err := e.find(ref, op)
	if err != nil {
		return "", "", "", err
	}
	switch {
	case entry.AutoRemove && !o.New:
		return "", "", "", hint.Newf(op, "let the unit make it: --new", "it is removed when it ends (--rm)")
	case o.New && len(entry.CreateCommand) == 0:
		return "", "", "", hint.Newf(op, "leave out --new, or make it again with `rc create`", "it was made by a version of rc that did not keep its command line")
	}
	if entry.Restart.Name != "" && !o.New {
		note = "systemd will supervise it: take its own policy away: rc update --restart no " + entry.Name
	}
	called := entry.ID
	if o.Name {
		called = entry.Name
	}
	if name = called + ".service"; o.Prefix != "" {
		name = o.Prefix + o.Sep + name
	}
	rc, err := os.Executable()
	if err != nil {
		return "", "", "", hint.New(op, err, "")
	}
	return name, (&unitFile{entry, o, rc, e.Store.Root, os.Getuid() == 0}).text(name), note, nil
}

type unitFile struct {
	c       *Entry
	o       *UnitOptions
	rc      string // path of this program
	root    string // of its state
	ofHosts bool   // a unit of the system's manager: it knows the network's targets
}

func (u *unitFile) text(name string) string {
	var b strings.Builder
	line := func(key string, values ...string) {
		if len(values) > 0 {
			fmt.Fprintf(&b, "%s=%s\n", key, strings.Join(values, " "))
		}
	}
	if !u.o.NoHeader {
		fmt.Fprintf(&b, "# %s, written by `rc generate systemd`.\n\n", name)
	}
	b.WriteString("[Unit]\n")
	line("Description", "Container "+specifier(u.c.Name)+" of rc")
	line("RequiresMountsFor", unitQuote(u.root))
	wants, after := u.o.Wants, u.o.After
	if u.ofHosts {
		wants, after = append([]string{"network-online.target"}, wants...), append([]string{"network-online.target"}, after...)
	}
	line("Wants", wants...)
	line("Requires", u.o.Requires...)
	line("After", after...)
	b.WriteString("\n[Service]\n")
	for _, kv := range u.o.Environment {
		line("Environment", unitQuote(kv))
	}
	line("Type", "notify")
	line("Delegate", "yes")
	line("Restart", u.o.Restart)
	if u.o.RestartSec > 0 {
		line("RestartSec", strconv.Itoa(u.o.RestartSec))
	}
	u.times(line)
	// Of the processes in the unit only rc is asked to end; it asks the container in
	// the container's own way.
	line("KillMode", "mixed")
	line("SuccessExitStatus", strconv.Itoa(128+u.c.StopSignal))
	u.exec(line)
	b.WriteString("\n[Install]\n")
	line("WantedBy", "default.target")
	return b.String()
}

func (u *unitFile) times(line func(string, ...string)) {
	switch {
	case u.o.StartTimeout > 0:
		line("TimeoutStartSec", strconv.Itoa(u.o.StartTimeout))
	case u.o.New: // an image may have to come over the network
		line("TimeoutStartSec", "900")
	}
	stop := u.c.StopAfter
	if u.o.StopTimeout != nil {
		stop = time.Duration(*u.o.StopTimeout) * time.Second
	}
	if stop < 0 {
		line("TimeoutStopSec", "infinity")
		return
	}
	line("TimeoutStopSec", strconv.Itoa(int((stop+killTime)/time.Second)))
}

func (u *unitFile) exec(line func(string, ...string)) {
	words := []string{u.rc, "--root", u.root}
	if !u.o.New {
		line("ExecStart", quotedWords(append(words, "start", "--attach", u.c.Name))...)
		if u.o.StopTimeout != nil {
			line("ExecStop", quotedWords([]string{u.rc, "--root", u.root, "stop", "--timeout", strconv.Itoa(*u.o.StopTimeout), u.c.Name})...)
		}
		return
	}
	run := append(words, "run", "--rm", "--replace", "--name="+u.c.Name)
	stop := int(u.c.StopAfter / time.Second)
	if u.o.StopTimeout != nil {
		stop = *u.o.StopTimeout
	}
	run = append(run, "--stop-timeout="+strconv.Itoa(stop))
	if !slices.ContainsFunc(u.c.CreateCommand, func(w string) bool { return strings.HasPrefix(w, "--cgroups=") }) {
		run = append(run, "--cgroups=split") // in the unit, or not at all
	}
	flags := true
	for _, word := range u.c.CreateCommand {
		flag, _, _ := strings.Cut(strings.TrimPrefix(word, "--"), "=")
		if flags = flags && strings.HasPrefix(word, "--"); flags && slices.Contains(notInUnits, flag) {
			continue
		}
		run = append(run, word)
	}
	if u.c.CreateFolder != "" && slices.ContainsFunc(u.c.CreateCommand, relative) {
		line("WorkingDirectory", specifier(u.c.CreateFolder))
	}
	line("ExecStart", quotedWords(run)...)
}

// relative tells whether a flag names a file below the folder in which it was typed.
func relative(word string) bool {
	flag, value, ok := strings.Cut(word, "=")
	if !ok || !strings.HasPrefix(flag, "--") {
		return false
	}
	file := flag == "--env-file" || flag == "--label-file" || flag == "--rootfs"
	return strings.HasPrefix(value, ".") || file && !filepath.IsAbs(value)
}

// specifier writes a value that is no command line: % alone is special.
func specifier(s string) string { return strings.ReplaceAll(s, "%", "%%") }

func quotedWords(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsFunc(w, special) {
			out[i] = strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(unitQuote(w))
		}
	}
	return out
}

// special tells which characters make a word of a command line need quotes.
func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,+@", r))
}
