package main

import (
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/internal/engine"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// network verbs need no namespace: all but connect to a live container run here.
func TestNetworkVerbs(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	for _, step := range []struct {
		line, out, errs string
		code            int
	}{
		{"network create --subnet 10.99.0.0/24 --label tier=test app", "app\n", "", 0},
		{"network create app", "", "rc: make network app: network with that name already exists; choose another name", 1},
		{"network create --ignore app", "app\n", "", 0},
		{"network create a b", "", `rc: rc network create: it takes no argument, but "b" was given`, 125},
		{"network create -d macvlan x", "", "rc: --driver macvlan: there is no driver but bridge", 1},
		{"network create --ipam-driver dhcp x", "", "rc: --ipam-driver dhcp: ", 1},
		{"network create --label =x y", "", "rc: --label =x: no key", 1},
		{"network create --aux-address a=10.0.0.1 x", "", "keep some out by --ip-range", 125},
		{"network ls --format {{.Name}}/{{.Driver}}/{{.Internal}}", "app/bridge/false\nbridge/bridge/false\nhost/host/false\nnone/null/false\n", "", 0},
		{"network ls -f type=custom --format {{.Name}}", "app\n", "", 0},
		{"network ls -f label=tier=test --format {{.Name}}", "app\n", "", 0},
		{"network ls -f name=^app$ -f name=one$ --format {{.Name}}", "app\nnone\n", "", 0},
		{"network ls -f name=^pp --format {{.Name}}", "", "", 0},
		{"network ls -f name=o[st --format {{.Name}}", "", "", 0},
		{"network ls -f type=x", "", "rc: --filter type=x: invalid filter 'type=x'", 1},
		{"network ls -f foo=x", "", "rc: --filter foo: invalid filter 'foo'", 1},
		{"network ls x", "", `rc: rc network ls: it takes no argument`, 125},
		{"network list -q --no-trunc -f name=host", "686f7374" + strings.Repeat("0", 56) + "\n", "", 0},
		{"network inspect", "", "rc: rc network inspect: no network is named", 125},
		{"network exists app", "", "", 0},
		{"network exists nope", "", "", 1},
		{"network exists", "", "rc: rc network exists: one network is to be named", 125},
		{"network connect app", "", "rc: rc network connect: a network and a container are to be named, and 1 words are given", 125},
		{"network connect --ip x app web", "", `"x" is not an IPv4 address`, 1},
		{"network connect app:ip=1 web", "", "not the name of a network", 1},
		{"network connect --link a app web", "", "use --alias", 125},
		{"network connect app nope", "", `rc: find container "nope": no such container`, 1},
		{"network disconnect app nope", "", `rc: find container "nope": no such container`, 1},
		{"network rm", "", "rc: rc network rm: no network is named", 125},
		{"network rm nope app", "app\n", `rc: remove network "nope": no such network; see ` + "`rc network ls`", 1},
		{"network rm -f nope", "nope\n", "", 0},
		{"network rm host", "", "the host's own", 1},
		{"network frob", "", `rc: rc network "frob": no such command`, 125},
	} {
		o := rc(t, strings.Fields(step.line)...)
		if o.code != step.code || o.stdout != step.out || !strings.Contains(o.stderr, step.errs) || step.errs == "" && o.stderr != "" || strings.Count(o.stderr, "\n") > 1 {
			t.Errorf("rc %s: %+v", step.line, o)
		}
	}
	if o := rc(t, "network", "ls"); strings.Join(strings.Fields(o.stdout)[:5], " ") != "NETWORK ID NAME DRIVER SCOPE" {
		t.Errorf("%+v", o)
	}
}

// The fields of Docker's object, with its spelling.
func TestNetworkInspect(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	rc(t, "network", "create", "--subnet", "10.99.0.0/24", "--ip-range", "10.99.0.128/25", "--internal", "--opt", "mtu=1400", "--label", "a=b", "app")
	var list []map[string]any
	o := rc(t, "network", "inspect", "app", "nope")
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil || o.code != 1 || len(list) != 1 || !strings.Contains(o.stderr, `find network "nope"`) {
		t.Fatalf("%+v %v", o, err)
	}
	n := list[0]
	for _, field := range []string{"Name", "Id", "Created", "Scope", "Driver", "EnableIPv4", "EnableIPv6", "IPAM", "Internal", "Attachable", "Ingress", "ConfigFrom", "ConfigOnly", "Containers", "Options", "Labels"} {
		if _, ok := n[field]; !ok {
			t.Errorf("no %s", field)
		}
	}
	ipam, _ := json.Marshal(n["IPAM"])
	if string(ipam) != `{"Config":[{"Gateway":"10.99.0.1","IPRange":"10.99.0.128/25","Subnet":"10.99.0.0/24"}],"Driver":"default","Options":{}}` {
		t.Errorf("%s", ipam)
	}
	if n["Internal"] != true || n["EnableIPv6"] != false {
		t.Errorf("%v", n)
	}
	if o := rc(t, "network", "inspect", "-f", "{{.Name}} {{.Driver}}", "app", "host"); o.stdout != "app bridge\nhost host\n" || o.code != 0 {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "inspect", "--type", "network", "--format", "json", "app"); o.code != 0 || !strings.HasPrefix(o.stdout, `[{"Name":"app"`) {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "inspect", "app"); o.code != 0 || !strings.Contains(o.stdout, `"Name": "app"`) {
		t.Errorf("%+v", o)
	}
}

func TestNetworkPrune(t *testing.T) {
	t.Setenv("RC_ROOT", t.TempDir())
	rc(t, "network", "create", "app")
	rc(t, "network", "ls")
	const question = "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to continue? [y/N] "
	if got := asked(t, "n\n", "network", "prune"); got != (outcome{0, question, ""}) {
		t.Errorf("%+v", got)
	}
	if got := asked(t, "y\n", "network", "prune"); got != (outcome{0, question + "Deleted Networks:\napp\n\n", ""}) {
		t.Errorf("%+v", got)
	}
	if o := rc(t, "network", "prune", "-f", "--filter", "dangling=true"); o.code != 1 {
		t.Errorf("%+v", o)
	}
	if o := rc(t, "network", "ls", "--format", "{{.Name}}"); o.stdout != "bridge\nhost\nnone\n" {
		t.Errorf("%+v", o)
	}
}

func TestNetworkFilters(t *testing.T) {
	entry := func(name, driver string, users int) *engine.NetworkEntry {
		n := &engine.NetworkEntry{Driver: driver, Network: &record.Network{Network: slirp.Network{Name: name, ID: strings.Repeat(name[:1], 64)}, CreatedAt: time.Unix(1000, 0)}}
		for range users {
			n.Users = append(n.Users, engine.NetworkUser{})
		}
		return n
	}
	all := []*engine.NetworkEntry{entry("app", "bridge", 1), entry("bridge", "bridge", 0), entry("extra", "bridge", 0), entry("none", "null", 0)}
	all[2].Labels = map[string]string{"k": "v"}
	for text, want := range map[string]string{
		"":                         "app bridge extra none",
		"dangling=true":            "extra",
		"dangling=false":           "app bridge none",
		"driver=null":              "none",
		"id=eee":                   "extra",
		"name=p name=x":            "app extra",
		"scope=swarm":              "",
		"type=builtin":             "bridge none",
		"label=k=v":                "extra",
		"label!=k":                 "app bridge none",
		"until=900":                "",
		"until=2000 driver=bridge": "app bridge extra",
	} {
		f := filtersOf(t, strings.Fields(text)...)
		passes, err := f.networks()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, n := range all {
			if passes(n) {
				got = append(got, n.Name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
	bad := filtersOf(t, "until=x")
	if _, err := bad.networks(); err == nil {
		t.Error("until=x")
	}
}

// What scripts read of a container on two networks, running and not.
func TestNetworksOfContainers(t *testing.T) {
	e, err := engine.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	n, err := e.CreateNetwork(&engine.NetworkOptions{Name: "b"})
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr
	c := &engine.Entry{Container: record.Container{ID: strings.Repeat("1", 64), Name: "web", Network: "bridge",
		Networks: []record.NetworkUse{{Name: "a", Aliases: []string{"www"}, IP: ip("10.1.0.2")}, {Name: "b", MAC: "02:00:00:00:00:01"}}}}
	if networkNames(&c.Container) != "a,b" || networkMode(c) != "a" {
		t.Error(networkNames(&c.Container), networkMode(c))
	}
	v := networkOf(e, c, nil)
	if a := v.Networks["a"]; a.IPAddress != "" || a.IPAMConfig.IPv4Address != "10.1.0.2" || strings.Join(a.DNSNames, " ") != "web www 111111111111" {
		t.Errorf("%+v", a)
	}
	if b := v.Networks["b"]; b.NetworkID != n.ID || b.IPAMConfig != nil || b.MacAddress != "02:00:00:00:00:01" {
		t.Errorf("%+v", b)
	}
	c.Alive, c.State = true, record.State{Status: record.Running, PID: os.Getpid(), Net: &slirp.Attached{IP: "10.1.0.2", Endpoints: []slirp.EndpointStatus{
		{Network: "a", NetworkID: "x", Interface: "eth0", MAC: "02:42:0a:01:00:02", IP: ip("10.1.0.2"), Prefix: 24, Gateway: ip("10.1.0.1"), IP6: ip("fd00::2"), Prefix6: 64, Gateway6: ip("fd00::1")}}}}
	v = networkOf(e, c, nil)
	if a := v.Networks["a"]; a.IPAddress != "10.1.0.2" || a.IPPrefixLen != 24 || a.Gateway != "10.1.0.1" || a.GlobalIPv6Address != "fd00::2" || a.GlobalIPv6PrefixLen != 64 ||
		a.IPv6Gateway != "fd00::1" || a.MacAddress != "02:42:0a:01:00:02" || a.NetworkID != "x" || a.Interface != "eth0" {
		t.Errorf("%+v", a)
	}
	if v.IPAddress != "10.1.0.2" || v.GlobalIPv6Address != "fd00::2" || v.MacAddress != "02:42:0a:01:00:02" || v.Gateway != "10.1.0.1" || v.Networks["b"].IPAddress != "" {
		t.Errorf("%+v", v)
	}
	// Where no bridge could be made it has a slirp4netns of its own.
	c.State.Net = &slirp.Attached{IP: "10.0.2.100", Prefix: 24, Gateway: "10.0.2.2"}
	if v = networkOf(e, c, nil); v.IPAddress != "10.0.2.100" || v.Networks["a"].IPAddress != "10.0.2.100" {
		t.Errorf("%+v", v)
	}
	c.Network, c.Networks = "none", nil
	if v = networkOf(e, c, nil); len(v.Networks) != 1 || networkNames(&c.Container) != "none" {
		t.Errorf("%+v", v)
	}
}
