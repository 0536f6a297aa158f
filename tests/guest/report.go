package guest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// A test that failed says what the guest knows: the console alone rarely tells.

// remembered is how many commands a guest remembers, and how much of what each said.
const (
	remembered = 12
	excerpt    = 1500 // bytes, of standard output and of standard error
)

// done is a command that ended.
type done struct {
	user, line string
	at         time.Time
	took       time.Duration
	result     Result // the streams' ends only, where Run collected them
}

func (d done) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s$ %s\n", d.at.Format("15:04:05.000"), d.user, d.line)
	for _, stream := range []string{d.result.Stdout, d.result.Stderr} {
		if stream != "" {
			fmt.Fprintf(&s, "    %s\n", strings.ReplaceAll(strings.TrimRight(stream, "\n"), "\n", "\n    "))
		}
	}
	fmt.Fprintf(&s, "    => exit code %d", d.result.Code)
	if d.result.Err != nil {
		fmt.Fprintf(&s, ", %v", d.result.Err)
	}
	fmt.Fprintf(&s, " after %s\n", d.took.Round(time.Millisecond))
	return s.String()
}

func (g *Guest) remember(d done) {
	d.result.Stdout, d.result.Stderr = ending(d.result.Stdout), ending(d.result.Stderr)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.history = append(g.history, d)
	if len(g.history) > remembered {
		g.history = g.history[1:]
	}
}

func ending(s string) string {
	if len(s) <= excerpt {
		return s
	}
	return "[...]" + s[len(s)-excerpt:]
}

// autopsy prints what systemd knows of failures: units that failed, of the system
// and of each user, with the end of their journals, and what was logged last.
const autopsy = `
one() { # COMMAND... FIELD
	local field=${!#} unit
	set -- "${@:1:$#-1}"
	"$@" --failed --plain --no-legend --no-pager
	for unit in $("$@" --failed --plain --no-legend --no-pager | cut -d' ' -f1); do
		echo "--- the journal of $unit:"
		journalctl --no-pager -q -b -n 25 -o short-precise "$field=$unit"
	done
}
echo "--- systemctl --failed:"
one systemctl _SYSTEMD_UNIT
for dir in /run/user/[1-9]*; do
	[ -d "$dir" ] || continue
	uid=${dir##*/}
	echo "--- systemctl --user --failed, of uid $uid:"
	one setpriv --reuid "$uid" --regid "$uid" --clear-groups env XDG_RUNTIME_DIR="$dir" systemctl --user _SYSTEMD_USER_UNIT
done
echo "--- the journal's end:"
journalctl --no-pager -q -b -n 40 -o short-precise
`

// Report returns what a reader of a failed test wants to know: the last commands
// and what they said, the units that failed with their journals, the console's end.
func (g *Guest) Report() string {
	var s strings.Builder
	g.mu.Lock()
	history, on := g.history, g.machine != nil
	g.mu.Unlock()
	s.WriteString("the last commands in the guest:\n")
	for _, d := range history {
		s.WriteString(d.String())
	}
	if on {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		r := g.Run(ctx, Root, autopsy)
		s.WriteString(r.Stdout + r.Stderr)
		if r.Err != nil {
			fmt.Fprintf(&s, "the guest does not tell more: %v\n", r.Err)
		}
	}
	s.WriteString("the guest's console:\n" + g.Console())
	return s.String()
}
