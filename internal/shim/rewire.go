package shim

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/stage/control"
	"github.com/rc-containers/rc/slirp"
)

// changeLimit bounds the wait for a keeper that is being started anew.
const changeLimit = 5 * time.Second

// changeNetwork puts the running container on a network more or less, or publishes
// other ports.
func (s *shim) changeNetwork(change *slirp.Change) (*control.Reply, error) {
	const op = "change the container's network"
	s.mu.Lock()
	net, launched := s.net, s.launched
	s.mu.Unlock()
	switch {
	case change == nil:
		return nil, hint.New(op, unix.EINVAL, "")
	case !launched:
		return nil, hint.New(op, errNoInit, "try again when it runs")
	case net == nil:
		return nil, hint.Newf(op, "start it with --network "+slirp.DefaultNetwork, "its network is %s", s.cfg.Network)
	}
	attached, err := net.change(change)
	if err != nil {
		return nil, err
	}
	s.networkIs(attached)
	st := s.snapshot()
	return &control.Reply{State: &st}, nil
}

// change asks the keeper, and has later keepers asked for the same.
func (n *network) change(c *slirp.Change) (*slirp.Attached, error) {
	n.changes.Lock()
	defer n.changes.Unlock()
	var err error
	for end := time.Now().Add(changeLimit); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		n.mu.Lock()
		client, driver := n.client, n.attach.Driver
		if n.attach.Bridged() {
			driver = slirp.DriverBridge
		}
		n.mu.Unlock()
		if client == nil { // it is being attached again
			err = hint.New("change the container's network", slirp.ErrNoKeeper, "try again")
			continue
		}
		var got *slirp.Attached
		if got, err = client.Change(*c); err == nil {
			n.mu.Lock()
			defer n.mu.Unlock()
			switch {
			case c.Connect != nil:
				n.attach.Endpoints = append(slices.Clone(n.attach.Endpoints), *c.Connect)
			case c.Rename != "":
				n.attach.Name = c.Rename
			case c.Disconnect != "":
				n.attach.Endpoints = slices.DeleteFunc(slices.Clone(n.attach.Endpoints), func(e slirp.Endpoint) bool { return e.Network.Name == c.Disconnect })
			}
			n.attach.Driver = driver // also without any network left
			n.remember(got)
			return got, nil
		}
		if !errors.Is(err, slirp.ErrNoKeeper) {
			break
		}
	}
	return nil, err
}

// networkIs notes what the container has now, for those who ask and in its files.
func (s *shim) networkIs(now *slirp.Attached) {
	var before *slirp.Attached
	s.update(func(st *record.State) { before, st.Net = st.Net, now })
	if before != nil && sameAddresses(before, now) && slices.Equal(before.Ports, now.Ports) && slices.Equal(before.Lost, now.Lost) {
		return
	}
	s.writeAddresses(before, now)
	_ = s.save(atomicfile.Fast) // else `rc inspect` is late, and nothing worse
	s.lostPorts(before, now)
}

func sameAddresses(a, b *slirp.Attached) bool {
	return slices.Equal(ownLines("x", a), ownLines("x", b)) && slices.Equal(a.DNS, b.DNS)
}

// writeAddresses brings hosts and resolv.conf of the container, which it has mounted,
// up to date: they are changed in place. Before is what they speak of, nil for nothing.
// The container may have written anything there.
func (s *shim) writeAddresses(before, now *slirp.Attached) {
	_ = rewrite(filepath.Join(s.cfg.Dir, "hosts"), func(text string) string {
		old := ownLines(s.cfg.Spec.Hostname, before)
		kept := slices.DeleteFunc(strings.SplitAfter(text, "\n"), func(line string) bool { return slices.Contains(old, line) })
		if n := len(kept); n > 0 && kept[n-1] != "" && !strings.HasSuffix(kept[n-1], "\n") {
			kept[n-1] += "\n"
		}
		return strings.Join(append(kept, ownLines(s.cfg.Spec.Hostname, now)...), "")
	})
	dns := s.cfg.Again.DNS
	switch bridged := s.net.attach.Bridged(); {
	case bridged && len(now.Endpoints) == 0 && now.IP != "": // the fallback
		_ = rewrite(filepath.Join(s.cfg.Dir, "resolv.conf"), func(string) string {
			return slirp.ResolvConf(dns, slirp.HostResolvConf(), now.DNS...)
		})
	case bridged && before != nil && !slices.Equal(before.DNS, now.DNS):
		_ = rewrite(filepath.Join(s.cfg.Dir, "resolv.conf"), func(string) string {
			return slirp.BridgeResolvConf(dns, slirp.HostResolvConf(), now.DNS...)
		})
	}
}

// ownLines are the container's own names in its hosts file.
func ownLines(hostname string, a *slirp.Attached) []string {
	if a == nil || hostname == "" {
		return nil
	}
	var addrs []netip.Addr
	for _, e := range a.Endpoints {
		addrs = append(addrs, e.IP, e.IP6)
	}
	if ip, err := netip.ParseAddr(a.IP); err == nil && len(a.Endpoints) == 0 {
		addrs = append(addrs, ip)
	}
	var lines []string
	for _, ip := range addrs {
		if ip.IsValid() {
			lines = append(lines, slirp.HostsLine(ip.String(), hostname))
		}
	}
	return lines
}

// maxText bounds what is read of a file that a container can write, in bytes.
const maxText = 1 << 20

// rewrite changes the content of a file and not the file: it is mounted.
func rewrite(path string, change func(string) string) error {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return errors.Join(err, unix.EINVAL)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxText))
	if err != nil {
		return err
	}
	text := change(string(data))
	if text == string(data) {
		return nil
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return f.Truncate(int64(len(text)))
}
