package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

var types = map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "PTR": dnsmessage.TypePTR, "TXT": dnsmessage.TypeTXT, "ANY": dnsmessage.TypeALL}

// Answer is one answer of DNS.
type Answer struct {
	Code string
	Data []string
}

// resolver is the first of /etc/resolv.conf.
func resolver() (string, error) {
	data, err := os.ReadFile("/etc/resolv.conf")
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == "nameserver" {
			return net.JoinHostPort(f[1], "53"), nil
		}
	}
	return "", errors.Join(err, errors.New("no nameserver in /etc/resolv.conf"))
}

// ask NAME [TYPE] [@SERVER] prints an Answer.
func ask(args []string) error {
	server, err := resolver()
	kind := dnsmessage.TypeA
	for _, a := range args[1:] {
		if s, ok := strings.CutPrefix(a, "@"); ok {
			server, err = net.JoinHostPort(s, "53"), nil
		} else {
			kind = types[a]
		}
	}
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	// As the C library does (resolv.conf(5), attempts): a question that a keeper had when
	// it was killed is not answered.
	began := time.Now()
	a, err := exchange(c, args[0], kind, time.Second)
	for lost, refused := 0, 0; err != nil && lost < 3 && refused < 20; a, err = exchange(c, args[0], kind, time.Second) {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			lost++
		case errors.Is(err, unix.ECONNREFUSED): // nobody listens: the next keeper is a moment away
			refused++
			time.Sleep(50 * time.Millisecond)
		default:
			return err
		}
		fmt.Fprintf(os.Stderr, "asked again after %v: %v\n", time.Since(began), err)
	}
	if err != nil {
		return err
	}
	return print(a)
}

func question(id uint16, name string, kind dnsmessage.Type) ([]byte, error) {
	n, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: n, Type: kind, Class: dnsmessage.ClassINET}}}
	return m.Pack()
}

// exchange asks over a connected datagram socket.
func exchange(c net.Conn, name string, kind dnsmessage.Type, limit time.Duration) (*Answer, error) {
	id := uint16(rand.Uint32())
	q, err := question(id, name, kind)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(q); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || m.ID != id {
			continue
		}
		return readAnswer(&m), nil
	}
}

func readAnswer(m *dnsmessage.Message) *Answer {
	a := &Answer{Code: strings.TrimPrefix(m.RCode.String(), "RCode")}
	for _, r := range m.Answers {
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			a.Data = append(a.Data, net.IP(b.A[:]).String())
		case *dnsmessage.AAAAResource:
			a.Data = append(a.Data, net.IP(b.AAAA[:]).String())
		case *dnsmessage.PTRResource:
			a.Data = append(a.Data, strings.TrimSuffix(b.PTR.String(), "."))
		default:
			a.Data = append(a.Data, r.Header.Type.String())
		}
	}
	return a
}

// Load is what became of many questions.
type Load struct {
	Asked, Right, Wrong, Unanswered int
	Median, P99                     time.Duration
}

// questions NAME RATE SECONDS asks that often, over 16 sockets. An answer that says
// anything else than NOERROR with an address is wrong.
func questions(args []string) error {
	server, err := resolver()
	if err != nil {
		return err
	}
	rate, long := number(args, 1, 1000), seconds(number(args, 2, 5))
	const sockets = 16
	var mu sync.Mutex
	var load Load
	var took []time.Duration
	var wg sync.WaitGroup
	for range sockets {
		wg.Go(func() {
			c, err := net.Dial("udp", server)
			if err != nil {
				return
			}
			defer c.Close()
			tick := time.NewTicker(time.Second * sockets / time.Duration(rate))
			defer tick.Stop()
			for end := time.Now().Add(long); time.Now().Before(end); <-tick.C {
				began := time.Now()
				a, err := exchange(c, args[0], dnsmessage.TypeA, 2*time.Second)
				mu.Lock()
				load.Asked++
				switch {
				case err != nil:
					load.Unanswered++
				case a.Code != "Success" || len(a.Data) == 0:
					load.Wrong++
				default:
					load.Right++
				}
				took = append(took, time.Since(began))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	if len(took) > 0 {
		load.Median, load.P99 = took[len(took)/2], took[len(took)*99/100]
	}
	return print(load)
}

// fuzz SECONDS SEED sends what is almost a question, over udp and tcp, and prints
// how much that was.
func fuzz(args []string) error {
	server, err := resolver()
	if err != nil {
		return err
	}
	r := rand.New(rand.NewPCG(uint64(number(args, 1, 1)), 0))
	c, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	sent := 0
	for end := time.Now().Add(seconds(number(args, 0, 10))); time.Now().Before(end); sent++ {
		p := mutant(r)
		_, _ = c.Write(p) // ECONNREFUSED would be an answer too
		if sent%50 == 0 {
			fuzzTCP(server, r, p)
		}
		if sent%20 == 0 {
			time.Sleep(time.Millisecond) // some 10,000 a second
		}
	}
	return print(sent)
}

// mutant is a question with flipped, cut, repeated and invented bytes; some are
// compression pointers that run in circles, and counts of records that are not there.
func mutant(r *rand.Rand) []byte {
	names := []string{"one", "two.some", "1.0.0.10.in-addr.arpa", "example.com", strings.Repeat("a", 60) + "." + strings.Repeat("b", 60), "host.containers.internal"}
	p, err := question(uint16(r.Uint32()), names[r.IntN(len(names))], dnsmessage.Type(r.IntN(300)))
	if err != nil {
		return []byte{0}
	}
	for range r.IntN(8) {
		switch at := r.IntN(len(p)); r.IntN(7) {
		case 0:
			p[at] ^= 1 << r.IntN(8)
		case 1:
			p = p[:at+1]
		case 2:
			p = append(p, p[:at]...)
		case 3:
			p[at] = 0xC0
		case 4:
			binary.BigEndian.PutUint16(p[min(at, len(p)-2):], uint16(r.Uint32()))
		case 5:
			p = append(p, 0, 0, 41, 0xFF, 0xFF, 0, 0, 0x80, 0, 0xFF, 0xFF) // OPT that claims more than there is
		case 6:
			p = append(p, bytes.Repeat([]byte{byte(r.Uint32())}, r.IntN(600))...)
		}
		if len(p) < 2 {
			return p
		}
	}
	return p[:min(len(p), 60000)]
}

// fuzzTCP sends it with a length that may be a lie, and hangs up or not.
func fuzzTCP(server string, r *rand.Rand, p []byte) {
	c, err := net.DialTimeout("tcp", server, time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	n := len(p)
	if r.IntN(2) == 0 {
		n = r.IntN(65536)
	}
	_ = c.SetDeadline(time.Now().Add(50 * time.Millisecond))
	_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(n)), p...))
	if r.IntN(2) == 0 {
		_, _ = io.Copy(io.Discard, c)
	}
}

// hog N: opens N connections to the resolver, says half a question over each, waits,
// and prints how many it got and how many were still open in the end.
func hog(args []string) error {
	server, err := resolver()
	if err != nil {
		return err
	}
	var open []net.Conn
	for range number(args, 0, 1000) {
		c, err := net.DialTimeout("tcp", server, 500*time.Millisecond)
		if err != nil {
			break
		}
		_, _ = c.Write([]byte{0, 40, 1})
		open = append(open, c)
	}
	time.Sleep(500 * time.Millisecond)
	alive := 0
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			alive++
		}
	}
	fmt.Println(len(open), alive)
	time.Sleep(seconds(number(args, 1, 0)))
	return nil
}

// resolve ADDR ANSWER is a resolver that has one answer to everything, on the host.
func resolve(args []string) error {
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	ip := [4]byte(net.ParseIP(args[1]).To4())
	buf := make([]byte, 4096)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		q := m.Questions[0]
		answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			answer.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: ip}}}
		}
		if p, err := answer.Pack(); err == nil {
			_, _ = c.WriteTo(p, from)
		}
	}
}
