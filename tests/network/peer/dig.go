package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

func init() {
	acts["dig"] = dig
	acts["storm"] = storm
	acts["lookup"] = lookup
}

// Digging is one answer, with how it came.
type Digging struct {
	Answer
	Truncated bool
	Bytes     int
	Took      time.Duration
}

// dig udp|tcp NAME TYPE SIZE [SERVER] asks once; a SIZE above 0 is said by EDNS.
func dig(args []string) error {
	server, err := resolver()
	if len(args) > 4 {
		server, err = net.JoinHostPort(args[4], "53"), nil
	}
	if err != nil {
		return err
	}
	name, err := dnsmessage.NewName(args[1])
	if err != nil {
		return err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: types[args[2]], Class: dnsmessage.ClassINET}}}
	if size := number(args, 3, 0); size > 0 {
		var h dnsmessage.ResourceHeader
		if err := h.SetEDNS0(size, 0, false); err != nil {
			return err
		}
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	packet, err := m.Pack()
	if err != nil {
		return err
	}
	began := time.Now()
	raw, err := say(args[0], server, packet)
	if err != nil {
		return err
	}
	var got dnsmessage.Message
	if err := got.Unpack(raw); err != nil {
		return fmt.Errorf("%w: %q", err, raw)
	}
	return print(Digging{*readAnswer(&got), got.Truncated, len(raw), time.Since(began)})
}

func say(proto, server string, packet []byte) ([]byte, error) {
	c, err := net.DialTimeout(proto, server, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(6 * time.Second))
	buf := make([]byte, 65535)
	if proto == "udp" {
		if _, err := c.Write(packet); err != nil {
			return nil, err
		}
		n, err := c.Read(buf)
		return buf[:n], err
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint16(buf)
	_, err = io.ReadFull(c, buf[:n])
	return buf[:n], err
}

// lookup NAME asks as programs do: by /etc/resolv.conf, its search list included.
func lookup(args []string) error {
	addrs, err := net.LookupHost(args[0])
	if err != nil {
		return err
	}
	return print(addrs)
}

// storm NAME SECONDS [deaf] asks as fast as it can and reads nothing. Deaf, it does
// not answer ARP either (needs CAP_NET_ADMIN), so that answers to it queue up.
func storm(args []string) error {
	if len(args) > 2 {
		if err := deafen("eth0"); err != nil {
			return err
		}
	}
	server, err := resolver()
	if err != nil {
		return err
	}
	packet, err := question(1, args[0], dnsmessage.TypeA)
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := 0
	fmt.Println("begun")
	for end := time.Now().Add(seconds(number(args, 1, 5))); time.Now().Before(end); sent++ {
		_, _ = c.Write(packet)
	}
	return print(sent)
}

// deafen switches ARP off on an interface (netdevice(7), IFF_NOARP).
func deafen(name string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	r, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, r); err != nil {
		return err
	}
	r.SetUint16(r.Uint16() | unix.IFF_NOARP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, r)
}
