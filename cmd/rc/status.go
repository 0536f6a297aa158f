package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// up tells whether a container counts as running for Docker: a paused one and one
// that waits to be restarted do.
func up(c *engine.Entry) bool {
	switch c.State.Status {
	case record.Running, record.Paused, record.Restarting:
		return c.Alive
	}
	return false
}

// status is Docker's sentence (moby, container/state.go: String).
func status(c *engine.Entry) string {
	st := &c.State
	switch {
	case c.MachineID != record.MachineID():
		return "on another host"
	case st.Status == record.Running:
		return "Up " + ago(time.Since(st.Started)) + health(st.Health)
	case st.Status == record.Paused:
		return "Up " + ago(time.Since(st.Started)) + " (Paused)"
	case st.Status == record.Restarting:
		return fmt.Sprintf("Restarting (%d) %s ago", st.ExitCode, ago(time.Since(st.Finished)))
	case st.Status == record.Created:
		return "Created"
	case st.ExitCode < 0:
		return "Exited (unknown) " + ago(time.Since(st.Finished)) + " ago"
	default:
		return fmt.Sprintf("Exited (%d) %s ago", st.ExitCode, ago(time.Since(st.Finished)))
	}
}

func health(h *record.Health) string {
	switch {
	case h == nil || h.Status == "" || h.Status == "none":
		return ""
	case h.Status == "starting":
		return " (health: starting)"
	}
	return " (" + h.Status + ")"
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

// date is a time as Docker's lists have it, in seconds of the local zone.
func date(t time.Time) string {
	return t.Local().Truncate(time.Second).Format("2006-01-02 15:04:05 -0700 MST")
}

// portsText lists published ports as Docker does, neighbours as a range, and after
// them the ports that the image exposes and nobody published
// (docker/cli, command/formatter/container.go: DisplayablePorts).
func portsText(ports []slirp.Port, exposed ...string) string {
	sorted := slices.SortedFunc(slices.Values(ports), func(a, b slirp.Port) int {
		return cmp.Or(cmp.Compare(a.ContainerPort, b.ContainerPort), cmp.Compare(a.HostIP, b.HostIP), cmp.Compare(a.HostPort, b.HostPort), cmp.Compare(a.Proto, b.Proto))
	})
	var parts []string
	for i := 0; i < len(sorted); {
		p, n := sorted[i], 1
		for i+n < len(sorted) && follows(p, sorted[i+n], uint16(n)) {
			n++
		}
		parts = append(parts, fmt.Sprintf("%s->%s/%s", net.JoinHostPort(hostAddress(p), portRange(p.HostPort, n)), portRange(p.ContainerPort, n), p.Proto))
		i += n
	}
	for _, port := range exposed {
		if !slices.ContainsFunc(ports, func(p slirp.Port) bool { return fmt.Sprintf("%d/%s", p.ContainerPort, p.Proto) == port }) {
			parts = append(parts, port)
		}
	}
	return strings.Join(parts, ", ")
}

// follows tells whether b is n ports after a, on both sides. Host ports that are
// not chosen yet are no range.
func follows(a, b slirp.Port, n uint16) bool {
	return a.HostPort != 0 && a.HostIP == b.HostIP && a.Proto == b.Proto && b.ContainerPort == a.ContainerPort+n && b.HostPort == a.HostPort+n
}

func portRange(first uint16, n int) string {
	if n == 1 {
		return strconv.Itoa(int(first))
	}
	return fmt.Sprintf("%d-%d", first, int(first)+n-1)
}

func hostAddress(p slirp.Port) string { return cmp.Or(p.HostIP, "0.0.0.0") }

func labelsText(labels map[string]string) string {
	var parts []string
	for k, v := range labels {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts) // a map's order is random
	return strings.Join(parts, ",")
}
