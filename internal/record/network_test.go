package record

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/slirp"
)

func aNetwork(name string, digit string) *Network {
	return &Network{Network: slirp.Network{Name: name, ID: strings.Repeat(digit, 64),
		Subnets: []slirp.Subnet{{Prefix: netip.MustParsePrefix("10.89.0.0/24"), Gateway: netip.MustParseAddr("10.89.0.1")}}},
		Labels: map[string]string{"a": "b"}, CreatedAt: time.Unix(1, 0).UTC()}
}

func TestNetworkRecords(t *testing.T) {
	s := volumeStore(t)
	n := aNetwork("app", "a")
	if err := s.SaveNetwork(n); err != nil {
		t.Fatal(err)
	}
	if got, err := s.LoadNetwork("app"); err != nil || !reflect.DeepEqual(got, n) {
		t.Errorf("%+v %v", got, err)
	}
	info, err := os.Stat(s.Path("networks", "app", "network.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if err := s.SaveNetwork(n); !errors.Is(err, ErrNetworkExists) {
		t.Error(err)
	}
	if err := s.SaveNetwork(aNetwork("abc", "b")); err != nil { // a name that could be an id
		t.Fatal(err)
	}
	for ref, want := range map[string]string{"app": "app", "aaaa": "app", strings.Repeat("a", 64): "app", "abc": "abc", "b": "abc"} {
		if got, err := s.FindNetwork(ref); err != nil || got.Name != want {
			t.Errorf("%s: %+v %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "nope", "c", "../app", ".", strings.Repeat("x", 300)} {
		if got, err := s.FindNetwork(ref); !errors.Is(err, ErrNoNetwork) {
			t.Errorf("%q: %+v %v", ref, got, err)
		}
	}
	if err := s.SaveNetwork(aNetwork("app2", "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.FindNetwork("aa"); err == nil || !strings.Contains(err.Error(), "type more of the id") {
		t.Error(err)
	}
	list, err := s.Networks()
	if err != nil || len(list) != 3 || list[0].Name != "abc" || list[2].Name != "app2" {
		t.Errorf("%v %v", list, err)
	}
	if err := s.RemoveNetwork("app"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNetwork("app"); !errors.Is(err, ErrNoNetwork) {
		t.Error(err)
	}
	if _, err := os.Lstat(s.Path("networks", "app")); !os.IsNotExist(err) {
		t.Error("its folder is left")
	}
}

// A network that a container's record names stays; one that nobody can read goes, and
// keeps no other from being listed.
func TestNetworksInUseAndBroken(t *testing.T) {
	s := volumeStore(t)
	for i, name := range []string{"used", "bad", "other"} {
		if err := s.SaveNetwork(aNetwork(name, string("abc"[i]))); err != nil {
			t.Fatal(err)
		}
	}
	id := strings.Repeat("1", 64)
	if err := os.Mkdir(s.ContainerDir(id), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveContainer(&Container{ID: id, Networks: []NetworkUse{{Name: "used"}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNetwork("used"); !errors.Is(err, ErrNetworkInUse) || !strings.Contains(err.Error(), id[:12]) {
		t.Error(err)
	}
	path := s.Path("networks", "bad", "network.json")
	for _, text := range []string{"{", `{"Name":"else"}`, `{"Name":"bad","ID":"x"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, err := s.LoadNetwork("bad"); err == nil || errors.Is(err, ErrNoNetwork) {
			t.Errorf("%s: %+v %v", text, n, err)
		}
		if list, err := s.Networks(); err == nil || len(list) != 2 {
			t.Errorf("%v %v", list, err)
		}
		if err := s.SaveNetwork(aNetwork("bad", "d")); !errors.Is(err, ErrNetworkExists) {
			t.Error(err)
		}
	}
	if err := s.RemoveNetwork("bad"); err != nil {
		t.Error(err)
	}
	// Of somebody who was killed between two steps: a folder without a record.
	if err := os.Mkdir(s.Path("networks", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	if list, err := s.Networks(); err != nil || len(list) != 2 {
		t.Errorf("%v %v", list, err)
	}
	if err := s.SaveNetwork(aNetwork("half", "e")); err != nil {
		t.Error(err)
	}
	// A record of a container that cannot be read: what it uses is not known.
	if err := os.WriteFile(filepath.Join(s.ContainerDir(id), "container.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveNetwork("other"); err == nil || !strings.Contains(err.Error(), "rc rm -f") {
		t.Error(err)
	}
}

func TestOnlyOneMakesNetworks(t *testing.T) {
	s := volumeStore(t)
	lock, err := s.LockNetworks()
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{})
	go func() {
		second, err := s.LockNetworks()
		if err == nil {
			_ = second.Close()
		}
		close(got)
	}()
	select {
	case <-got:
		t.Error("two have the lock")
	case <-time.After(50 * time.Millisecond):
	}
	_ = lock.Close()
	<-got
}
