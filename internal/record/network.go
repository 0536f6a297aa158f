package record

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp"
)

// A network is networks/<name>/network.json. Who is on it is not written there: the
// record of each container says so, and is saved before the container looks its
// networks up. Under the lock of the folder, whoever removes one reads these records:
//
//	rc run                                    rc network rm
//	saves container.json, with the names      lock of networks/, exclusive
//	reads network.json: gone? refused         reads every container.json: used? refused
//	                                          removes the folder
//
// So either the remover sees the record, or the container is refused.

// ErrNoNetwork is wrapped by every look-up of a network that is not there.
var ErrNoNetwork = errors.New("no such network")

// ErrNetworkInUse is wrapped when a container's record names the network.
var ErrNetworkInUse = errors.New("network is in use")

// ErrNetworkExists is wrapped where a network of that name is made twice.
var ErrNetworkExists = errors.New("network with that name already exists")

// Network is one bridge network. Its file is never changed after it was made; a
// network that is made anew under an old name has another ID.
type Network struct {
	slirp.Network
	Labels    map[string]string `json:",omitempty"`
	Options   map[string]string `json:",omitempty"` // --opt, as typed
	CreatedAt time.Time
}

// NetworkEvents are those of a container that is connected to its networks, or
// disconnected, as it starts and ends. kind is Container.Network; now may be nil.
func NetworkEvents(action, container, kind string, now *slirp.Attached) []*Event {
	event := func(name, driver, id string) *Event {
		return &Event{Type: "network", Action: action, Actor: Actor{id, map[string]string{"name": name, "type": driver, "container": container}}}
	}
	switch {
	case kind == "host":
		return []*Event{event(kind, "host", slirp.StillID(kind))}
	case kind == "none":
		return []*Event{event(kind, "null", slirp.StillID(kind))}
	case now == nil:
		return nil
	}
	var list []*Event
	for _, e := range now.Endpoints {
		list = append(list, event(e.Network, slirp.DriverBridge, e.NetworkID))
	}
	return list
}

// NetworkUse says how a container is on a bridge network: what was asked for.
type NetworkUse struct {
	Name      string     // of the network
	Interface string     `json:",omitempty"` // inside; "": the first free ethN
	IP        netip.Addr `json:",omitzero"`  // zero: chosen at each start
	IP6       netip.Addr `json:",omitzero"`
	MAC       string     `json:",omitempty"` // 02:42:… in lower case; "": from the address
	Aliases   []string   `json:",omitempty"`
}

// LockNetworks takes the lock under which networks are made and removed: two who
// make one must not choose the same subnet. Close the file to give it back.
func (s *Store) LockNetworks() (*os.File, error) { return lockDir(s.Path("networks")) }

// SaveNetwork writes a new network, durably; the caller holds LockNetworks. It is
// refused with ErrNetworkExists where there is one of that name.
func (s *Store) SaveNetwork(n *Network) error {
	if !validVolume(n.Name) {
		return fmt.Errorf("%q is no name of a network", n.Name)
	}
	dir := s.Path("networks", n.Name)
	// A folder without a record is of somebody who was killed between the two steps.
	if err := unix.Mkdir(dir, 0o700); err != nil && err != unix.EEXIST {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: err}
	}
	path := filepath.Join(dir, "network.json")
	if err := loadJSON(path, new(Network)); !errors.Is(err, fs.ErrNotExist) {
		return ErrNetworkExists // or one that cannot be read, which `network rm` removes
	}
	if err := saveJSON(path, n, atomicfile.Durable); err != nil {
		_ = os.Remove(dir)
		return err
	}
	return atomicfile.SyncDir(s.Path("networks"))
}

// LoadNetwork reads one network by its name: errors.Is(err, ErrNoNetwork) when there
// is none.
func (s *Store) LoadNetwork(name string) (*Network, error) {
	if !validVolume(name) {
		return nil, ErrNoNetwork
	}
	var n Network
	err := loadJSON(s.Path("networks", name, "network.json"), &n)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG):
		return nil, ErrNoNetwork
	case err != nil:
		return nil, err
	case n.Name != name || !ValidID(n.ID) || len(n.Subnets) == 0:
		return nil, fmt.Errorf("%s does not speak of network %s", s.Path("networks", name, "network.json"), name)
	}
	return &n, nil
}

// Networks lists all, by name. One whose record cannot be read is left out, and in
// err: the others are there all the same.
func (s *Store) Networks() (list []*Network, err error) {
	entries, err := os.ReadDir(s.Path("networks"))
	if err != nil {
		return nil, err
	}
	var bad []error
	for _, e := range entries {
		n, err := s.LoadNetwork(e.Name())
		switch {
		case errors.Is(err, ErrNoNetwork):
		case err != nil:
			bad = append(bad, err)
		default:
			list = append(list, n)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, errors.Join(bad...)
}

// FindNetwork resolves a name, a full id or an unambiguous prefix of an id:
// errors.Is(err, ErrNoNetwork) when there is none.
func (s *Store) FindNetwork(ref string) (*Network, error) {
	n, err := s.LoadNetwork(ref)
	if !errors.Is(err, ErrNoNetwork) || ref == "" || strings.Trim(ref, "0123456789abcdef") != "" {
		return n, err
	}
	list, err := s.Networks()
	if err != nil && len(list) == 0 {
		return nil, err
	}
	found := slices.DeleteFunc(list, func(n *Network) bool { return !strings.HasPrefix(n.ID, ref) })
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, ErrNoNetwork
	}
	return nil, hint.Newf(fmt.Sprintf("find network %q", ref), "type more of the id", "it is the start of %d ids", len(found)).WithCode(1)
}

// NetworkUsers says which containers, whatever their state and host, name which
// network in their record. A record that cannot be read is an error: what it names
// is not known, and no network may be taken for unused.
func (s *Store) NetworkUsers() (map[string][]string, error) {
	ids, err := s.ContainerIDs()
	if err != nil {
		return nil, err
	}
	users := map[string][]string{}
	for _, id := range ids {
		c, err := s.LoadContainer(id)
		if errors.Is(err, fs.ErrNotExist) {
			continue // half made: it has not looked its networks up yet
		}
		if err != nil {
			return nil, hint.New("see which networks container "+shortID(id)+" uses", err, "remove it: rc rm -f "+shortID(id)).WithCode(1)
		}
		for _, n := range c.Networks {
			users[n.Name] = append(users[n.Name], id)
		}
	}
	return users, nil
}

// RemoveNetwork removes an unused network; the caller holds LockNetworks. It refuses
// with ErrNetworkInUse and ErrNoNetwork. One whose record cannot be read goes, too.
func (s *Store) RemoveNetwork(name string) error {
	if !validVolume(name) {
		return ErrNoNetwork
	}
	users, err := s.NetworkUsers()
	if err != nil {
		return err
	}
	if ids := users[name]; len(ids) > 0 {
		return fmt.Errorf("%w by container %s", ErrNetworkInUse, strings.Join(shortIDs(ids), ", "))
	}
	dir := s.Path("networks", name)
	err = os.Remove(filepath.Join(dir, "network.json")) // the network is gone from here on
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		err = ErrNoNetwork
	}
	_ = os.Remove(dir)
	return err
}
