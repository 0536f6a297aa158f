// Command probe does over the network what busybox cannot. It is built static
// and shown to containers by -v.
//
//	probe udp-echo PORT        answers each datagram with "got " before it
//	probe udp-ask ADDRESS TEXT sends TEXT and prints the answer
package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 2 && args[0] == "udp-echo":
		return echo(args[1])
	case len(args) == 3 && args[0] == "udp-ask":
		return ask(args[1], args[2])
	}
	return errors.New("want udp-echo PORT or udp-ask ADDRESS TEXT")
}

func echo(port string) error {
	c, err := net.ListenPacket("udp", ":"+port)
	if err != nil {
		return err
	}
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		if _, err := c.WriteTo(append([]byte("got "), buf[:n]...), from); err != nil {
			return err
		}
	}
}

func ask(address, text string) error {
	c, err := net.Dial("udp", address)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	if err != nil {
		return err
	}
	fmt.Println(string(buf[:n]))
	return nil
}
