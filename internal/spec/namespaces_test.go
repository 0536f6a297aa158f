package spec

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/rc-containers/rc/slirp"
	"github.com/rc-containers/rc/userns"
)

func newNamespaces(p *Plan) string {
	var list []string
	for _, n := range p.Spec.Linux.Namespaces {
		list = append(list, string(n.Type))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

func joined(o Options) *Input {
	o.Command = []string{"sh"}
	in := input(&o)
	in.Sandbox = &Sandbox{UIDMap: usual().UID, GIDMap: usual().GID, Hostname: "other"}
	return in
}

func TestNamespaceModes(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, "cgroup ipc mount network pid user uts"},
		{Options{PID: "private", IPC: "private", UTS: "private"}, "cgroup ipc mount network pid user uts"},
		{Options{IPC: "shareable", Network: []string{"none"}}, "cgroup ipc mount network pid user uts"},
		{Options{PID: "host", IPC: "host", UTS: "host", Network: []string{"host"}}, "cgroup mount user"},
		{Options{PID: "container:a", Network: []string{"container:a"}}, "cgroup ipc mount uts"},
		{Options{IPC: "container:a"}, "cgroup mount network pid uts"},
	} {
		if got := newNamespaces(mustBuild(t, joined(c.o))); got != c.want {
			t.Errorf("%+v: %s", c.o, got)
		}
	}
	if p := mustBuild(t, joined(Options{PID: "container:a b"})); p.PID.Container != "a b" {
		t.Errorf("%+v", p.PID)
	}
	for want, o := range map[string]*Options{
		`--pid "hots": no such mode; choose private, host or container:NAME`: {PID: "hots"},
		`--pid "container:": no container is named`:                          {PID: "container:"},
		`--ipc "x": no such mode; choose private, host, container:NAME, s`:   {IPC: "x"},
		`--uts "container"`: {UTS: "container"},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestJoins(t *testing.T) {
	o := &Options{PID: "container:a", IPC: "container:b", UTS: "host", Network: []string{"container:a"}}
	same(t, "joins", o.Joins(), []string{"a", "b"})
	if j := (&Options{PID: "container:"}).Joins(); len(j) > 0 {
		t.Error(j)
	}
}

// What is shown of the kernel follows the namespace it belongs to.
func TestMountsFollowNamespaces(t *testing.T) {
	p := plan(t, Options{PID: "host"})
	if got := mountText(p, "/proc"); got != "bind /proc rbind,rprivate,nosuid,noexec,nodev" {
		t.Error(got)
	}
	p = mustBuild(t, joined(Options{PID: "container:a", Network: []string{"container:a"}, IPC: "container:a"}))
	if got := mountText(p, "/proc") + mountText(p, "/sys"); !strings.HasPrefix(got, "proc") || !strings.Contains(got, "sysfs") {
		t.Error(got)
	}
	if p.ShmMount < 0 || p.Spec.Mounts[p.ShmMount].Destination != "/dev/shm" || p.Spec.Mounts[p.ShmMount].Source != "" {
		t.Error(p.ShmMount)
	}
	p = plan(t, Options{Network: []string{"host"}})
	if got := mountText(p, "/sys"); !strings.HasPrefix(got, "bind /sys rbind,rprivate,ro,rro") {
		t.Error(got)
	}
	if got := mountText(p, "/sys/fs/cgroup"); !strings.HasPrefix(got, "tmpfs tmpfs ro") {
		t.Error(got)
	}
	p = plan(t, Options{Network: []string{"host"}, Privileged: true})
	if got := mountText(p, "/sys"); !strings.Contains(got, "ro,rro") {
		t.Error("the host's /sys is writable: " + got)
	}
	p = plan(t, Options{IPC: "host"})
	if got := mountText(p, "/dev/shm"); !strings.HasPrefix(got, "bind /dev/shm") {
		t.Error(got)
	}
	if _, err := os.Stat("/dev/mqueue"); err == nil && !strings.HasPrefix(mountText(p, "/dev/mqueue"), "bind /dev/mqueue") {
		t.Error(mountText(p, "/dev/mqueue"))
	}
	if p = plan(t, Options{IPC: "none"}); findMount(p, "/dev/shm") != nil || p.IPC.Kind != KindPrivate {
		t.Error("--ipc=none has /dev/shm")
	}
}

func TestNetwork(t *testing.T) {
	for value, want := range map[string]NamespaceKind{"": DefaultKind, "default": DefaultKind, "private": DefaultKind, "bridge": KindBridge, "slirp4netns": KindSlirp,
		"mynet": KindBridge, "pasta:-4": KindPasta, "host": KindHost, "none": KindNone, "container:x": KindContainer} {
		if p := mustBuild(t, joined(Options{Network: []string{value}})); p.Network.Kind != want {
			t.Errorf("%s: %+v", value, p.Network)
		}
	}
	p := plan(t, Options{Network: []string{"slirp4netns:allow_host_loopback=true,enable_ipv6=true,port_handler=rootlesskit"}})
	if !p.HostLoop || !p.IPv6 {
		t.Errorf("%+v", p)
	}
	if p := plan(t, Options{Network: []string{"slirp4netns:allow_host_loopback=false"}}); p.HostLoop {
		t.Error("host loopback")
	}
	for value, want := range map[string]string{
		"ns:/proc/1/ns/net":                    "join a container's",
		"pasta:--netns-only":                   "no option",
		"container:":                           "no container is named",
		"host:x":                               "it takes no options",
		"slirp4netns:mtu=1":                    `has no option "mtu"`,
		"slirp4netns:allow_host_loopback=on":   `"on" is neither`,
		"slirp4netns:port_handler=slirp4netns": "rootlesskit",
	} {
		checkRefusal(t, Check(&Options{Network: []string{value}}), want)
	}
	checkRefusal(t, Check(&Options{Network: []string{"host", "none"}}), `"host", which was given before`)
	checkRefusal(t, Check(&Options{Network: []string{"a", "host"}}), `"a", which was given before`)
	checkRefusal(t, Check(&Options{Network: []string{"none"}, HostLoopback: true}), "no way to the host")
}

func TestPublish(t *testing.T) {
	p := plan(t, Options{Publish: []string{"8080:80", "127.0.0.1:5353:53/udp", "90"}})
	want := []slirp.Port{{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}, {HostIP: "127.0.0.1", HostPort: 5353, ContainerPort: 53, Proto: "udp"}, {ContainerPort: 90, Proto: "tcp"}}
	if !reflect.DeepEqual(p.Ports, want) {
		t.Errorf("%+v", p.Ports)
	}
	p = plan(t, Options{Publish: []string{"8080:80"}, Network: []string{"host"}})
	if len(p.Ports) > 0 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "discarded") {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct {
		net, value, want string
	}{
		{"", "x", `--publish "x"`}, {"", "70000:80", `--publish "70000:80"`}, {"none", "80", "cannot be reached"},
		{"container:db", "80", "belong to the container that made it"},
	} {
		checkRefusal(t, Check(&Options{Publish: []string{c.value}, Network: []string{c.net}}), c.want)
	}
	checkRefusal(t, Check(&Options{Publish: []string{"80:80", "80:81"}}), "port 80/tcp of the host is published twice")
	if err := Check(&Options{Publish: []string{"80:80", "80:80/udp", "8000-8010:80", "8000-8010:81"}}); err != nil {
		t.Error(err)
	}
}

func TestResolver(t *testing.T) {
	p := plan(t, Options{DNS: []string{"9.9.9.9", "::1"}, DNSSearch: []string{"a.example", "."}, DNSOption: []string{"ndots:2"},
		AddHost: []string{"db:10.0.0.1", "v6=[::1]", "six:fe80::1", "my_host=1.2.3.4"}})
	want := slirp.DNS{Servers: []string{"9.9.9.9", "::1"}, Search: []string{"a.example", "."}, Options: []string{"ndots:2"},
		AddHosts: []string{"db:10.0.0.1", "v6:::1", "six:fe80::1", "my_host:1.2.3.4"}}
	if !reflect.DeepEqual(p.DNS, want) {
		t.Errorf("%+v", p.DNS)
	}
	p = plan(t, Options{AddHost: []string{"h:host-gateway"}, Network: []string{"slirp4netns:allow_host_loopback=true"}})
	same(t, "hosts", p.DNS.AddHosts, []string{"h:host-gateway"}) // for the engine, at each start
	p = plan(t, Options{AddHost: []string{"h:host-gateway"}, Network: []string{"host"}})
	same(t, "hosts", p.DNS.AddHosts, []string{"h:127.0.0.1"})
	for want, o := range map[string]*Options{
		`--dns "x": not an IP address`:          {DNS: []string{"x"}},
		`--dns-search "a b"`:                    {DNSSearch: []string{"a b"}},
		`--dns-search "a..b"`:                   {DNSSearch: []string{"a..b"}},
		`--dns-option "a\nnameserver 6.6.6.6"`:  {DNSOption: []string{"a\nnameserver 6.6.6.6"}},
		`--add-host "x": not a name and an add`: {AddHost: []string{"x"}},
		`--add-host "x:": not a name`:           {AddHost: []string{"x:"}},
		`"1.2.3" is not an IP address`:          {AddHost: []string{"x:1.2.3"}},
		`"a b" is not a host name`:              {AddHost: []string{"a b:1.2.3.4"}},
		"cannot reach the host":                 {AddHost: []string{"x:host-gateway"}, Network: []string{"none"}},
		`--dns "1.1.1.1": the name resolution`:  {DNS: []string{"1.1.1.1"}, Network: []string{"container:x"}},
		`--add-host "a:1.1.1.1": the name`:      {AddHost: []string{"a:1.1.1.1"}, Network: []string{"container:x"}},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestUserns(t *testing.T) {
	full := []userns.IDMap{{Inside: 0, Outside: 0, Size: 1}, {Inside: 1, Outside: 1, Size: 65536}}
	for _, mode := range []string{"", "host"} {
		p := plan(t, Options{Userns: mode})
		if !reflect.DeepEqual(p.UIDMap, full) || p.Shifted || !slices.Contains(p.Spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace}) {
			t.Errorf("%q: %+v", mode, p.UIDMap)
		}
	}
	p := plan(t, Options{Userns: "auto"})
	if userns.Count(p.UIDMap) != autoSize || !p.Shifted {
		t.Errorf("%+v", p.UIDMap)
	}
	if _, ok := userns.Lookup(p.GIDMap, 5); !ok || !strings.Contains(mountText(p, "/dev/pts"), "gid=5") {
		t.Error(mountText(p, "/dev/pts"))
	}
	p = plan(t, Options{Userns: "auto:size=4"})
	if userns.Count(p.UIDMap) != 4 || strings.Contains(mountText(p, "/dev/pts"), "gid=5") {
		t.Errorf("%+v %s", p.UIDMap, mountText(p, "/dev/pts"))
	}
	if p = plan(t, Options{Userns: "auto", User: "5000"}); userns.Count(p.UIDMap) != 5001 {
		t.Errorf("%+v", p.UIDMap)
	}
	in := input(&Options{Command: []string{"sh"}, Userns: "auto"})
	in.UsedIDs = []userns.IDMap{{Outside: 1, Size: 65000}}
	_, err := Build(in)
	checkRefusal(t, err, `--userns "auto": 1024 wanted, 536 of your subordinate IDs are free`)
}

func TestKeepID(t *testing.T) {
	p := plan(t, Options{Userns: "keep-id:uid=1000,gid=100"})
	if out, ok := userns.Lookup(p.UIDMap, 1000); !ok || out != 0 || !p.Shifted {
		t.Errorf("%+v", p.UIDMap)
	}
	if out, ok := userns.Lookup(p.GIDMap, 100); !ok || out != 0 {
		t.Errorf("%+v", p.GIDMap)
	}
	if u := p.Spec.Process.User; u.UID != 1000 || u.GID != 100 || u.Username != "1000:100" {
		t.Errorf("%+v", u)
	}
	if p = plan(t, Options{Userns: "keep-id", User: "0"}); p.Spec.Process.User.UID != 0 {
		t.Errorf("%+v", p.Spec.Process.User)
	}
	if p = plan(t, Options{Userns: "keep-id"}); p.Spec.Process.User.UID != uint32(os.Getuid()) {
		t.Errorf("%+v", p.Spec.Process.User)
	}
	for value, want := range map[string]string{
		"x": "choose auto, keep-id or host", "host:1": "host takes no options", "auto:size=0": "is no number of ids", "auto:uid=1": `auto has no option "uid"`,
		"keep-id:uid=x": `"x" is no number`, "keep-id:size=1": "has no option", "keep-id:uid=4294967295": "is no number",
	} {
		checkRefusal(t, Check(&Options{Userns: value}), want)
	}
	checkRefusal(t, Check(&Options{Userns: "auto", Network: []string{"container:x"}}), `the user namespace of "x", which it joins`)
}

func TestSingleID(t *testing.T) {
	in := input(&Options{Command: []string{"sh"}})
	in.Mapping = single()
	p := mustBuild(t, in)
	if len(p.UIDMap) != 1 || len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "usermod") {
		t.Errorf("%+v %q", p.UIDMap, p.Warnings)
	}
	if strings.Contains(mountText(p, "/dev/pts"), "gid=5") || p.Spec.Linux.Sysctl["net.ipv4.ping_group_range"] != "0 0" {
		t.Errorf("%s %v", mountText(p, "/dev/pts"), p.Spec.Linux.Sysctl)
	}
	in.Options.User = "1000"
	_, err := Build(in)
	checkRefusal(t, err, `--user "1000": user 1000 is not mapped in the container; run as 0, or get subordinate ids: sudo usermod`)
	in.Options.User, in.Options.GroupAdd = "", []string{"5"}
	_, err = Build(in)
	checkRefusal(t, err, `--group-add "5": groups cannot be set`)
}

// A joined container's maps are those of the sandbox, whatever ours would be.
func TestJoinedMaps(t *testing.T) {
	in := joined(Options{Network: []string{"container:x"}})
	in.Sandbox.UIDMap = []userns.IDMap{{Inside: 0, Outside: 1, Size: 10}}
	p := mustBuild(t, in)
	if !p.Shifted || p.UIDMap[0].Size != 10 || len(p.Spec.Linux.Sysctl) > 0 {
		t.Errorf("%+v", p)
	}
}

func TestUser(t *testing.T) {
	for _, c := range []struct {
		image, flag string
		uid, gid    uint32
		name        string
	}{
		{"", "", 0, 0, ""},
		{"", "1000", 1000, 0, "1000"},
		{"", "1000:100", 1000, 100, "1000:100"},
		{"www", "", 0, 0, "www"},
		{"www:staff", "", 0, 0, "www:staff"},
		{"www", "7:staff", 7, 0, "7:staff"},
		{"", "bob:20", 0, 20, "bob:20"},
		{"", ":20", 0, 20, ":20"},
	} {
		in := input(&Options{Command: []string{"sh"}, User: c.flag})
		in.Image.Config.User = c.image
		if u := mustBuild(t, in).Spec.Process.User; u.UID != c.uid || u.GID != c.gid || u.Username != c.name {
			t.Errorf("%+v: %+v", c, u)
		}
	}
	for value, want := range map[string]string{"70000": "user 70000 is not mapped", "0:70000": "group 70000 is not mapped", "-1": "-1 is no user id",
		"4294967296": "is no user id", "a:b:c": "not a user and a group", "a:": "not a user and a group", "a\nb": "not a user"} {
		_, err := Build(input(&Options{Command: []string{"sh"}, User: value}))
		checkRefusal(t, err, want)
	}
	in := input(&Options{Command: []string{"sh"}})
	in.Image.Config.User = "99999999"
	_, err := Build(in)
	checkRefusal(t, err, `the image's USER "99999999"`)
}

func TestGroupAdd(t *testing.T) {
	p := plan(t, Options{GroupAdd: []string{"audio", "7"}})
	same(t, "groups", p.GroupAdd, []string{"audio", "7"})
	for value, want := range map[string]string{"": "not a group", "70000": "not mapped", "keep-groups": "your own groups cannot be kept", "a:b": "not a group"} {
		_, err := Build(input(&Options{Command: []string{"sh"}, GroupAdd: []string{value}}))
		checkRefusal(t, err, want)
	}
}

func TestSysctls(t *testing.T) {
	p := plan(t, Options{Sysctl: []string{"net.ipv4.ip_forward=1", "net/ipv4/conf/eth0.100/forwarding=1", "kernel.shmmax=1", "fs.mqueue.msg_max=5",
		"kernel.domainname=x", "kernel.sem=1 2 3 4", "net.ipv4.ip_unprivileged_port_start=1024"}})
	want := map[string]string{"net.ipv4.ip_forward": "1", "net.ipv4.conf.eth0/100.forwarding": "1", "kernel.shmmax": "1", "fs.mqueue.msg_max": "5",
		"kernel.domainname": "x", "kernel.sem": "1 2 3 4", "net.ipv4.ip_unprivileged_port_start": "1024", "net.ipv4.ping_group_range": "0 65536"}
	if fmt.Sprint(p.Spec.Linux.Sysctl) != fmt.Sprint(want) {
		t.Error(p.Spec.Linux.Sysctl)
	}
	if p := plan(t, Options{Network: []string{"host"}}); len(p.Spec.Linux.Sysctl) > 0 {
		t.Error(p.Spec.Linux.Sysctl)
	}
	for value, want := range map[string]string{
		"net.ipv4.ip_forward": "not the name of a sysctl and a value", "=1": "not the name", "net..x=1": "not the name", "net.//.x=1": "not the name",
		"net/../kernel/core_pattern=x": "not the name", "vm.swappiness=1": "it would change the host", "kernel.shmmx=1": "did you mean kernel.shmmax?",
		"kernel.core_pattern=|x": "it would change the host", "kernel.hostname=x": "use --hostname", "net=1": "not the name",
	} {
		checkRefusal(t, Check(&Options{Sysctl: []string{value}}), want)
	}
	for want, o := range map[string]*Options{
		"with --network=host it would change the host": {Sysctl: []string{"net.ipv4.ip_forward=1"}, Network: []string{"host"}},
		"with --ipc=host it would change the host":     {Sysctl: []string{"kernel.shmmax=1"}, IPC: "host"},
		"leave out --sysctl or --ipc=host":             {Sysctl: []string{"fs.mqueue.msg_max=1"}, IPC: "host"},
		"with --uts=host it would change the host":     {Sysctl: []string{"kernel.domainname=x"}, UTS: "host"},
	} {
		checkRefusal(t, Check(o), want)
	}
}

func TestLastID(t *testing.T) {
	for _, c := range []struct {
		maps []userns.IDMap
		want uint32
	}{
		{nil, 0}, {[]userns.IDMap{{Inside: 0, Size: 1}, {Inside: 1, Size: 9}}, 9}, {[]userns.IDMap{{Inside: 0, Size: 5}, {Inside: 10, Size: 5}}, 4},
		{[]userns.IDMap{{Inside: 1, Size: 1<<32 - 1}, {Inside: 0, Size: 1}}, 1<<32 - 1},
	} {
		if got := lastID(c.maps); got != c.want {
			t.Errorf("%v: %d", c.maps, got)
		}
	}
}
