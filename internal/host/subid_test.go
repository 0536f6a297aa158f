package host

import (
	"slices"
	"testing"
)

const alice = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:100:Alice,,,:/home/alice:/bin/bash\n"

func TestRangesFromFiles(t *testing.T) {
	for name, c := range map[string]struct {
		subuid string
		want   []IDRange
	}{
		"by name":            {"bob:1:2\nalice:100000:65536\n", []IDRange{{100000, 65536}}},
		"by number":          {"1000:100000:65536", []IDRange{{100000, 65536}}},
		"several":            {"alice:300000:10\nalice:100000:65536\n", []IDRange{{300000, 10}, {100000, 65536}}},
		"by both, the same":  {"alice:100000:65536\n1000:100000:65536\n", []IDRange{{100000, 65536}}},
		"overlapping":        {"alice:100000:65536\nalice:165535:10\nalice:165536:10\n", []IDRange{{100000, 65536}, {165536, 10}}},
		"touching the other": {"alice:99990:10\nalice:100000:5\n", []IDRange{{99990, 10}, {100000, 5}}},
		"own id":             {"alice:900:200\nalice:5000:1\n", []IDRange{{5000, 1}}},
		"malformed": {"alice:100000\nalice:x:1\nalice:1:-1\nalice:2:0\n:5:5\nalice:99999999999:1\n\n# alice:7:7\nalice:8:8:8\nalice:9:9\n",
			[]IDRange{{9, 9}}},
		"to the end of all ids": {"alice:4294967290:65536\n", []IDRange{{4294967290, 5}}},
		"the last id is none":   {"alice:4294967295:1\n", nil},
		"name is a prefix":      {"alice2:100000:65536\n", nil},
	} {
		s := fake(t, map[string]string{"/etc/passwd": alice, "/etc/subuid": c.subuid, "/etc/subgid": "alice:1:50\n"})
		r := s.SubordinateRanges()
		if !slices.Equal(r.UID, c.want) || !slices.Equal(r.GID, []IDRange{{1, 50}}) || r.User != "alice" {
			t.Errorf("%s: %+v, want %v", name, r, c.want)
		}
	}
}

func TestRangesFromGetsubids(t *testing.T) {
	known := map[string]string{
		"getsubids alice":    "0: alice 200000 65536\n1: alice 400000 7\n",
		"getsubids -g alice": "0: alice 300000 65536\n",
	}
	tool := map[string]string{"/etc/passwd": alice, "/usr/bin/getsubids": ""}
	want := []IDRange{{200000, 65536}, {400000, 7}}
	if r := fake(t, tool).answers(known).SubordinateRanges(); !slices.Equal(r.UID, want) || r.From != "getsubids" {
		t.Errorf("no files: %+v", r)
	}
	tool["/etc/subuid"], tool["/etc/subgid"] = "alice:1:1\n", "alice:1:1\n"
	if r := fake(t, tool).answers(known).SubordinateRanges(); r.From == "getsubids" {
		t.Errorf("files have some: %+v", r)
	}
	// newuidmap asks sssd and nothing else here, so the files are no good.
	tool["/etc/nsswitch.conf"] = "passwd: files sss\nsubid:  sss\n"
	if r := fake(t, tool).answers(known).SubordinateRanges(); !slices.Equal(r.UID, want) {
		t.Errorf("nsswitch says sss: %+v", r)
	}
	if r := fake(t, tool).answers(nil).SubordinateRanges(); !slices.Equal(r.UID, []IDRange{{1, 1}}) {
		t.Errorf("sssd does not answer: %+v", r)
	}
}

func TestAccount(t *testing.T) {
	s := fake(t, map[string]string{"/etc/passwd": alice, "/usr/bin/getent": ""}).answers(map[string]string{
		"getent passwd 5000": "ldapuser:*:5000:600:LDAP:/net/home/ldapuser:/bin/zsh\n",
		"getent passwd 6000": "garbage\nx:y:6000\n",
	})
	if a, ok := s.Account(1000); !ok || a != (Account{"alice", "/home/alice", "/bin/bash", 1000, 100}) {
		t.Errorf("local: %+v", a)
	}
	if a, ok := s.Account(5000); !ok || a.Name != "ldapuser" || a.Home != "/net/home/ldapuser" || a.GID != 600 {
		t.Errorf("through getent: %+v", a)
	}
	for _, uid := range []int{6000, 7000} {
		if a, ok := s.Account(uid); ok {
			t.Errorf("%d: %+v", uid, a)
		}
	}
}

// Within `unshare -r` no line of a file helps; as root of a container with files of its
// own one does.
func TestSubordinateIDsInAUserNamespace(t *testing.T) {
	one := fake(t, map[string]string{"/etc/passwd": alice, "/proc/self/uid_map": "         0       1000          1\n"})
	wants(t, one.SubordinateIDs(), "a user namespace with ids of its own (1 of them)", "start rc outside of it")
	for ids, fix := range map[string]string{
		"0 0 4294967295\n":         "usermod",
		"0 1000 1\n1 100000 999\n": "usermod",
	} {
		s := fake(t, map[string]string{"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/proc/self/uid_map": ids})
		s.UID = 0
		wants(t, s.SubordinateIDs(), "no range for root", fix)
	}
}

func TestSubordinateIDsFinding(t *testing.T) {
	none := fake(t, map[string]string{"/etc/passwd": alice, "/etc/subuid": "bob:100000:65536\n", "/etc/subgid": "bob:100000:65536\ncarol:165536:65536\n"})
	wants(t, none.SubordinateIDs(), "no range for alice in /etc/subuid and /etc/subgid",
		"sudo usermod --add-subuids 231072-296607 --add-subgids 231072-296607 alice")
	wants(t, fake(t, map[string]string{"/etc/passwd": "x:x:7:7::/:/bin/sh\n"}).SubordinateIDs(), "no range for 1000 in", "give user 1000 an entry")
	half := fake(t, map[string]string{"/etc/passwd": alice, "/etc/subuid": "alice:100000:65536\n"})
	wants(t, half.SubordinateIDs(), "no range for alice in /etc/subgid", "usermod")
	both := fake(t, map[string]string{"/etc/subuid": "1000:100000:65536\n", "/etc/subgid": "1000:100000:65536\n"})
	if f := both.SubordinateIDs(); !f.OK || f.Evidence != "65536 users and 65536 groups for 1000 from /etc/subuid and /etc/subgid" {
		t.Errorf("%+v", f)
	}
}
