package slirp

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// Routes4 reads the text of /proc/net/route, whose numbers are in the host's byte order
// (fib_route_seq_show in the kernel's net/ipv4/fib_trie.c). Default routes are none.
func Routes4(text string) []netip.Prefix {
	var list []netip.Prefix
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		dest, err1 := strconv.ParseUint(f[1], 16, 32)
		mask, err2 := strconv.ParseUint(f[7], 16, 32)
		if err1 != nil || err2 != nil || mask == 0 {
			continue // the heading, too
		}
		var addr, bits [4]byte
		binary.NativeEndian.PutUint32(addr[:], uint32(dest))
		binary.NativeEndian.PutUint32(bits[:], uint32(mask))
		n := 0
		for n < 32 && bits[n/8]&(0x80>>(n%8)) != 0 {
			n++
		}
		list = append(list, netip.PrefixFrom(netip.AddrFrom4(addr), n).Masked())
	}
	return list
}
