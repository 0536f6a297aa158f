package forward

import (
	"io"
	"net"
	"testing"
	"time"
)

// BenchmarkRoundTrip is one byte there and back over an open connection.
func BenchmarkRoundTrip(b *testing.B) {
	s := newScene(b)
	s.serveTCP("tcp", ":80", func(c net.Conn) { _, _ = io.Copy(c, c) })
	_, port := s.publish("tcp", "", 80)
	for name, addr := range map[string]string{"port": net.JoinHostPort("127.0.0.1", port), "client": net.JoinHostPort(host4, port)} {
		b.Run(name, func(b *testing.B) {
			in := here
			if name == "client" {
				in = s.client.in
			}
			c, err := dialFrom(in, "tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			var buf [1]byte
			for b.Loop() {
				if _, err := c.Write(buf[:]); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf[:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDatagram is 1200 bytes there and back.
func BenchmarkDatagram(b *testing.B) {
	s := newScene(b)
	s.serveUDP("udp", ":53")
	_, port := s.publish("udp", "", 53)
	c, err := dialFrom(here, "udp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 2000)
	var slow int
	for b.Loop() {
		begin := time.Now()
		if _, err := c.Write(buf[:1200]); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		if time.Since(begin) > 500*time.Microsecond {
			slow++
		}
	}
	b.ReportMetric(float64(slow)/float64(b.N), "slow/op")
}
