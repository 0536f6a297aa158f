package engine

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/spec"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/internal/stage/start"
	"github.com/rc-containers/rc/slirp"
)

func (w *workshop) network(o NetworkOptions) *record.Network {
	w.Helper()
	n, err := w.CreateNetwork(&o)
	must(w.T, err)
	return n
}

func TestCreateNetwork(t *testing.T) {
	w := newWorkshop(t)
	n := w.network(NetworkOptions{Name: "a", IPv6: true, Internal: true, NoDNS: true, Options: []string{"mtu=1400", "isolate=true"}, Labels: map[string]string{"k": "v"}})
	if !n.Internal || !n.NoDNS || n.MTU != 1400 || n.Options["isolate"] != "true" || n.Labels["k"] != "v" || !record.ValidID(n.ID) || len(n.Subnets) != 2 {
		t.Errorf("%+v", n)
	}
	v4, v6 := n.Subnets[0], n.Subnets[1]
	if v4.Prefix.Bits() != 24 || v4.Gateway != v4.Prefix.Addr().Next() || v6.Prefix.Bits() != 64 || !strings.HasPrefix(v6.Prefix.String(), "fd") || v6.Gateway != v6.Prefix.Addr().Next() {
		t.Errorf("%+v", n.Subnets)
	}
	b := w.network(NetworkOptions{Name: "b"})
	if b.Subnets[0].Prefix.Overlaps(v4.Prefix) {
		t.Errorf("%v overlaps %v", b.Subnets, v4)
	}
	c := w.network(NetworkOptions{Subnets: []string{"192.168.77.0/24", "fd00:9::/64"}, Gateways: []string{"fd00:9::ff", "192.168.77.254"}, Ranges: []string{"192.168.77.128/25"}})
	want := []slirp.Subnet{
		{Prefix: netip.MustParsePrefix("192.168.77.0/24"), Gateway: netip.MustParseAddr("192.168.77.254"), Range: netip.MustParsePrefix("192.168.77.128/25")},
		{Prefix: netip.MustParsePrefix("fd00:9::/64"), Gateway: netip.MustParseAddr("fd00:9::ff")},
	}
	if !slices.Equal(c.Subnets, want) || !strings.HasPrefix(c.Name, "network_") {
		t.Errorf("%+v", c)
	}
	six := w.network(NetworkOptions{Name: "six", NoIPv4: true, IPv6: true})
	if len(six.Subnets) != 1 || !six.Subnets[0].Prefix.Addr().Is6() {
		t.Errorf("%+v", six)
	}
	again := w.network(NetworkOptions{Name: "a", Ignore: true})
	if again.ID != n.ID {
		t.Error("--ignore made another one")
	}
}

func TestCreateNetworkRefusals(t *testing.T) {
	w := newWorkshop(t)
	w.network(NetworkOptions{Name: "a", Subnets: []string{"10.99.0.0/24"}})
	for want, o := range map[string]NetworkOptions{
		"make network a: network with that name already exists": {Name: "a"},
		"a meaning of its own":                                                  {Name: "host"},
		"it overlaps network a (10.99.0.0/24)":                                  {Name: "b", Subnets: []string{"10.99.0.128/25"}},
		"it overlaps the way out":                                               {Name: "b", Subnets: []string{"10.0.0.0/16"}},
		"write 10.1.2.0/24":                                                     {Name: "b", Subnets: []string{"10.1.2.3/24"}},
		"--subnet x: not a subnet":                                              {Name: "b", Subnets: []string{"x"}},
		"--subnet 10.1.2.3: not a subnet":                                       {Name: "b", Subnets: []string{"10.1.2.3"}},
		"--subnet 10.1.2.0/31: of this size":                                    {Name: "b", Subnets: []string{"10.1.2.0/31"}},
		"it overlaps 169.254.0.0/16":                                            {Name: "b", Subnets: []string{"169.254.7.0/24"}},
		"it overlaps ::/16":                                                     {Name: "b", Subnets: []string{"0:1::/64"}},
		"one subnet of IPv4 and one of IPv6":                                    {Name: "b", Subnets: []string{"10.1.0.0/24", "10.2.0.0/24"}},
		"--gateway 10.2.0.1: no subnet of the network has it":                   {Name: "b", Subnets: []string{"10.1.0.0/24"}, Gateways: []string{"10.2.0.1"}},
		"--gateway x: not an address":                                           {Name: "b", Gateways: []string{"x"}},
		"--gateway 10.1.0.0: it means the whole subnet":                         {Name: "b", Subnets: []string{"10.1.0.0/24"}, Gateways: []string{"10.1.0.0"}},
		"--gateway 10.1.0.255: it means":                                        {Name: "b", Subnets: []string{"10.1.0.0/24"}, Gateways: []string{"10.1.0.255"}},
		"has a gateway already":                                                 {Name: "b", Subnets: []string{"10.1.0.0/24"}, Gateways: []string{"10.1.0.1", "10.1.0.2"}},
		"--ip-range 10.1.0.9/25: not a range":                                   {Name: "b", Subnets: []string{"10.1.0.0/24"}, Ranges: []string{"10.1.0.9/25"}},
		"--ip-range 10.1.0.0/16: no subnet":                                     {Name: "b", Subnets: []string{"10.1.0.0/24"}, Ranges: []string{"10.1.0.0/16"}},
		"has a range already":                                                   {Name: "b", Subnets: []string{"10.1.0.0/24"}, Ranges: []string{"10.1.0.0/26", "10.1.0.64/26"}},
		"--ipv4=false: nothing is left":                                         {Name: "b", NoIPv4: true},
		"--ipv4=false: a subnet of IPv4 is named":                               {Name: "b", NoIPv4: true, Subnets: []string{"10.1.0.0/24"}},
		"--opt mtu=70000: not a size":                                           {Name: "b", Options: []string{"mtu=70000"}},
		"--opt mtu=1000: IPv6 has no packets as small":                          {Name: "b", IPv6: true, Options: []string{"mtu=1000"}},
		"--opt isolate=false: networks never reach each other":                  {Name: "b", Options: []string{"isolate=false"}},
		"--opt com.docker.network.bridge.enable_icc=false: containers on one":   {Name: "b", Options: []string{"com.docker.network.bridge.enable_icc=false"}},
		"--opt foo: no such option; the options are mtu=BYTES and isolate=true": {Name: "b", Options: []string{"foo"}},
	} {
		if n, err := w.CreateNetwork(&o); err == nil || !strings.Contains(err.Error(), want) || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %+v %v", want, n, err)
		}
	}
	if list, _ := w.Store.Networks(); len(list) != 1 {
		t.Errorf("a refused one is there: %v", list)
	}
}

func TestRoutes(t *testing.T) {
	const four = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		"eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n" +
		"eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n" +
		"tun0\t0000580A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\nrubbish\n"
	if got := fmt.Sprint(slirp.Routes4(four)); got != "[192.0.2.0/24 10.88.0.0/16]" {
		t.Error(got)
	}
	const six = "fd5c00010002000300000000000000a0 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
		"00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n" +
		"fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0\n" +
		"00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000003 00000000 80200001       lo\n" +
		"ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000004 00000000 00000001     eth0\nx y\n"
	if got := fmt.Sprint(routes6(six)); got != "[fd5c:1:2:3::/64]" {
		t.Error(got)
	}
	const none = "00000000000000000000000000000000"
	out := none + " 00 " + none + " 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth0\n"
	refusal := none + " 00 " + none + " 00 " + none + " ffffffff 00000001 00000000 00200200       lo\n"
	for _, c := range []struct {
		four, six string
		want      bool
	}{{four, out, false}, {"", out, true}, {"", refusal, false}, {"", "", false}, {four, "", false}, {"eth0 00000000 0 0201 0 0 0 00000000\n", refusal + out, true}} {
		if got := onlySix(c.four, c.six); got != c.want {
			t.Errorf("%q %q: %v", c.four, c.six, got)
		}
	}
	busy := &avoided{networks: map[netip.Prefix]string{}, host: slirp.Routes4(four)}
	if p, err := freeSubnet(slirp.DefaultNetwork, busy); err != nil || p.String() != "172.18.0.0/16" {
		t.Error(p, err)
	}
	if p, err := freeSubnet("a", busy); err != nil || p.String() != "10.89.0.0/24" {
		t.Error(p, err)
	}
	busy.host = append(busy.host, netip.MustParsePrefix("10.88.0.0/15"))
	if p, err := freeSubnet("a", busy); err != nil || p.String() != "10.90.0.0/24" {
		t.Error(p, err)
	}
	busy.host = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/1"), netip.MustParsePrefix("128.0.0.0/1")} // a VPN for everything
	if p, err := freeSubnet(slirp.DefaultNetwork, busy); err == nil || !strings.Contains(err.Error(), "--subnet") {
		t.Error(p, err)
	}
}

func TestLastOf(t *testing.T) {
	for p, want := range map[string]string{"10.1.0.0/24": "10.1.0.255", "10.1.0.0/30": "10.1.0.3", "10.0.0.0/8": "10.255.255.255", "fd00::/126": "fd00::3"} {
		if got := lastOf(netip.MustParsePrefix(p)); got.String() != want {
			t.Errorf("%s: %s", p, got)
		}
	}
}

// bridged is a launch whose flags are looked up as `rc run` does.
func (w *workshop) bridged(networks ...string) *launch {
	w.Helper()
	l := w.launch(&spec.Options{Network: networks})
	must(w.T, l.findNetworks())
	l.plan.Network.Kind, l.plan.Networks = spec.KindBridge, l.nets
	return l
}

// The default network is made on first use, ids are turned into names, and what the
// keeper is told is what the record of the network says at the start.
func TestAttachment(t *testing.T) {
	w := newWorkshop(t)
	a := w.network(NetworkOptions{Name: "a", IPv6: true})
	l := w.bridged("bridge", a.ID[:14]+":alias=x")
	if l.nets[1].Name != "a" {
		t.Errorf("%+v", l.nets)
	}
	l.plan.DNS.Servers = []string{"9.9.9.9"}
	must(t, l.claim())
	must(t, l.record())
	must(t, l.configure())
	got := l.cfg.Attach
	if got.Driver != slirp.DriverBridge || got.Name != l.rec.Name || got.Hostname != "box" || len(got.Endpoints) != 2 || got.Fallback ||
		got.Endpoints[0].Network.Name != "bridge" || got.Endpoints[1].Network.ID != a.ID || got.Endpoints[1].Aliases[0] != "x" || got.DNS[0].String() != "9.9.9.9" {
		t.Errorf("%+v", got)
	}
	texts, err := l.networkTexts()
	must(t, err)
	if text := texts["resolv.conf"]; strings.Count(text, "nameserver") != 2 || !strings.Contains(text, "nameserver "+a.Subnets[0].Gateway.String()) || !strings.Contains(text, "search "+slirp.Domain) {
		t.Errorf("%q", text)
	}
	if strings.Contains(texts["hosts"], "box") {
		t.Errorf("rc cannot know the address: %q", texts["hosts"])
	}
	c, err := w.Store.LoadContainer(l.id)
	if err != nil || c.Network != "bridge" || len(c.Networks) != 2 {
		t.Errorf("%+v %v", c, err)
	}
	// At a later start it asks for the addresses that it had; but not on a network
	// that was made anew.
	had := netip.MustParseAddr("10.88.0.77")
	l.had = []slirp.EndpointStatus{{NetworkID: got.Endpoints[0].Network.ID, IP: had}, {NetworkID: ident('9'), IP: had}}
	must(t, l.attachAgain())
	if e := l.cfg.Attach.Endpoints; len(e[0].Last) != 1 || e[0].Last[0] != had || e[1].Last != nil {
		t.Errorf("%+v", e)
	}
	must(t, os.RemoveAll(w.Store.Path("networks", "a")))
	if err := l.attachAgain(); !errors.Is(err, record.ErrNoNetwork) || !strings.Contains(err.Error(), "rc network create a; or leave it: rc network disconnect a") {
		t.Error(err)
	}
}

func TestFindNetworksRefusals(t *testing.T) {
	w := newWorkshop(t)
	a := w.network(NetworkOptions{Name: "a", Subnets: []string{"10.99.0.0/24"}})
	for network, want := range map[string]string{
		"nope":             `--network "nope": no such network; see ` + "`rc network ls`, or make it: rc network create nope",
		"a:ip=10.98.0.1":   "it is not in the network's subnet 10.99.0.0/24",
		"a:ip=10.99.0.1":   "it is the network's gateway",
		"a:ip=10.99.0.255": "it means the whole subnet",
		"a:ip6=fd00::1":    "it has no subnet of that kind",
	} {
		if err := w.launch(&spec.Options{Network: []string{network}}).findNetworks(); err == nil || !strings.Contains(err.Error(), want) || hint.ExitCode(err) != 125 {
			t.Errorf("%s: %v", network, err)
		}
	}
	if err := w.launch(&spec.Options{Network: []string{"a", a.ID}}).findNetworks(); err == nil || !strings.Contains(err.Error(), "named twice") {
		t.Error(err)
	}
}

func TestNoAnswersNoGateways(t *testing.T) {
	c := &start.Config{Network: "bridge", Spec: &specs.Spec{}}
	c.Attach.Endpoints = []slirp.Endpoint{{Network: slirp.Network{NoDNS: true, Subnets: []slirp.Subnet{{Gateway: netip.MustParseAddr("10.99.0.1")}}}}}
	if text := resolvConf(c); strings.Contains(text, "10.99.0.1") || strings.Contains(text, slirp.Domain) {
		t.Errorf("%q", text)
	}
	if got := hostNames([]string{"db:10.1.1.1", "me:host-gateway"}, "", spec.KindBridge); len(got) != 1 {
		t.Errorf("offline: %v", got)
	}
	if got := hostNames(nil, "192.0.2.1", spec.KindSlirp); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// on is a container at rest on bridge networks.
func (w *workshop) on(c byte, name string, networks ...string) string {
	rec := &record.Container{ID: ident(c), Name: name, Network: "bridge"}
	for _, n := range networks {
		rec.Networks = append(rec.Networks, record.NetworkUse{Name: n})
	}
	id := w.put(rec, &record.State{Status: record.Exited})
	w.saveConfig(id, func(cfg *start.Config) { cfg.Network = "bridge" })
	return id
}

func TestConnectAtRest(t *testing.T) {
	w := newWorkshop(t)
	w.network(NetworkOptions{Name: "a"})
	b := w.network(NetworkOptions{Name: "b", Subnets: []string{"10.99.0.0/24"}})
	id := w.on('a', "web", "a")
	must(t, w.Connect(record.NetworkUse{Name: b.ID[:20], IP: netip.MustParseAddr("10.99.0.9")}, "web"))
	c, err := w.Store.LoadContainer(id)
	if err != nil || len(c.Networks) != 2 || c.Networks[1].Name != "b" || c.Networks[1].IP.String() != "10.99.0.9" {
		t.Errorf("%+v %v", c, err)
	}
	entry, err := w.Network("b")
	if err != nil || len(entry.Users) != 1 || entry.Users[0].Name != "web" || entry.Users[0].Alive {
		t.Errorf("%+v %v", entry, err)
	}
	w.put(&record.Container{ID: ident('b'), Name: "own", Network: "slirp4netns"}, &record.State{Status: record.Exited})
	for want, err := range map[string]error{
		"on that network already":     w.Connect(record.NetworkUse{Name: "b"}, "web"),
		"no such network":             w.Connect(record.NetworkUse{Name: "nope"}, "web"),
		"no such container":           w.Connect(record.NetworkUse{Name: "b"}, "nope"),
		"its network is slirp4netns":  w.Connect(record.NetworkUse{Name: "b"}, "own"),
		"is not on that network":      w.Disconnect("nope", "web", false),
		"it is the network's gateway": w.Connect(record.NetworkUse{Name: "a", IP: w.gateway("a")}, "web"),
	} {
		if err == nil || !strings.Contains(err.Error(), want) || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %v", want, err)
		}
	}
	must(t, w.Disconnect("b", "web", false))
	must(t, w.Disconnect("a", "web", true))
	if c, err := w.Store.LoadContainer(id); err != nil || len(c.Networks) != 0 || c.Network != "bridge" {
		t.Errorf("%+v %v", c, err)
	}
	if alive, err := w.Store.Alive(id); err != nil || alive {
		t.Errorf("its life lock is held: %v", err)
	}
}

func (w *workshop) gateway(name string) netip.Addr {
	n, err := w.Store.LoadNetwork(name)
	must(w.T, err)
	return n.Subnets[0].Gateway
}

// Of one that runs the shim is asked first, and a refusal changes no record.
func TestConnectAlive(t *testing.T) {
	w := newWorkshop(t)
	w.network(NetworkOptions{Name: "a"})
	b := w.network(NetworkOptions{Name: "b"})
	var refusal error
	id, asked, _ := w.live('a', "web", func(q control.Request) *control.Reply {
		if q.Op == control.OpNetwork && refusal != nil {
			return &control.Reply{Fail: stage.Fail(refusal)}
		}
		return &control.Reply{State: &record.State{Net: &slirp.Attached{Ports: []slirp.Port{{HostPort: 4711, ContainerPort: 80, Proto: "tcp"}}}}}
	})
	must(t, w.Store.EditContainer(id, func(c *record.Container) error {
		c.Network, c.Networks = "bridge", []record.NetworkUse{{Name: "a"}}
		return nil
	}))
	w.saveConfig(id, nil)
	last := func() *slirp.Change {
		for {
			select {
			case q := <-asked:
				if q.Op == control.OpNetwork {
					return q.Network
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the shim was not asked")
			}
		}
	}
	must(t, w.Connect(record.NetworkUse{Name: "b", Aliases: []string{"x"}}, "web"))
	if ch := last(); ch.Connect == nil || ch.Connect.Network.ID != b.ID || ch.Connect.Aliases[0] != "x" {
		t.Errorf("%+v", ch)
	}
	refusal = hint.Newf("give the address", "choose another", "it is taken")
	for _, do := range []func() error{
		func() error { return w.Disconnect("b", "web", false) },
		func() error { return w.Update("web", Change{Publish: []slirp.Port{{ContainerPort: 80, Proto: "tcp"}}}) },
	} {
		if err := do(); err == nil || !strings.Contains(err.Error(), "it is taken; choose another") {
			t.Error(err)
		}
		last()
	}
	if c, _ := w.Store.LoadContainer(id); len(c.Networks) != 2 || len(c.Ports) != 0 {
		t.Errorf("a refused change is recorded: %+v", c)
	}
	must(t, w.Disconnect("b", "web", true)) // by force
	last()
	if c, _ := w.Store.LoadContainer(id); len(c.Networks) != 1 || len(w.warnings) == 0 {
		t.Errorf("%+v %v", c, w.warnings)
	}
	refusal = nil
	must(t, w.Update("web", Change{Publish: []slirp.Port{{ContainerPort: 80, Proto: "tcp"}}}))
	if ch := last(); len(ch.Publish) != 1 {
		t.Errorf("%+v", ch)
	}
	c, _ := w.Store.LoadContainer(id)
	cfg, err := w.LoadConfig(id)
	must(t, err)
	if c.Ports[0].HostPort != 4711 || cfg.Attach.Ports[0].HostPort != 0 {
		t.Errorf("the record has what was chosen, the configuration what was typed: %+v %+v", c.Ports, cfg.Attach.Ports)
	}
	must(t, w.Rename("web", "www"))
	if ch := last(); ch.Rename != "www" {
		t.Errorf("%+v", ch)
	}
}

func TestRepublishAtRest(t *testing.T) {
	w := newWorkshop(t)
	id := w.on('a', "web")
	port := func(text string) slirp.Port {
		p, err := slirp.ParsePort(text)
		must(t, err)
		return p[0]
	}
	must(t, w.Update("web", Change{Publish: []slirp.Port{port("8080:80"), port("127.0.0.1:81:80"), port("82"), port("83/udp")}}))
	for want, ch := range map[string]Change{
		"8080:80/tcp: it is published already": {Publish: []slirp.Port{port("8080:80")}},
		"--publish-rm 99/tcp: no such port":    {Unpublish: []slirp.Port{port("99")}},
		"--publish-rm 8081:80/tcp: no such":    {Unpublish: []slirp.Port{port("8081:80")}},
		"--publish-rm 83/tcp: no such port":    {Unpublish: []slirp.Port{port("83")}},
	} {
		if err := w.Update("web", ch); err == nil || !strings.Contains(err.Error(), want) || hint.ExitCode(err) != 1 {
			t.Errorf("%s: %v", want, err)
		}
	}
	must(t, w.Update("web", Change{Unpublish: []slirp.Port{port("80"), port("82")}}))
	c, err := w.Store.LoadContainer(id)
	must(t, err)
	cfg, err := w.LoadConfig(id)
	must(t, err)
	if len(c.Ports) != 1 || c.Ports[0].ContainerPort != 83 || !slices.Equal(c.Ports, cfg.Attach.Ports) {
		t.Errorf("%+v %+v", c.Ports, cfg.Attach.Ports)
	}
	w.put(&record.Container{ID: ident('b'), Name: "hosted", Network: "host"}, &record.State{Status: record.Exited})
	if err := w.Update("hosted", Change{Publish: []slirp.Port{port("80")}}); err == nil || !strings.Contains(err.Error(), "its network is host") {
		t.Error(err)
	}
}

// What was chosen from a range goes with the range.
func TestWithout(t *testing.T) {
	typed := []slirp.Port{{HostPort: 80, ContainerPort: 80, Proto: "tcp"}, {HostPort: 8000, HostPortEnd: 8010, ContainerPort: 80, Proto: "tcp"}, {ContainerPort: 80, Proto: "tcp"}}
	got := without(typed, []slirp.Port{{HostPort: 8003, ContainerPort: 80, Proto: "tcp"}})
	if len(got) != 2 || got[0].HostPort != 80 || got[1].HostPort != 0 {
		t.Errorf("%+v", got)
	}
	if got = without(typed, []slirp.Port{{HostPort: 45000, ContainerPort: 80, Proto: "tcp"}}); len(got) != 2 || got[1].HostPortEnd != 8010 {
		t.Errorf("%+v", got)
	}
	if len(typed) != 3 {
		t.Error("the caller's own list is changed")
	}
}

func TestRemoveNetwork(t *testing.T) {
	w := newWorkshop(t)
	a := w.network(NetworkOptions{Name: "a"})
	id := w.on('a', "web", "a")
	if _, err := w.RemoveNetwork("a", false); !errors.Is(err, record.ErrNetworkInUse) || !strings.Contains(err.Error(), id[:12]) || hint.ExitCode(err) != 1 {
		t.Error(err)
	}
	for _, ref := range []string{"host", "none", "686f73740000"} {
		if _, err := w.RemoveNetwork(ref, true); err == nil || !strings.Contains(err.Error(), "the host's own") {
			t.Error(err)
		}
	}
	if _, err := w.RemoveNetwork("nope", true); !errors.Is(err, record.ErrNoNetwork) {
		t.Error(err)
	}
	// What a killed `rc run` left half made keeps no network.
	w.put(&record.Container{ID: ident('c'), Name: "half", Network: "bridge", Networks: []record.NetworkUse{{Name: "b"}}}, nil)
	w.network(NetworkOptions{Name: "b"})
	if _, err := w.RemoveNetwork("b", false); err != nil {
		t.Error(err)
	}
	removed, err := w.RemoveNetwork(a.ID[:15], true)
	if err != nil || len(removed) != 1 || removed[0] != id {
		t.Errorf("%v %v", removed, err)
	}
	w.gone(id, "web")
}

func TestListAndPruneNetworks(t *testing.T) {
	w := newWorkshop(t)
	for _, name := range []string{"used", "free", "labelled"} {
		w.network(NetworkOptions{Name: name, Labels: map[string]string{"n": name}})
	}
	w.on('a', "web", "used", "bridge")
	w.put(&record.Container{ID: ident('b'), Name: "hosted", Network: "host"}, &record.State{Status: record.Exited})
	list, err := w.Networks()
	must(t, err)
	got := ""
	for _, n := range list {
		got += fmt.Sprintf("%s/%s/%d ", n.Name, n.Driver, len(n.Users))
	}
	if got != "bridge/bridge/1 free/bridge/0 host/host/1 labelled/bridge/0 none/null/0 used/bridge/1 " {
		t.Error(got)
	}
	for _, n := range list {
		if found, err := w.Network(n.ID[:12]); err != nil || found.Name != n.Name {
			t.Errorf("%s: %+v %v", n.Name, found, err)
		}
	}
	p, err := w.PruneNetworks(&PruneFilter{Labels: func(l map[string]string) bool { return l["n"] != "labelled" }})
	if err != nil || len(p.Removed) != 1 || p.Removed[0] != "free" {
		t.Errorf("%+v %v", p, err)
	}
	if p, err := w.PruneNetworks(&PruneFilter{Until: time.Now().Add(-time.Hour)}); err != nil || len(p.Removed) != 0 {
		t.Errorf("%+v %v", p, err)
	}
	if p, err := w.PruneNetworks(&PruneFilter{}); err != nil || len(p.Removed) != 1 {
		t.Errorf("%+v %v", p, err)
	}
}
