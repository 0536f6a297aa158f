package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// width is how many connections are made at a time.
const width = 8

// result is what one look at a path has shown.
type result struct {
	Send, Receive float64       // bytes per second, one stream
	Moved         int64         // bytes, both ways together
	CPU           time.Duration // of this process, while it moved them
	Connections   float64       // per second, width at a time: open, one byte there and back, close
	RoundTrip     time.Duration // median, of one byte on a connection that is open
}

func bulk(address string, each time.Duration) (r result, err error) {
	before := cpu()
	var sent, received int64
	if r.Send, sent, err = send(address, each); err != nil {
		return r, err
	}
	r.Receive, received, err = receive(address, each)
	r.Moved, r.CPU = sent+received, cpu()-before
	return r, err
}

func small(address string, each time.Duration) (r result, err error) {
	if r.RoundTrip, err = roundTrip(address, each); err != nil {
		return r, err
	}
	r.Connections, err = connections(address, each)
	return r, err
}

func open(address string, kind byte) (net.Conn, error) {
	c, err := net.DialTimeout("tcp", address, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	_, err = c.Write([]byte{kind})
	return c, err
}

// send counts what arrived: the clock stops when the other side has read it all.
func send(address string, each time.Duration) (rate float64, total int64, err error) {
	c, err := open(address, sink)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	b := make([]byte, block)
	begin := time.Now()
	for time.Since(begin) < each {
		if _, err := c.Write(b); err != nil {
			return 0, 0, err
		}
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return 0, 0, err
	}
	if err := binary.Read(c, binary.BigEndian, &total); err != nil {
		return 0, 0, err
	}
	return float64(total) / time.Since(begin).Seconds(), total, nil
}

func receive(address string, each time.Duration) (rate float64, total int64, err error) {
	c, err := open(address, source)
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	b := make([]byte, block)
	begin := time.Now()
	for time.Since(begin) < each {
		n, err := c.Read(b)
		if err != nil {
			return 0, 0, err
		}
		total += int64(n)
	}
	return float64(total) / time.Since(begin).Seconds(), total, nil
}

func roundTrip(address string, each time.Duration) (time.Duration, error) {
	c, err := open(address, echo)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var times []time.Duration
	for begin := time.Now(); time.Since(begin) < each; {
		now := time.Now()
		if err := there(c); err != nil {
			return 0, err
		}
		times = append(times, time.Since(now))
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}

// there sends one byte and waits for it to come back.
func there(c net.Conn) error {
	b := []byte{'x'}
	if _, err := c.Write(b); err != nil {
		return err
	}
	_, err := io.ReadFull(c, b)
	return err
}

// connections leaves it to the server to close first. Else the client, or what stands
// for it on the host, would keep each port in TIME_WAIT for a minute, and run out of
// them (net.ipv4.ip_local_port_range) within a few measurements.
func connections(address string, each time.Duration) (rate float64, err error) {
	var wg sync.WaitGroup
	var made atomic.Int64
	failures := make(chan error, width)
	begin := time.Now()
	for range width {
		wg.Go(func() {
			for time.Since(begin) < each {
				if err := visit(address); err != nil {
					failures <- err
					return
				}
				made.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(begin)
	select {
	case err = <-failures:
	default:
	}
	return float64(made.Load()) / took.Seconds(), err
}

func visit(address string) error {
	c, err := open(address, once)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := there(c); err != nil {
		return err
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("no end of file: %d bytes, %w", n, err)
	}
	return nil
}

// cpu is what this process has used, in the kernel too.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for a bad argument only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
