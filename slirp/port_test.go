package slirp

import (
	"slices"
	"strings"
	"testing"
)

func TestParsePort(t *testing.T) {
	cases := map[string][]Port{
		"80":                    {{ContainerPort: 80, Proto: "tcp"}},
		"80/UDP":                {{ContainerPort: 80, Proto: "udp"}},
		":80":                   {{ContainerPort: 80, Proto: "tcp"}},
		"8080:80":               {{HostPort: 8080, ContainerPort: 80, Proto: "tcp"}},
		"127.0.0.1:8080:80/udp": {{HostIP: "127.0.0.1", HostPort: 8080, ContainerPort: 80, Proto: "udp"}},
		"127.0.0.1::80":         {{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "tcp"}},
		"[::1]:80:80":           {{HostIP: "::1", HostPort: 80, ContainerPort: 80, Proto: "tcp"}},
		"[::1]::80":             {{HostIP: "::1", ContainerPort: 80, Proto: "tcp"}},
		"0.0.0.0:1:2":           {{HostIP: "0.0.0.0", HostPort: 1, ContainerPort: 2, Proto: "tcp"}},
		"::80":                  {{ContainerPort: 80, Proto: "tcp"}},
		"8000-8001:9000-9001":   {{HostPort: 8000, ContainerPort: 9000, Proto: "tcp"}, {HostPort: 8001, ContainerPort: 9001, Proto: "tcp"}},
		"80-81":                 {{ContainerPort: 80, Proto: "tcp"}, {ContainerPort: 81, Proto: "tcp"}},
		"8000-8010:80":          {{HostPort: 8000, HostPortEnd: 8010, ContainerPort: 80, Proto: "tcp"}},
		"0:80":                  {{ContainerPort: 80, Proto: "tcp"}},
		"127.0.0.1:0:80/udp":    {{HostIP: "127.0.0.1", ContainerPort: 80, Proto: "udp"}},
		"65535:65535":           {{HostPort: 65535, ContainerPort: 65535, Proto: "tcp"}},
	}
	for s, want := range cases {
		got, err := ParsePort(s)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %+v, %v", s, got, err)
			continue
		}
		for _, p := range got {
			if err := p.Check(); err != nil {
				t.Errorf("%s: %v", s, err)
			}
		}
	}
	for s, why := range map[string]string{
		"": "not a number", "0": "1 to 65535", "65536": "1 to 65535", "a": "not a number", "80/": "unknown protocol",
		"80/sctp": "sctp", "80/icmp": "unknown protocol", "8080:": "container port", "0-5:80": "host port", "-1:80": "host port",
		"+80": "not a number", "1-2:3-5": "2 host ports for 3", "5-3:1": "backwards", "1-600": "more than 512",
		"localhost:80:80": "not an IP", "1.2.3:80:80": "not an IP", "::1:80:80": "brackets", "[::1]80": `"]:"`, "[::1]:80": "only one port",
		"[127.0.0.1]:80:80": "brackets", "[fe80::1%lo]:80:80": "not an IP", "1:2:3:4": "colons", "80-": "not a number", "80 :80": "host port",
		"80:80/tcp/udp": "unknown protocol",
	} {
		if got, err := ParsePort(s); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}

func TestPortString(t *testing.T) {
	for _, s := range []string{"8080:80/tcp", "127.0.0.1:8080:80/udp", "[::1]:80:80/tcp", "[::1]::80/tcp", ":80/tcp", "8000-8010:80/tcp"} {
		p, err := ParsePort(s)
		if err != nil || p[0].String() != s {
			t.Errorf("%s: %v, %v", s, p, err)
		}
	}
}

func FuzzParsePort(f *testing.F) {
	f.Add("[::1]:8000-8010:80-90/udp")
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePort(s)
		if err != nil {
			return
		}
		for _, p := range ports {
			if err := p.Check(); err != nil {
				t.Errorf("%q gives %v: %v", s, p, err)
			}
		}
	})
}
