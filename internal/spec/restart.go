package spec

import (
	"strconv"
	"strings"

	"github.com/rc-containers/rc/internal/record"
)

// ParseRestart reads a restart policy as Docker writes it (docker/cli,
// opts/parse.go, ParseRestartPolicy; moby, container.ValidateRestartPolicy): no,
// always, unless-stopped or on-failure[:MAX]. "" is no.
func ParseRestart(s string) (record.RestartPolicy, error) {
	name, max, counted := strings.Cut(s, ":")
	p := record.RestartPolicy{Name: name}
	const choice = "choose no, always, unless-stopped or on-failure[:MAX]"
	switch name {
	case "", "no":
		p.Name = ""
	case "always", "unless-stopped", "on-failure":
	default:
		return p, refuse("--restart", s, choice, "no such policy")
	}
	if !counted {
		return p, nil
	}
	if name != "on-failure" {
		return p, refuse("--restart", s, choice, "only on-failure takes a number of restarts")
	}
	n, err := strconv.Atoi(max)
	if err != nil || n < 0 {
		return p, refuse("--restart", s, "write it as in on-failure:5", "%s is no number of restarts", quoted(max))
	}
	p.Max = n
	return p, nil
}

// restart reads --restart, which Docker refuses beside --rm.
func (b *builder) restart() error {
	p, err := ParseRestart(b.o.Restart)
	if err != nil {
		return err
	}
	if p.Name != "" && b.o.Remove {
		return refuse("--restart", b.o.Restart, "leave out one of the two", "it conflicts with --rm")
	}
	b.plan.Restart = p
	return nil
}
