package scope

import (
	"bufio"
	"encoding/binary"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

// bus is a systemd that answers what a test has it answer: as much of D-Bus as a
// private socket of systemd's speaks (SASL EXTERNAL, no Hello), or a bus.
type bus struct {
	t      *testing.T
	socket string

	stranger bool // it does not let us in
	lazy     bool // the first message lies in its buffer until a second comes

	mu      sync.Mutex
	calls   []string
	answers map[string][]answer // by member, used up but for the last
}

// answer is a reply, or an error by name, and signals after it.
type answer struct {
	body    []any
	refusal string
	job     string // result of JobRemoved that follows, for the job /job/1
	half    bool   // half a signal follows
}

func newBus(t *testing.T) *bus {
	t.Helper()
	b := &bus{t: t, socket: filepath.Join(t.TempDir(), "private"), answers: map[string][]answer{}}
	l, err := net.Listen("unix", b.socket)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(c)
		}
	}()
	return b
}

func (b *bus) on(member string, a ...answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers[member] = a
}

func (b *bus) called() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Join(b.calls, " ")
}

// serve does the handshake and answers until the other side has gone.
func (b *bus) serve(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	_, _ = r.ReadByte() // the nul byte
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch f := strings.Fields(line); {
		case f[0] == "AUTH" && len(f) == 2 && f[1] == "EXTERNAL":
			_, _ = c.Write([]byte("DATA\r\n"))
		case f[0] == "DATA" && len(f) == 1 && !b.stranger: // nothing said: the kernel's word
			_, _ = c.Write([]byte("OK 0123456789abcdef0123456789abcdef\r\n"))
		case f[0] == "AUTH", f[0] == "DATA":
			_, _ = c.Write([]byte("REJECTED EXTERNAL\r\n"))
		case f[0] == "BEGIN":
			b.answer(r, c)
			return
		default:
			_, _ = c.Write([]byte("ERROR\r\n"))
		}
	}
}

func (b *bus) answer(r *bufio.Reader, c net.Conn) {
	for {
		m, err := dbus.DecodeMessage(r)
		if err != nil {
			return
		}
		member, _ := m.Headers[dbus.FieldMember].Value().(string)
		if member == "Ping" {
			continue
		}
		if b.lazy {
			if _, err := dbus.DecodeMessage(r); err != nil {
				return
			}
		}
		if member == "Get" {
			member = m.Body[1].(string)
		}
		b.mu.Lock()
		b.calls = append(b.calls, member)
		list := b.answers[member]
		a := answer{}
		if len(list) > 0 {
			a = list[0]
		}
		if len(list) > 1 {
			b.answers[member] = list[1:]
		}
		b.mu.Unlock()
		if a.refusal == "hang up" {
			return
		}
		b.send(c, reply(m, a))
		if a.job != "" {
			b.send(c, jobRemoved("/job/7", "done")) // somebody else's
			b.send(c, jobRemoved("/job/1", a.job))
		}
		if a.half {
			var w strings.Builder
			must(b.t, jobRemoved("/job/9", "done").EncodeTo(&w, binary.LittleEndian))
			_, _ = c.Write([]byte(w.String()[:20]))
		}
	}
}

func reply(m *dbus.Message, a answer) *dbus.Message {
	r := &dbus.Message{Type: dbus.TypeMethodReply, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldReplySerial: dbus.MakeVariant(m.Serial()), dbus.FieldSender: dbus.MakeVariant(service)}, Body: a.body}
	if a.refusal != "" {
		r.Type, r.Body = dbus.TypeError, []any{"refused: " + a.refusal}
		r.Headers[dbus.FieldErrorName] = dbus.MakeVariant(a.refusal)
	}
	if len(r.Body) > 0 {
		r.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(r.Body...))
	}
	return r
}

func jobRemoved(job, result string) *dbus.Message {
	body := []any{uint32(1), dbus.ObjectPath(job), "rc.scope", result}
	return &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(root), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant("JobRemoved"),
		dbus.FieldSender: dbus.MakeVariant(service), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(body...))}, Body: body}
}

// send numbers the message as its sender must: godbus keeps that field to itself, so
// it is written into the encoded bytes (D-Bus specification, "Message Format").
func (b *bus) send(c net.Conn, m *dbus.Message) {
	var w strings.Builder
	if err := m.EncodeTo(&w, binary.LittleEndian); err != nil {
		b.t.Error(err)
		return
	}
	raw := []byte(w.String())
	binary.LittleEndian.PutUint32(raw[8:], 1)
	_, _ = c.Write(raw)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
