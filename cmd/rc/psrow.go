package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/rc-containers/rc/internal/engine"
)

// psLine is Docker's object of `docker ps --format json`.
type psLine struct {
	Command, CreatedAt, ID, Image, Labels, LocalVolumes, Mounts, Names, Networks, Ports, RunningFor, Size, State, Status string

	all map[string]string
}

func (l *psLine) labels() map[string]string { return l.all }

// psRow is one container of the list, whose fields are worked out when they are asked
// for: of 300 containers' 14 fields a table shows the half.
type psRow struct {
	o    *psOptions
	c    *engine.Entry
	size string
}

// field is one of psLine's.
func (r *psRow) field(name string) (string, bool) {
	c := r.c
	switch name {
	case "Command":
		return strconv.Quote(r.short(strings.Join(c.Command, " "), 20)), true
	case "CreatedAt":
		return date(c.Created), true
	case "ID":
		if r.o.noTrunc {
			return c.ID, true
		}
		return c.ID[:12], true
	case "Image":
		return r.o.shown.imageText(c, r.o.noTrunc), true
	case "Labels":
		return labelsText(c.Labels), true
	case "LocalVolumes":
		if r.o.mounts {
			return strconv.Itoa(len(c.Volumes)), true
		}
		return "", true
	case "Mounts":
		return r.mounts(), true
	case "Names":
		return c.Name, true
	case "Networks":
		return networkNames(&c.Container), true
	case "Ports":
		return r.o.shown.portsOf(c), true
	case "RunningFor":
		return ago(time.Since(c.Created)) + " ago", true
	case "Size":
		return r.size, true
	case "State":
		return string(c.State.Status), true
	case "Status":
		return status(c), true
	}
	return "", false
}

// object is the whole row, for JSON and for templates that are more than fields.
func (r *psRow) object() any {
	text := func(name string) string {
		s, _ := r.field(name)
		return s
	}
	return &psLine{
		Command: text("Command"), CreatedAt: text("CreatedAt"), ID: text("ID"), Image: text("Image"), Labels: text("Labels"),
		LocalVolumes: text("LocalVolumes"), Mounts: text("Mounts"), Names: text("Names"), Networks: text("Networks"), Ports: text("Ports"),
		RunningFor: text("RunningFor"), Size: text("Size"), State: text("State"), Status: text("Status"), all: r.c.Labels,
	}
}

func (r *psRow) mounts() string {
	if !r.o.mounts {
		return ""
	}
	var names []string
	for _, m := range r.o.shown.mounts(r.c) {
		names = append(names, r.short(cmp.Or(m.Name, m.Source), 15))
	}
	return strings.Join(names, ",")
}

// short cuts a text to n characters unless all of it is wanted.
func (r *psRow) short(s string, n int) string {
	if r.o.noTrunc {
		return s
	}
	return ellipsis(s, n)
}
