package userns

import (
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

var twoRanges = []IDMap{{0, 1000, 1}, {1, 100000, 65536}, {65537, 300000, 1000}}

func TestParseMap(t *testing.T) {
	got, err := ParseMap(strings.NewReader("         0          0 4294967295\n"))
	if err != nil || !slices.Equal(got, []IDMap{{0, 0, 4294967295}}) {
		t.Errorf("initial namespace: %v, %v", got, err)
	}
	if got, err = ParseMap(strings.NewReader(format(twoRanges))); err != nil || !slices.Equal(got, twoRanges) {
		t.Errorf("own text: %v, %v", got, err)
	}
	for _, bad := range []string{"0 0\n", "0 0 1 1\n", "a 0 1\n", "0 -1 1\n", "0 0 4294967296\n"} {
		if got, err := ParseMap(strings.NewReader(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestReadMapping(t *testing.T) {
	own, err := ReadMapping(0)
	if err != nil {
		t.Fatal(err)
	}
	if byPID, err := ReadMapping(os.Getpid()); err != nil || !slices.Equal(own.UID, byPID.UID) {
		t.Errorf("%v and %v, %v", own, byPID, err)
	}
	if _, err := ReadMapping(1 << 30); !os.IsNotExist(err) {
		t.Errorf("a pid that cannot be: %v", err)
	}
}

func TestNestedHasOneLinePerExtent(t *testing.T) {
	m := &Mapping{UID: twoRanges, GID: twoRanges[:2]}
	uid, gid := m.Nested()
	if !slices.Equal(uid, []IDMap{{0, 0, 1}, {1, 1, 65536}, {65537, 65537, 1000}}) {
		t.Errorf("users %v", uid)
	}
	if !slices.Equal(gid, []IDMap{{0, 0, 1}, {1, 1, 65536}}) {
		t.Errorf("groups %v", gid)
	}
}

func TestKeepID(t *testing.T) {
	m := &Mapping{UID: twoRanges, GID: twoRanges}
	for _, c := range []struct {
		id   uint32
		want []IDMap
	}{
		{0, []IDMap{{0, 0, 1}, {1, 1, 65536}, {65537, 65537, 1000}}},
		{1000, []IDMap{{0, 1, 1000}, {1000, 0, 1}, {1001, 1001, 64536}, {65537, 65537, 1000}}},
		{65536, []IDMap{{0, 1, 65536}, {65536, 0, 1}, {65537, 65537, 1000}}},
		// An id far above the ranges (LDAP): all of them fit below it.
		{1 << 30, []IDMap{{0, 1, 65536}, {65536, 65537, 1000}, {1 << 30, 0, 1}}},
	} {
		uid, gid, err := m.KeepID(c.id, c.id)
		if err != nil || !slices.Equal(uid, c.want) || !slices.Equal(gid, c.want) {
			t.Errorf("keep %d: %v, %v, want %v", c.id, uid, err, c.want)
		}
	}
	single := &Mapping{UID: []IDMap{{0, 1000, 1}}, GID: []IDMap{{0, 100, 1}}, SingleID: true}
	uid, gid, err := single.KeepID(1000, 100)
	if err != nil || !slices.Equal(uid, []IDMap{{1000, 0, 1}}) || !slices.Equal(gid, []IDMap{{100, 0, 1}}) {
		t.Errorf("single id: %v %v %v", uid, gid, err)
	}
	if _, _, err := (&Mapping{}).KeepID(1, 1); err == nil {
		t.Error("a mapping without the caller")
	}
}

func TestAuto(t *testing.T) {
	m := &Mapping{UID: twoRanges, GID: twoRanges}
	uid, gid, err := m.Auto(1024, nil)
	if err != nil || !slices.Equal(uid, []IDMap{{0, 1, 1024}}) || !slices.Equal(uid, gid) {
		t.Errorf("first: %v %v %v", uid, gid, err)
	}
	// The hole left by a removed container is too small, the next one is not.
	used := []IDMap{{0, 1, 500}, {0, 700, 1000}}
	if uid, _, err = m.Auto(1024, used); err != nil || !slices.Equal(uid, []IDMap{{0, 1700, 1024}}) {
		t.Errorf("after used: %v %v", uid, err)
	}
	// More than any one extent has: in pieces.
	if uid, _, err = m.Auto(66000, nil); err != nil || Count(uid) != 66000 || len(uid) != 2 {
		t.Errorf("in pieces: %v %v", uid, err)
	}
	if _, _, err = m.Auto(65536, used); err == nil || !strings.Contains(err.Error(), "65036 of your") {
		t.Errorf("too many: %v", err)
	}
	if _, _, err = m.Auto(0, nil); err == nil {
		t.Error("size 0 was given out")
	}
	// Ids that are users but not groups are no good for a container.
	m.GID = twoRanges[:1]
	if _, _, err = m.Auto(1, nil); err == nil {
		t.Error("an id without a group was given out")
	}
}

// Whatever was given out before, nothing is given out twice, nor the caller's id.
func TestAutoNeverOverlaps(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	m := &Mapping{UID: twoRanges, GID: twoRanges}
	owner := map[uint32]int{0: -1}
	var used []IDMap
	for i := 0; ; i++ {
		uid, _, err := m.Auto(rng.Uint32N(5000)+1, used)
		if err != nil {
			break
		}
		if err := check(uid); err != nil {
			t.Fatal(err)
		}
		for _, l := range uid {
			for id := l.Outside; id < l.Outside+l.Size; id++ {
				if who, taken := owner[id]; taken {
					t.Fatalf("id %d was given to %d and to %d", id, who, i)
				}
				owner[id] = i
			}
		}
		used = append(used, uid...)
	}
	if len(used) < 10 {
		t.Errorf("only %d ranges fit", len(used))
	}
}

func TestCheckRefusesWhatTheKernelWould(t *testing.T) {
	for name, bad := range map[string][]IDMap{
		"nothing":         nil,
		"empty line":      {{0, 1000, 0}},
		"inside overlap":  {{0, 1000, 2}, {1, 5000, 1}},
		"outside overlap": {{0, 1000, 2}, {5, 1001, 1}},
		"past the end":    {{0, 1<<32 - 2, 2}},
		"341 lines":       make([]IDMap, 341),
	} {
		if check(bad) == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := check(twoRanges); err != nil {
		t.Error(err)
	}
}

func TestLookup(t *testing.T) {
	for id, want := range map[uint32]uint32{0: 1000, 1: 100000, 65536: 165535, 65537: 300000} {
		if got, ok := Lookup(twoRanges, id); !ok || got != want {
			t.Errorf("%d: %d, %v, want %d", id, got, ok, want)
		}
	}
	if _, ok := Lookup(twoRanges, 70000); ok {
		t.Error("70000 is not mapped")
	}
}

func TestShort(t *testing.T) {
	if err := (&Mapping{UID: twoRanges, GID: twoRanges}).Short(); err != nil {
		t.Error(err)
	}
	if err := (&Mapping{UID: twoRanges[:1], GID: twoRanges, SingleID: true}).Short(); err != nil {
		t.Error("single-id mode has its own message:", err)
	}
	few := []IDMap{{0, 1000, 1}, {1, 100000, 1000}}
	if err := (&Mapping{UID: twoRanges, GID: few}).Short(); err == nil || !strings.Contains(err.Error(), "only 1001 IDs") {
		t.Error(err)
	}
}
