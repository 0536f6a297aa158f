package slirp

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"strings"
)

// PastaLoopback is where a container on pasta finds the host's loopback when it may
// (--host-loopback): what the user's options say, else at its gateway, and that is the
// host's own, which pasta copies. 10.0.2.2 is slirp4netns's address, and with pasta
// some machine of the world's. "" when the host has no gateway.
func PastaLoopback(options []string) string {
	at := ""
	for i, o := range options {
		name, value, joined := strings.Cut(o, "=")
		if !joined && i+1 < len(options) {
			value = options[i+1]
		}
		switch name {
		case "--map-host-loopback":
			return address(value)
		case "-g", "--gateway":
			at = address(value)
		}
	}
	if at != "" {
		return at
	}
	table, _ := os.ReadFile("/proc/net/route")
	return DefaultGateway(string(table))
}

// address is s, when it is one.
func address(s string) string {
	if a, err := netip.ParseAddr(s); err != nil || a.Zone() != "" {
		return ""
	}
	return s
}

// DefaultGateway finds the gateway of IPv4 in proc_pid_net(5), "route": interface, destination,
// gateway, ..., as numbers of the machine's own byte order. "" when there is none.
func DefaultGateway(table string) string {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 || f[1] != "00000000" || f[7] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		if err != nil || len(raw) != 4 {
			continue
		}
		// Printed as a number and stored in network order: as this machine stores it,
		// the bytes are the address's.
		var addr [4]byte
		binary.NativeEndian.PutUint32(addr[:], binary.BigEndian.Uint32(raw))
		return netip.AddrFrom4(addr).String()
	}
	return ""
}
