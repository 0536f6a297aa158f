package main

import (
	"io"
	"net"
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// The ports that stand serves, each over tcp and udp, IPv4 and IPv6.
const (
	echoPort  = "7"    // says back what it hears, for as long as the other likes
	helloPort = "80"   // "hello ADDRESS", the address that it sees, and good-bye
	sinkPort  = "9"    // udp only: counts packets, see countPort
	countPort = "1009" // tcp only: how many packets came to sinkPort
)

// stand serves until SIGTERM.
func stand([]string) error {
	var sunk atomic.Int64
	for _, port := range []string{echoPort, helloPort, sinkPort} {
		c, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return err
		}
		go packets(c, port, &sunk)
	}
	for _, port := range []string{echoPort, helloPort, countPort} {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go accept(l, port, &sunk)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	<-end
	return nil
}

func packets(c net.PacketConn, port string, sunk *atomic.Int64) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFrom(buf)
		switch {
		case err != nil:
			return
		case port == sinkPort:
			sunk.Add(1)
		case port == helloPort:
			_, _ = c.WriteTo([]byte("hello "+from.String()), from)
		default:
			_, _ = c.WriteTo(buf[:n], from)
		}
	}
}

func accept(l net.Listener, port string, sunk *atomic.Int64) {
	for {
		c, err := l.Accept()
		if err != nil {
			continue // EMFILE: somebody leaves
		}
		switch port {
		case countPort:
			_ = printTo(c, sunk.Load())
			_ = c.Close()
		case helloPort:
			_, _ = io.WriteString(c, "hello "+c.RemoteAddr().String())
			_ = c.Close()
		default:
			go echo(c)
		}
	}
}

// echo has a small buffer: ten thousand of them are one test.
func echo(c net.Conn) {
	defer c.Close()
	buf := make([]byte, 256)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}
