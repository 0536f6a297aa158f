package spec

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/slirp"
)

// Both spellings, podman's and Docker's, come to the same.
func TestParseNetwork(t *testing.T) {
	ip, ip6 := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::7")
	for value, want := range map[string]record.NetworkUse{
		"":                                     {Name: "bridge"},
		"default":                              {Name: "bridge"},
		"a":                                    {Name: "a"},
		"a:":                                   {Name: "a"},
		"a:ip=10.1.2.3":                        {Name: "a", IP: ip},
		"default:ip=10.1.2.3":                  {Name: "bridge", IP: ip},
		"a:ip=fd00::7,ip=10.1.2.3":             {Name: "a", IP: ip, IP6: ip6},
		"name=a,ip6=fd00::7":                   {Name: "a", IP6: ip6},
		"ip=10.1.2.3,name=a,alias=x,alias=y":   {Name: "a", IP: ip, Aliases: []string{"x", "y"}},
		"a:alias=x,alias=x":                    {Name: "a", Aliases: []string{"x"}},
		"a:mac=02-42-AC-11-00-02":              {Name: "a", MAC: "02:42:ac:11:00:02"},
		"name=a,mac-address=02:42:ac:11:00:02": {Name: "a", MAC: "02:42:ac:11:00:02"},
		"a:interface_name=lan0":                {Name: "a", Interface: "lan0"},
		"name=a,driver-opt=com.docker.network.endpoint.ifname=eth7": {Name: "a", Interface: "eth7"},
	} {
		if got, err := ParseNetwork(value); err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	for value, want := range map[string]string{
		"a b":                       "a character that names cannot have",
		"../a":                      "must begin with a letter",
		"name=,ip=10.1.2.3":         "no network is named",
		"ip=10.1.2.3":               "no network is named",
		"a:name=b":                  "named already",
		"name=a,name=b":             "named already",
		"a:ip=x":                    `"x" is not an IPv4 address`,
		"a:ip6=10.0.0.1":            "is not an IPv6 address",
		"a:ip6=fe80::1%eth0":        "is not an IPv6 address",
		"a:ip6=::ffff:10.0.0.1":     "is not an IPv6 address",
		"a:ip=10.0.0.1,ip=10.0.0.2": "two addresses",
		"a:mac=x":                   "is not a MAC address",
		"a:mac=01:00:5e:00:00:01":   "of one device",
		"a:mac=00:00:00:00:00:00":   "of one device",
		"a:mac=02:42:ac:11:00":      "is not a MAC address",
		"a:mac=02:42:ac:11:00:2":    "is not a MAC address",
		"a:alias=-x":                "is not a host name",
		"a:alias=":                  "a host name is empty",
		"a:interface_name=lo":       "is not a name for an interface",
		"a:interface_name=a/b":      "is not a name for an interface",
		"a:interface_name=" + strings.Repeat("x", 16): "is not a name for an interface",
		"a:gw-priority=1":  "the first network is the way out",
		"a:driver-opt=x=y": "no option of a bridge",
		"a:foo=1":          `no such option: "foo"`,
		"container=x":      `no such option: "container"`,
	} {
		_, err := ParseNetwork(value)
		checkRefusal(t, err, want)
	}
}

func TestSeveralNetworks(t *testing.T) {
	p := plan(t, Options{Network: []string{"a:alias=x", "b:ip=10.2.0.9"}, IP: "10.1.0.9", IP6: "fd00::9", MAC: "02:00:00:00:00:01", NetworkAlias: []string{"y", "z"}, HostLoopback: true})
	want := []record.NetworkUse{
		{Name: "a", IP: netip.MustParseAddr("10.1.0.9"), IP6: netip.MustParseAddr("fd00::9"), MAC: "02:00:00:00:00:01", Aliases: []string{"x", "y", "z"}},
		{Name: "b", IP: netip.MustParseAddr("10.2.0.9")},
	}
	if p.Network.Kind != KindBridge || !reflect.DeepEqual(p.Networks, want) || p.Unnamed || !p.HostLoop {
		t.Errorf("%+v", p)
	}
	if got := NetworksOf(&Options{Network: []string{"a", "b"}}); len(got) != 2 || got[1].Name != "b" {
		t.Errorf("%+v", got)
	}
	if p := plan(t, Options{}); !p.Unnamed {
		t.Error("nobody named a network")
	}
	many := make([]string, slirp.MaxEndpoints+1)
	for i := range many {
		many[i] = fmt.Sprintf("n%d", i)
	}
	aliases := make([]string, maxAliases+1)
	for i := range aliases {
		aliases[i] = fmt.Sprintf("a%d", i)
	}
	for want, o := range map[string]*Options{
		"network a is named twice":                   {Network: []string{"a", "a:ip=10.1.2.3"}},
		"networks at most":                           {Network: many},
		"more than 64 names":                         {Network: []string{"a"}, NetworkAlias: aliases},
		`--ip "10.1.2.3": two addresses of one kind`: {Network: []string{"a:ip=10.1.2.4"}, IP: "10.1.2.3"},
		`--ip "10.1.2.3": only bridge networks`:      {Network: []string{"slirp4netns"}, IP: "10.1.2.3"},
		`--ip6 "x": "x" is not an IPv6`:              {Network: []string{"a"}, IP6: "x"},
		`--mac-address "x"`:                          {Network: []string{"a"}, MAC: "x"},
		`--network-alias "x": only bridge`:           {Network: []string{"host"}, NetworkAlias: []string{"x"}},
		`--network-alias "a b"`:                      {Network: []string{"a"}, NetworkAlias: []string{"a b"}},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestNetworkNames(t *testing.T) {
	for _, name := range []string{"a", "app_1", "My.net-2", "bridge", strings.Repeat("x", 127)} {
		if err := CheckNetworkName(name); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]string{"": "too short", "host": "a meaning of its own", "none": "a meaning", "container": "a meaning", "slirp4netns": "a meaning",
		"-a": "must begin", "a/b": "a character", "a:b": "a character", strings.Repeat("x", 128): "too long", "é": "must begin"} {
		if err := CheckNetworkName(name); err == nil || !strings.Contains(err.Error(), want) || hint.ExitCode(err) != 1 {
			t.Errorf("%q: %v", name, err)
		}
	}
}
