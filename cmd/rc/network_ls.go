package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

func isNoNetwork(err error) bool { return errors.Is(err, record.ErrNoNetwork) }

type networkLsOptions struct {
	quiet, noTrunc bool
	format         string
	filter         filters
}

// networkLine is Docker's object of `docker network ls --format json`.
type networkLine struct {
	CreatedAt, Driver, ID, IPv4, IPv6, Internal, Labels, Name, Scope string

	all map[string]string
}

func (l *networkLine) labels() map[string]string { return l.all }

// networkHeadings are Docker's (docker/cli, command/network/formatter.go).
var networkHeadings = map[string]string{"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
	"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT"}

func networkLsCommand() *command {
	o := &networkLsOptions{}
	return &command{
		name: "network ls", aliases: []string{"network list"}, short: "List networks",
		long: "bridge is the one that containers are on whose user names none; host and none are\nthose of --network host and none.\n\n" +
			"The filters are dangling=true|false (no container is on it), driver=NAME, id=PART,\nlabel=KEY[=VALUE], name=REGEXP, scope=local, type=custom|builtin and until=TIME.",
		examples: []string{"rc network ls", "rc network ls -q -f type=custom", "rc network ls --format '{{.Name}}: {{.Internal}}'"},
		flags: func(fs *pflag.FlagSet) {
			fs.BoolVarP(&o.quiet, "quiet", "q", false, "print ids only")
			fs.BoolVar(&o.noTrunc, "no-trunc", false, "print ids whole")
			fs.VarP(&o.filter, "filter", "f", "show those that pass this filter: `KEY=VALUE`")
			fs.StringVar(&o.format, "format", "", "print in this `FORMAT`: table, json, or a Go template")
		},
		run: o.run,
	}
}

func (o *networkLsOptions) template() string {
	switch {
	case o.quiet && (o.format == "" || o.format == "table"):
		return "{{.ID}}"
	case o.quiet && o.format == "raw":
		return "network_id: {{.ID}}"
	case o.format == "" || o.format == "table":
		return `table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`
	case o.format == "raw":
		return `network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n`
	}
	return o.format
}

func (o *networkLsOptions) run(g *global, args []string) (int, error) {
	if err := noArgs("network ls", args); err != nil {
		return 0, err
	}
	passes, err := o.filter.networks()
	if err != nil {
		return 0, err
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	list, err := e.Networks()
	if err != nil {
		return 0, err
	}
	f, err := g.formatted(e, o.template(), networkHeadings)
	if err != nil {
		return 0, err
	}
	for _, n := range list {
		if !passes(n) {
			continue
		}
		if err := f.print(networkRow(n, o.noTrunc)); err != nil {
			break // close knows why
		}
	}
	return 0, f.close()
}

func networkRow(n *engine.NetworkEntry, whole bool) *networkLine {
	id := n.ID
	if !whole {
		id = id[:12]
	}
	return &networkLine{CreatedAt: date(n.CreatedAt), Driver: n.Driver, ID: id, IPv4: strconv.FormatBool(subnetOf(n, true) != nil || !bridged(n)),
		IPv6: strconv.FormatBool(subnetOf(n, false) != nil), Internal: strconv.FormatBool(n.Internal), Labels: labelsText(n.Labels),
		Name: n.Name, Scope: "local", all: n.Labels}
}

func bridged(n *engine.NetworkEntry) bool { return n.Driver == slirp.DriverBridge }

// subnetOf is the subnet of IPv4, or of IPv6; nil for none.
func subnetOf(n *engine.NetworkEntry, v4 bool) *slirp.Subnet {
	for i := range n.Subnets {
		if n.Subnets[i].Prefix.Addr().Is4() == v4 {
			return &n.Subnets[i]
		}
	}
	return nil
}

// networks makes the test of the filters of `network ls`: values of one key are
// alternatives but for labels (moby, daemon/network/filter.go).
func (f *filters) networks() (func(*engine.NetworkEntry) bool, error) {
	keys := []string{"dangling", "driver", "id", "label", "label!", "name", "scope", "type", "until"}
	for _, key := range f.keys {
		if !slices.Contains(keys, key) {
			return nil, unknownFilter(key, strings.Join(keys, ", "))
		}
	}
	for key, words := range map[string][]string{"dangling": {"true", "1", "false", "0"}, "type": {"custom", "builtin"}, "scope": {"local", "swarm", "global"}} {
		for _, v := range f.values[key] {
			if !slices.Contains(words, v) {
				return nil, invalid(key, v, strings.Join(words, ", "))
			}
		}
	}
	spare, err := (&pruneOptions{filter: filters{keys: slices.DeleteFunc(slices.Clone(f.keys), func(k string) bool { return k != "until" }), values: f.values}}).spared()
	if err != nil {
		return nil, err
	}
	var names []*regexp.Regexp
	for _, v := range f.values["name"] {
		names = append(names, nameExpression(v, regexp.QuoteMeta(v)))
	}
	any := func(key string, is func(string) bool) bool {
		return !f.names(key) || slices.ContainsFunc(f.values[key], is)
	}
	return func(n *engine.NetworkEntry) bool {
		custom := bridged(n) && n.Name != slirp.DefaultNetwork
		return any("dangling", func(t string) bool { return (t == "true" || t == "1") == (custom && len(n.Users) == 0) }) &&
			any("driver", func(t string) bool { return t == n.Driver }) &&
			any("id", func(t string) bool { return strings.Contains(n.ID, t) }) &&
			(len(names) == 0 || slices.ContainsFunc(names, func(r *regexp.Regexp) bool { return r.MatchString(n.Name) })) &&
			any("scope", func(t string) bool { return t == "local" }) &&
			any("type", func(t string) bool { return (t == "custom") == custom }) &&
			(spare.Until.IsZero() || n.CreatedAt.Before(spare.Until)) && f.labelled(n.Labels)
	}, nil
}

// networkDetail has the fields of `docker network inspect`.
type networkDetail struct {
	Name       string
	ID         string `json:"Id"`
	Created    string
	Scope      string
	Driver     string
	EnableIPv4 bool
	EnableIPv6 bool
	IPAM       ipamView
	Internal   bool
	Attachable bool
	Ingress    bool
	ConfigFrom struct{ Network string }
	ConfigOnly bool
	Containers map[string]memberView
	Options    map[string]string
	Labels     map[string]string
	DNSEnabled bool // rc's own
}

type ipamView struct {
	Driver  string
	Options map[string]string
	Config  []ipamConfig
}

type ipamConfig struct {
	Subnet  string
	IPRange string `json:",omitempty"`
	Gateway string
}

// memberView is a container that runs; Name and the addresses are Docker's.
type memberView struct {
	Name        string
	EndpointID  string
	MacAddress  string
	IPv4Address string // with the bits of the subnet
	IPv6Address string
	Interfaces  []string // rc's own: its name inside
}

func inspectNetwork(n *engine.NetworkEntry) *networkDetail {
	d := &networkDetail{Name: n.Name, ID: n.ID, Created: n.CreatedAt.Format(time.RFC3339Nano), Scope: "local", Driver: n.Driver,
		EnableIPv4: subnetOf(n, true) != nil || !bridged(n), EnableIPv6: subnetOf(n, false) != nil, Internal: n.Internal, DNSEnabled: bridged(n) && !n.NoDNS,
		IPAM: ipamView{Driver: "default", Options: map[string]string{}, Config: []ipamConfig{}}, Containers: map[string]memberView{},
		Options: map[string]string{}, Labels: map[string]string{}}
	for _, s := range n.Subnets {
		c := ipamConfig{Subnet: s.Prefix.String(), Gateway: s.Gateway.String()}
		if s.Range.IsValid() {
			c.IPRange = s.Range.String()
		}
		d.IPAM.Config = append(d.IPAM.Config, c)
	}
	for k, v := range n.Options {
		d.Options[k] = v
	}
	for k, v := range n.Labels {
		d.Labels[k] = v
	}
	for _, u := range n.Users {
		switch {
		case u.Now != nil:
			m := memberView{Name: u.Name, EndpointID: u.EndpointID, MacAddress: u.Now.MAC, Interfaces: []string{u.Now.Interface}}
			if u.Now.IP.IsValid() {
				m.IPv4Address = fmt.Sprintf("%s/%d", u.Now.IP, u.Now.Prefix)
			}
			if u.Now.IP6.IsValid() {
				m.IPv6Address = fmt.Sprintf("%s/%d", u.Now.IP6, u.Now.Prefix6)
			}
			d.Containers[u.ID] = m
		case u.Alive && !bridged(n):
			d.Containers[u.ID] = memberView{Name: u.Name, EndpointID: u.EndpointID}
		}
	}
	return d
}

func networkInspectCommand() *command {
	format, verbose := "", false
	return &command{
		name: "network inspect", args: "NETWORK...", short: "Show a network as JSON",
		long:     "The output is a list, with the field names of `docker network inspect`. Containers are\nthose that run.",
		examples: []string{"rc network inspect app", "rc network inspect -f '{{range .IPAM.Config}}{{.Subnet}} {{end}}' app"},
		flags: func(fs *pflag.FlagSet) {
			fs.StringVarP(&format, "format", "f", "", "print in this `FORMAT`: json, or a Go template")
			fs.BoolVarP(&verbose, "verbose", "v", false, "changes nothing: there is no cluster to tell more of")
		},
		run: func(g *global, args []string) (int, error) { return runNetworkInspect(g, format, args) },
	}
}

func runNetworkInspect(g *global, format string, args []string) (int, error) {
	if len(args) == 0 {
		return 0, hint.Newf("rc network inspect", "see `rc network inspect --help`", "no network is named")
	}
	e, err := g.open()
	if err != nil {
		return 0, err
	}
	defer e.Close()
	return inspectAll(args, format, func() (*formatter, error) { return newFormatter(e, format, nil, true) }, func(ref string) (any, error) {
		n, err := e.Network(ref)
		if err != nil {
			return nil, err
		}
		return inspectNetwork(n), nil
	})
}
