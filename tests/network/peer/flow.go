package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Flow is what became of one conversation: a word there and back every 2 ms.
type Flow struct {
	Rounds  int
	Lost    int           // of udp
	Longest time.Duration // between an answer and the next
	Err     string        // the end of a tcp connection, which nothing may cause
}

// flow tcp|udp ADDR SECONDS talks to an echo, until SIGTERM at most.
func flow(args []string) error {
	network, addr := args[0], args[1]
	c, err := net.DialTimeout(network, addr, 5*time.Second)
	// `rc run -d` is back before the service inside listens.
	for begun := time.Now(); errors.Is(err, unix.ECONNREFUSED) && time.Since(begun) < 2*time.Second; time.Sleep(5 * time.Millisecond) {
		c, err = net.DialTimeout(network, addr, 5*time.Second)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	end := make(chan os.Signal, 1)
	signal.Notify(end, unix.SIGTERM)
	over := time.After(seconds(number(args, 2, 10)))
	_ = print("begun") // whoever waits for it may begin to kill
	f, last := Flow{}, time.Now()
	for {
		select {
		case <-end:
			return print(f)
		case <-over:
			return print(f)
		case <-time.After(2 * time.Millisecond):
		}
		err := round(c, network, f.Rounds)
		switch {
		case err == nil:
			f.Rounds++
			f.Longest = max(f.Longest, time.Since(last))
			last = time.Now()
		case network == "udp":
			f.Lost++
		default:
			f.Err = err.Error()
			return print(f)
		}
	}
}

// round says a word and waits for it. A lost datagram costs a second.
func round(c net.Conn, network string, n int) error {
	limit := 20 * time.Second
	if network == "udp" {
		limit = time.Second
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	word := fmt.Sprintf("%016x", n)
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	buf := make([]byte, len(word))
	for {
		if _, err := io.ReadFull(c, buf); err != nil {
			return err
		}
		if string(buf) == word {
			return nil
		}
		if network != "udp" {
			return fmt.Errorf("%q came back as %q", word, buf)
		}
	}
}

// dialOne tcp|udp ADDR prints what a hello server says.
func dialOne(args []string) error {
	c, err := net.DialTimeout(args[0], args[1], 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	if strings.HasPrefix(args[0], "udp") {
		if _, err := io.WriteString(c, "?"); err != nil {
			return err
		}
		buf := make([]byte, 1500)
		n, err := c.Read(buf)
		fmt.Println(string(buf[:n]))
		return err
	}
	text, err := io.ReadAll(c)
	fmt.Println(string(text))
	return err
}

// hold ADDR N opens as many connections as it can, N at most, keeps them for ten
// seconds and prints how many there were.
func hold(args []string) error {
	var open []net.Conn
	for range number(args, 1, 1000) {
		c, err := net.DialTimeout("tcp", args[0], time.Second)
		if err != nil {
			break
		}
		open = append(open, c)
	}
	err := print(len(open))
	time.Sleep(seconds(number(args, 2, 10)))
	return err
}

// count ADDR prints how many datagrams came to the sink there.
func count(args []string) error {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(args[0], countPort), 2*time.Second)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.Copy(os.Stdout, c)
	return err
}

func printTo(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }
