package trace

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/version"
)

// Output is FILE, open since before anything was started.
type Output struct {
	path string
	file *os.File
	all  *memory
}

// Open begins the trace of this command, which is to be written to path. What is in
// an existing file stays until then, so a command line with a mistake costs nothing.
func Open(path string) (*Output, error) {
	op := "write the trace to " + path
	// The folder may be one that containers write to, too: no link of theirs leads us to
	// another file, and no pipe of theirs holds us up.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if err != nil {
		return nil, hint.New(op, hint.Cause(err), "name a file that you can write to, itself and not by a symbolic link")
	}
	setClock()
	m, err := create()
	if err != nil {
		_ = f.Close()
		return nil, hint.New(op, err, "")
	}
	here.Store(m)
	if !born.IsZero() {
		m.put(RC, Mark{Name: "read the global flags", Began: when(born), Took: max(now()-when(born), 1)})
	}
	return &Output{path, f, m}, nil
}

// patience is how long rc waits for the marks of those that still work: a shim takes
// a few milliseconds to remove what it made; one that was killed never leaves.
const patience = time.Second

// Close writes the file. args is the command line, for who finds the file later.
func (o *Output) Close(args []string) error {
	t := o.all.table
	for end := time.Now().Add(patience); t.joined.Load() > t.left.Load()+1 && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	text := render(t, args)
	Leave()
	err := o.file.Truncate(0)
	if err != nil && err.(*os.PathError).Err == unix.EINVAL { // a pipe or a terminal
		err = nil
	}
	if err == nil {
		_, err = o.file.Write(text)
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return hint.New("write the trace to "+o.path, hint.Cause(err), "free some disk space")
	}
	return nil
}

// mark is a slot that was read and checked.
type mark struct {
	Mark
	role Role
}

// read takes what is whole. Any process that had the memory may have written anything.
func read(t *table) []mark {
	var list []mark
	for i := range min(int(t.used.Load()), slots) {
		s := &t.slots[i]
		if s.ready.Load() == 0 {
			continue
		}
		m := mark{Mark{string(s.name[:min(int(s.size), len(s.name))]), s.began, s.took, s.kind}, s.role}
		if m.role == 0 || int(m.role) >= len(roles) || m.Kind > aside|waiting|apart || m.Took < 0 || m.Began <= 0 {
			continue
		}
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b mark) int {
		if a.Began != b.Began {
			return int(min(max(a.Began-b.Began, -1), 1))
		}
		return int(min(max(b.Took-a.Took, -1), 1)) // the outer one first
	})
	return list
}

// render makes the text: the object form of the Trace Event Format, whose times are
// microseconds, here since the first mark. otherData keeps that moment on the
// machine's clock.
func render(t *table, args []string) []byte {
	list := read(t)
	origin := int64(0)
	if len(list) > 0 {
		origin = list[0].Began
	}
	b := []byte(`{"displayTimeUnit":"ns","otherData":{"program":"rc ` + clean(version.Version) + `","clock":"CLOCK_MONOTONIC","origin_ns":`)
	b = strconv.AppendInt(b, origin, 10)
	b = append(b, `,"command":"rc`...)
	for _, a := range args {
		b = append(append(b, ' '), clean(a)...)
	}
	b = append(b, "\"},\n\"traceEvents\":["...)
	seen := map[Role]bool{}
	comma := "\n"
	for _, m := range list {
		if !seen[m.role] {
			seen[m.role] = true
			b = fmt.Appendf(b, `%s{"ph":"M","name":"process_name","pid":%d,"tid":0,"args":{"name":"%s"}}`, comma, m.role, roles[m.role])
			b = fmt.Appendf(b, ",\n"+`{"ph":"M","name":"process_sort_index","pid":%d,"tid":0,"args":{"sort_index":%d}}`, m.role, m.role)
		}
		comma = ",\n"
		b = m.render(append(b, comma...), origin)
	}
	return append(b, "\n]}\n"...)
}

func (m *mark) render(b []byte, origin int64) []byte {
	b = append(append(append(b, `{"ph":"`...), "iX"[min(m.Took, 1)]), `","name":"`...)
	b = append(append(b, clean(m.Name)...), `","pid":`...)
	b = append(strconv.AppendInt(b, int64(m.role), 10), `,"tid":`...)
	b = append(strconv.AppendInt(b, int64(m.Kind&(aside|apart)), 10), `,"ts":`...)
	b = micro(b, m.Began-origin)
	if m.Took == 0 {
		return append(b, `,"s":"p"}`...)
	}
	if m.Kind&waiting != 0 {
		b = append(b, `,"cat":"wait","cname":"grey"`...)
	}
	return append(micro(append(b, `,"dur":`...), m.Took), '}')
}

// micro writes nanoseconds as microseconds.
func micro(b []byte, ns int64) []byte {
	return strconv.AppendFloat(b, float64(ns)/1000, 'f', 3, 64)
}

// clean makes a text one that stands between quotes in JSON.
func clean(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			b[i] = '?'
		}
	}
	return string(b)
}
