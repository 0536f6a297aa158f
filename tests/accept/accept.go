// Package accept answers connections, for the tests of whoever makes them.
package accept

import (
	"io"
	"net"
	"testing"

	"github.com/rc-containers/rc/slirp"
)

// Each runs f for each connection to l, whatever kind both are of, in a goroutine of
// its own, and closes it then. It returns at once and ends when l is closed.
func Each[C io.Closer, L interface{ Accept() (C, error) }](l L, f func(C)) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c) }()
		}
	}()
}

// At runs f for each connection to a TCP address, till the test ends; address is the
// same with the port that it got where it asked for 0.
func At(t testing.TB, at string, f func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	Each(l, f)
	return l.Addr().String()
}

// AtHost is At a port of the host's own address, which containers reach; a host without
// one skips the test.
func AtHost(t testing.TB, f func(net.Conn)) (address string) {
	t.Helper()
	own, err := slirp.HostAddress()
	if err != nil {
		t.Skip("this host has no way out: ", err)
	}
	return At(t, net.JoinHostPort(own.String(), "0"), f)
}

// Saying is an f which says text, and nothing else.
func Saying(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// Caller says the address that it sees.
func Caller(c net.Conn) { _, _ = io.WriteString(c, c.RemoteAddr().String()) }

// Echo says what it hears.
func Echo(c net.Conn) { _, _ = io.Copy(c, c) }
