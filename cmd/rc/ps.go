package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

type psOptions struct {
	all, quiet, noTrunc bool
	format              string
}

func psCommand() *command {
	o := &psOptions{}
	return &command{
		name: "ps", short: "List containers",
		long:     "Containers that run; with -a those that have ended, too.",
		examples: []string{"rc ps", "rc ps -a", "rc ps -aq --no-trunc"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.all, "all", "a", false, "show containers that have ended, too")
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print ids only")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids and commands whole")
			fs.StringVar(&o.format, "format", "table", "print in this `FORMAT`: table, or json with one object a line")
		},
		run: o.run,
	}
}

func (o *psOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("ps", args); err != nil {
		return 0, err
	}
	if o.format != "table" && o.format != "json" {
		return 0, hint.Newf("--format "+o.format, "choose table or json", "no such format")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	list, err := e.List()
	if err != nil {
		return 0, err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	if !o.quiet && o.format == "table" {
		fmt.Fprintln(w, "CONTAINER ID\tIMAGE\tCOMMAND\tCREATED\tSTATUS\tPORTS\tNAMES")
	}
	for i := range list {
		c := &list[i]
		if !o.all && !c.Running() {
			continue
		}
		if err := o.print(w, c); err != nil {
			return 0, err
		}
	}
	return 0, w.Flush()
}

// psLine is Docker's object of `docker ps --format json`.
type psLine struct {
	ID, Image, Command, CreatedAt, State, Status, Ports, Names, Networks, Labels string
}

func (o *psOptions) print(w *tabwriter.Writer, c *engine.Entry) error {
	id, command := c.ID, strings.Join(c.Command, " ")
	if !o.noTrunc {
		id = id[:12]
		if r := []rune(command); len(r) > 20 {
			command = string(r[:19]) + "…"
		}
	}
	if o.quiet {
		_, err := fmt.Fprintln(w, id)
		return err
	}
	image := c.ImageName
	if image == "" {
		image = c.Rootfs
	}
	line := psLine{ID: id, Image: image, Command: fmt.Sprintf("%q", command), CreatedAt: c.Created.Format(time.RFC3339),
		State: string(c.State.Status), Status: status(c), Ports: portsText(c.Ports), Names: c.Name, Networks: c.Network, Labels: labelsText(c.Labels)}
	if o.format == "json" {
		return json.NewEncoder(w).Encode(line)
	}
	_, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%s\t%s\t%s\n", line.ID, line.Image, line.Command,
		ago(time.Since(c.Created)), line.Status, line.Ports, line.Names)
	return err
}

func status(c *engine.Entry) string {
	switch {
	case c.MachineID != record.MachineID():
		return "on another host"
	case c.State.Status == record.Running:
		return "Up " + ago(time.Since(c.State.Started))
	case c.State.Status == record.Created:
		return "Created"
	case c.State.ExitCode < 0:
		return "Exited (unknown) " + ago(time.Since(c.State.Finished)) + " ago"
	default:
		return fmt.Sprintf("Exited (%d) %s ago", c.State.ExitCode, ago(time.Since(c.State.Finished)))
	}
}

// ago words a duration as Docker does (go-units, HumanDuration).
func ago(d time.Duration) string {
	switch s, m, h := int(d.Seconds()), int(d.Minutes()), int(d.Hours()+0.5); {
	case s < 1:
		return "Less than a second"
	case s == 1:
		return "1 second"
	case s < 60:
		return fmt.Sprintf("%d seconds", s)
	case m == 1:
		return "About a minute"
	case m < 60:
		return fmt.Sprintf("%d minutes", m)
	case h == 1:
		return "About an hour"
	case h < 48:
		return fmt.Sprintf("%d hours", h)
	case h < 24*7*2:
		return fmt.Sprintf("%d days", h/24)
	case h < 24*30*2:
		return fmt.Sprintf("%d weeks", h/24/7)
	case h < 24*365*2:
		return fmt.Sprintf("%d months", h/24/30)
	}
	return fmt.Sprintf("%d years", int(d.Hours())/24/365)
}

func portsText(ports []slirp.Port) string {
	var parts []string
	for _, p := range ports {
		host := p.HostIP
		if host == "" {
			host = "0.0.0.0"
		}
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		parts = append(parts, fmt.Sprintf("%s:%d->%d/%s", host, p.HostPort, p.ContainerPort, p.Proto))
	}
	return strings.Join(parts, ", ")
}

func labelsText(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts) // a map's order is random
	return strings.Join(parts, ",")
}
