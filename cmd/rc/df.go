package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
)

type dfOptions struct {
	verbose bool
	format  string
}

func systemDfCommand() *command {
	o := &dfOptions{}
	return &command{
		name: "system df", short: "Show what takes room on the disk",
		long: "RECLAIMABLE is what prune -a would free: layers of images that no container uses,\ncontainers that do not run, volumes that no container uses. Files of several names count\n" +
			"once. rc builds no images, so its build cache is empty; downloads that broke off, which the\nnext pull goes on with, have a line of their own.",
		examples: []string{"rc system df", "rc system df -v", "rc system df --format '{{.Type}} {{.Size}}'"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.verbose, "verbose", "v", false, "show each image, container and volume")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, json, or a Go template")
		},
		run: o.run,
	}
}

// dfLine is Docker's object of a kind.
type dfLine struct{ Active, Reclaimable, Size, TotalCount, Type string }

var dfHeadings = map[string]string{"Type": "TYPE", "TotalCount": "TOTAL", "Active": "ACTIVE", "Size": "SIZE", "Reclaimable": "RECLAIMABLE"}

func (o *dfOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("system df", args); err != nil {
		return 0, err
	}
	if o.verbose && strings.HasPrefix(o.format, "table ") {
		return 0, hint.Newf("--format", "leave out -v, or write a template of .Images, .Containers and .Volumes", "with -v there is no table of one's own")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	u, err := e.DiskUsage()
	if err != nil {
		return 0, err
	}
	if o.verbose {
		return 0, o.details(g, e, u)
	}
	format := o.format
	switch format {
	case "", "table":
		format = `table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}`
	case "raw":
		format = `type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n`
	}
	f, err := g.formatted(e, format, dfHeadings)
	if err != nil {
		return 0, err
	}
	for _, line := range dfLines(u) {
		if err := f.print(line); err != nil {
			break // close knows why
		}
	}
	return 0, f.close()
}

// dfLines are the four kinds that Docker knows, and downloads where there are any.
func dfLines(u *engine.DiskUsage) []*dfLine {
	var activeImages, activeContainers, activeVolumes int
	var containers, freeContainers, volumes, freeVolumes int64
	for i := range u.Images {
		if u.Images[i].Containers > 0 {
			activeImages++
		}
	}
	for i := range u.Containers {
		c := &u.Containers[i]
		containers += c.Written
		if c.Active() {
			activeContainers++
		} else {
			freeContainers += c.Written
		}
	}
	for i := range u.Volumes {
		v := &u.Volumes[i]
		volumes += v.Bytes
		if len(v.Users) > 0 {
			activeVolumes++
		} else {
			freeVolumes += v.Bytes
		}
	}
	lines := []*dfLine{
		dfKind("Images", len(u.Images), activeImages, u.Layers, u.FreeLayers),
		dfKind("Containers", len(u.Containers), activeContainers, containers, freeContainers),
		dfKind("Local Volumes", len(u.Volumes), activeVolumes, volumes, freeVolumes),
		{Type: "Build Cache", TotalCount: "0", Active: "0", Size: "0B", Reclaimable: "0B"},
	}
	if u.Downloads > 0 {
		lines = append(lines, dfKind("Downloads", u.Downloads, 0, u.DownloadBytes, u.DownloadBytes))
	}
	return lines
}

func dfKind(kind string, total, active int, bytes, free int64) *dfLine {
	l := &dfLine{Type: kind, TotalCount: strconv.Itoa(total), Active: strconv.Itoa(active), Size: size(bytes), Reclaimable: size(free)}
	if bytes > 0 {
		l.Reclaimable += fmt.Sprintf(" (%d%%)", free*100/bytes)
	}
	return l
}

// dfImage, dfContainer and dfVolume are Docker's objects of -v.
type dfImage struct {
	Containers, CreatedAt, CreatedSince, Digest, ID, Repository, SharedSize, Size, Tag, UniqueSize string
}

type dfContainer struct {
	Command, CreatedAt, ID, Image, Labels, LocalVolumes, Names, Networks, Ports, RunningFor, Size, State, Status string
}

type dfDetails struct {
	Images     []dfImage
	Containers []dfContainer
	Volumes    []*volumeLine
	BuildCache []struct{}
}

// details prints -v.
func (o *dfOptions) details(g *global, e *engine.Engine, u *engine.DiskUsage) error {
	d := dfDetails{BuildCache: []struct{}{}, Images: []dfImage{}, Containers: []dfContainer{}, Volumes: []*volumeLine{}}
	whole := o.format != "" && o.format != "table"
	for i := range u.Images {
		d.Images = append(d.Images, dfImageOf(&u.Images[i], whole))
	}
	for i := range u.Containers {
		d.Containers = append(d.Containers, dfContainerOf(&u.Containers[i], whole))
	}
	for i := range u.Volumes {
		row := volumeRow(u.Volumes[i].VolumeEntry)
		row.Links, row.Size = strconv.Itoa(len(u.Volumes[i].Users)), size(u.Volumes[i].Bytes)
		d.Volumes = append(d.Volumes, row)
	}
	if whole {
		f, err := g.formatted(e, o.format, nil)
		if err != nil {
			return err
		}
		_ = f.print(&d) // close knows why
		return f.close()
	}
	fmt.Fprint(stdout, "Images space usage:\n\n")
	err := printRows(g, e, `{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}`,
		map[string]string{"Repository": "REPOSITORY", "Tag": "TAG", "ID": "IMAGE ID", "CreatedSince": "CREATED", "Size": "SIZE",
			"SharedSize": "SHARED SIZE", "UniqueSize": "UNIQUE SIZE", "Containers": "CONTAINERS"}, d.Images)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nContainers space usage:\n\n")
	err = printRows(g, e, `{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}`,
		map[string]string{"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "LocalVolumes": "LOCAL VOLUMES", "Size": "SIZE",
			"RunningFor": "CREATED", "Status": "STATUS", "Names": "NAMES"}, d.Containers)
	if err != nil {
		return err
	}
	fmt.Fprint(stdout, "\nLocal Volumes space usage:\n\n")
	if err := printRows(g, e, `{{.Name}}\t{{.Links}}\t{{.Size}}`, volumeHeadings, d.Volumes); err != nil {
		return err
	}
	if u.Downloads > 0 {
		fmt.Fprintf(stdout, "\nDownloads that broke off: %s in %d files\n", size(u.DownloadBytes), u.Downloads)
	}
	fmt.Fprint(stdout, "\nBuild cache usage: 0B\n")
	return nil
}

func printRows[T any](g *global, e *engine.Engine, format string, headings map[string]string, rows []T) error {
	f, err := g.formatted(e, "table "+format, headings)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := f.print(row); err != nil {
			break // close knows why
		}
	}
	return f.close()
}

func dfImageOf(img *engine.ImageUsage, whole bool) dfImage {
	row := dfImage{Containers: strconv.Itoa(img.Containers), CreatedAt: date(img.Created), CreatedSince: since(img.Created), Digest: img.Digest,
		ID: "sha256:" + img.ID, Repository: "<none>", Tag: "<none>", SharedSize: size(img.Shared), Size: size(img.Size),
		UniqueSize: size(max(img.Size-img.Shared, 0))}
	if !whole {
		row.ID = img.ID[:12]
	}
	if len(img.Names) > 0 {
		if ref, err := record.ParseRef(img.Names[0]); err == nil {
			row.Repository, row.Tag = ref.Repository(), ref.Tag
		}
	}
	return row
}

func dfContainerOf(c *engine.ContainerUsage, whole bool) dfContainer {
	command := strings.Join(c.Command, " ")
	row := dfContainer{CreatedAt: date(c.Created), ID: c.ID, Image: c.ImageName, Labels: labelsText(c.Labels), LocalVolumes: strconv.Itoa(len(c.Volumes)),
		Names: c.Name, Networks: networkNames(&c.Container), RunningFor: ago(time.Since(c.Created)) + " ago", Size: size(c.Written), State: string(c.State.Status),
		Status: status(c.Entry), Ports: portsText(c.Published())}
	if !whole {
		row.ID, command = c.ID[:12], ellipsis(command, 20)
	}
	if row.Image == "" {
		row.Image = c.Rootfs
	}
	row.Command = strconv.Quote(command)
	return row
}
