package three

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// start is the README's: three lines of rc run. One of them is first, whatever the
// order: each asks for the others by name when it needs them, not before.
func (s *shop) start() {
	begin := time.Now()
	s.must(s.text.start)
	s.Logf("the network and three containers: %v", time.Since(begin).Round(time.Millisecond))
	s.within(answer, s.api+"/items", "[]")
	s.within(answer, s.web, "<h1>Shop</h1>")
}

// use is the README's: an item goes in by the API, to the database; the page that
// comes out of web has it at once, because the API has told web.
func (s *shop) use() {
	if got := s.must(s.text.use); !strings.Contains(got, `{"added": "tea"}`) || !strings.Contains(got, "<li>tea: 2.50</li>") {
		s.Errorf("%q", got)
	}
}

// names: of every other by its name, of oneself, with the network's name behind, and
// none for what does not exist. getent takes the way of every program of libc.
func (s *shop) names() {
	address := map[string]string{}
	for _, name := range services {
		address[name] = s.must("rc inspect -f '{{.NetworkSettings.Networks.shop.IPAddress}}' " + name)
		if net.ParseIP(address[name]) == nil {
			s.Fatalf("%s has the address %q", name, address[name])
		}
	}
	for _, from := range services {
		for _, to := range services {
			for _, name := range []string{to, strings.ToUpper(to), to + ".shop"} {
				if got := s.must("rc exec " + from + " getent ahostsv4 " + name); !strings.HasPrefix(got, address[to]+" ") {
					s.Errorf("in %s, %s is %q, not %s", from, name, got, address[to])
				}
			}
		}
		if r := s.sh("rc exec " + from + " getent hosts nobody-of-that-name"); r.code == 0 {
			s.Errorf("in %s a name that nobody has is %q", from, r.out)
		}
	}
	// And back: the address has the name.
	if got := s.must("rc exec web getent hosts " + address["db"]); !strings.Contains(got, "db") {
		s.Errorf("%s is %q", address["db"], got)
	}
}

// users: MariaDB is a user of its own inside, which is a subordinate id outside: the
// caller can read neither its process nor its files.
func (s *shop) users() {
	if got := s.must("rc exec db id -un"); got != "mysql" {
		s.Errorf("the database runs as %s", got)
	}
	pid := s.must("rc inspect -f '{{.State.Pid}}' db")
	path := filepath.Join(s.must("rc volume inspect -f '{{.Mountpoint}}' shop-data"), "data")
	for _, file := range []string{"/proc/" + pid + "/stat", path} {
		st, err := os.Stat(file)
		if err != nil {
			s.Fatal(err)
		}
		// A process that cannot be traced shows as root's, 65534 when that is not mapped here.
		if uid := int(st.Sys().(*syscall.Stat_t).Uid); uid == os.Getuid() {
			s.Errorf("%s belongs to the caller", file)
		}
	}
	if _, err := os.ReadDir(path); !os.IsPermission(err) {
		s.Errorf("the caller reads the database's folder: %v", err)
	}
}

// apart: a container on another network knows no name of this one, and cannot reach
// its addresses; what is not published is not there on the host.
func (s *shop) apart() {
	db := s.must("rc inspect -f '{{.NetworkSettings.Networks.shop.IPAddress}}' db")
	s.must("rc network create other")
	defer s.must("rc network rm other")
	const connect = `import socket, sys; socket.create_connection((sys.argv[1], 3306), 3)`
	try := func(network, host string) reply {
		return s.sh("rc run --rm --network " + network + " shop-api python3 -c '" + connect + "' " + host)
	}
	for _, host := range []string{"db", db} {
		if r := try("shop", host); r.code != 0 {
			s.Errorf("a fourth container on shop cannot reach %s: %s", host, r.err)
		}
		if r := try("other", host); r.code == 0 {
			s.Errorf("from another network %s:3306 is reached", host)
		}
	}
	if c, err := net.DialTimeout("tcp", net.JoinHostPort(db, "3306"), time.Second); err == nil {
		// A proxy of the host's own network may answer for anybody: MariaDB speaks first.
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if n, _ := c.Read(make([]byte, 1)); n > 0 {
			s.Errorf("the host reaches %s:3306, which is not published", db)
		}
		_ = c.Close()
	}
}

// source: both services see who asks, not a gateway.
func (s *shop) source() {
	address := own()
	if address == "" {
		s.Skip("this host has no address but its loopback")
	}
	for _, published := range []string{s.api, s.web} {
		_, port, _ := net.SplitHostPort(published)
		if got, err := s.get(net.JoinHostPort(address, port) + "/you"); err != nil || !strings.Contains(got, address) {
			s.Errorf("%s asks, and the server sees %q, %v", address, got, err)
		}
	}
}

// own is an address of this host that is not its loopback.
func own() string {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	return ""
}

// replace is the README's: the database's container is removed and another one made.
// The data are in the volume, and the API finds the new one by the old name.
func (s *shop) replace() {
	before := s.must("rc inspect -f '{{.Id}} {{.State.StartedAt}}' api web")
	if got := s.must(s.text.replace); !strings.Contains(got, "<li>tea: 2.50</li>") {
		s.Errorf("%q", got)
	}
	s.within(answer, s.api+"/items", `"tea"`)
	if after := s.must("rc inspect -f '{{.Id}} {{.State.StartedAt}}' api web"); after != before {
		s.Errorf("api and web are others now:\n%s\n%s", before, after)
	}
	// A database that another one takes the address of: the name follows. (The address
	// of a container that was removed is free.)
	s.must("rc rm -f db; rc run -d --name thief --network shop shop-web")
	defer s.must("rc rm -f thief")
	s.must(run(s.text.start, "db"))
	s.within(answer, s.api+"/items", `"tea"`)
	if a, b := s.must("rc exec api getent ahostsv4 db"), s.must("rc exec api getent ahostsv4 thief"); a == b {
		s.Errorf("db and thief are both %q", a)
	}
}

// run is the line of the README that starts one of them.
func run(block, name string) string {
	for l := range strings.Lines(block) {
		if strings.Contains(l, "--name "+name+" ") {
			return l
		}
	}
	return "false # the README starts no " + name
}

// restart: each keeps its addresses, its names and its ports, and the others go on. The
// id of its endpoint is another one, as Docker's is.
func (s *shop) restart() {
	for _, name := range services {
		settings := "rc inspect -f '{{range .NetworkSettings.Networks}}{{.NetworkID}} {{.IPAddress}} {{.MacAddress}} {{json .DNSNames}}{{end}} {{json .NetworkSettings.Ports}}' " + name
		before := s.must(settings)
		s.must("rc restart " + name)
		if after := s.must(settings); after != before {
			s.Errorf("%s before and after a restart:\n%s\n%s", name, before, after)
		}
		s.within(answer, s.api+"/items", `"tea"`)
		s.within(answer, s.web, "<li>tea: 2.50</li>")
	}
}

// all of them stopped and started: what a reboot does. Then what docker ps users read.
func (s *shop) all() {
	s.must("rc stop --all")
	if _, err := s.get(s.web); err == nil {
		s.Error("a stopped service answers")
	}
	s.must("rc start --all")
	s.within(answer, s.web, "<li>tea: 2.50</li>")
	var networks []struct {
		Name       string
		Containers map[string]struct{ Name string }
	}
	if err := json.Unmarshal([]byte(s.must("rc network inspect shop")), &networks); err != nil || len(networks) != 1 {
		s.Fatalf("%v, %v", networks, err)
	}
	var names []string
	for _, c := range networks[0].Containers {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"api", "db", "web"}) {
		s.Errorf("on the network are %v", names)
	}
	for name, inside := range map[string]string{"api": "8000", "web": "3000"} {
		_, port, _ := net.SplitHostPort(map[string]string{"api": s.api, "web": s.web}[name])
		if got := s.must("rc port " + name); !strings.Contains(got, inside+"/tcp -> ") || !strings.Contains(got, ":"+port) {
			s.Errorf("rc port %s: %q", name, got)
		}
	}
}

// remove is the README's; a network that is in use stays. Nothing is left.
func (s *shop) remove() {
	if r := s.sh("rc network rm shop"); r.code == 0 || !strings.Contains(r.err, "shop") {
		s.Errorf("a network in use is removed: %+v", r)
	}
	s.must(s.text.remove)
	if got := s.must("rc ps -aq; rc volume ls -q; rc network ls --format '{{.Name}}' | grep shop || true"); got != "" {
		s.Errorf("left: %s", got)
	}
	for _, address := range []string{s.api, s.web} {
		if _, err := s.get(address); err == nil {
			s.Errorf("%s still answers", address)
		}
	}
}
