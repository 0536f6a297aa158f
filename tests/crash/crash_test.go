// Package crash kills rc's processes, one at a time and without warning, and
// looks at what the next command makes of it: no hang, no lie from `rc ps -a`, no
// process, mount, cgroup or file left behind, and the next run works.
//
//	RC_BIN=$PWD/bin go test ./tests/crash -run TestKillDuringRun -v
//
// RC_CRASH_SEED repeats a run's moments, as far as the machine does.
package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/tests/hostile/caller"
	"github.com/rc-containers/rc/tests/images"
)

const image = "localhost/crash/base:latest"

var (
	user     *caller.Caller
	registry string // host:port of a registry that takes its time
	random   *rand.Rand
)

func TestMain(m *testing.M) { caller.Main(m, prepare) }

func prepare(c *caller.Caller) (stop func(), err error) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("RC_CRASH_SEED"), 10, 64); err == nil {
		seed = s
	}
	fmt.Printf("RC_CRASH_SEED=%d\n", seed)
	random = rand.New(rand.NewPCG(seed, 0))
	user = c
	base, err := user.Base()
	if err != nil {
		return nil, err
	}
	if err := user.Load(image, images.Image{Config: caller.Config(), Layers: []images.Layer{base}}.Build()); err != nil {
		return nil, err
	}
	return serve(base)
}

// serve offers crash/slow on loopback: the base, and 256 KB in each of three
// layers more, which take 0.2 s each.
func serve(base images.Layer) (stop func(), err error) {
	i := images.Image{Config: caller.Config()}
	packed := images.MakeLayer(images.Gzip, images.File("etc/first", 0o644, "x"))
	i.Layers = append(i.Layers, packed, base)
	for n := range 3 {
		body := make([]byte, 256<<10)
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		i.Layers = append(i.Layers, images.MakeLayer(images.Plain, images.File(fmt.Sprintf("etc/noise%d", n), 0o644, string(body))))
	}
	server := images.NewServer()
	server.Add("crash/slow", images.Sound, i.Build())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	registry = l.Addr().String()
	s := &http.Server{Handler: slowly{server}, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	dir := filepath.Join(user.Home, ".config", "containers")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	conf := fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", registry)
	return func() { _ = s.Close() }, os.WriteFile(filepath.Join(dir, "registries.conf"), []byte(conf), 0o600)
}

// slowly writes bodies in pieces of 64 KiB, 25 ms apart.
type slowly struct{ http.Handler }

func (s slowly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.Handler.ServeHTTP(&slowWriter{ResponseWriter: w}, r)
}

type slowWriter struct{ http.ResponseWriter }

func (s *slowWriter) Write(p []byte) (int, error) {
	total := 0
	for len(p) > 0 {
		n, err := s.ResponseWriter.Write(p[:min(len(p), 64<<10)])
		total += n
		if err != nil {
			return total, err
		}
		if p = p[n:]; len(p) > 0 {
			s.ResponseWriter.(http.Flusher).Flush()
			time.Sleep(25 * time.Millisecond)
		}
	}
	return total, nil
}

func require(t *testing.T) {
	t.Helper()
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
}

// running is a command in the background. Its end is bounded.
type running struct {
	done   chan caller.Result
	cancel func()
}

func background(args ...string) *running {
	ctx, cancel := context.WithTimeout(context.Background(), caller.Limit)
	r := &running{done: make(chan caller.Result, 1), cancel: cancel}
	cmd := user.Command(ctx, args...)
	go func() { r.done <- caller.Finish(ctx, cmd) }()
	return r
}

// end waits for it; false when it had to be killed.
func (r *running) end() (caller.Result, bool) {
	defer r.cancel()
	res := <-r.done
	return res, res.Code != -1
}

// oneStart is how long a start takes on this machine, to its end: moments are chosen
// within it, so that they lie in what is to be disturbed.
var oneStart = sync.OnceValue(func() time.Duration {
	var all []time.Duration
	for range 5 {
		begin := time.Now()
		user.RC("run", "--rm", "--network", "none", image, "true")
		all = append(all, time.Since(begin))
	}
	slices.Sort(all)
	return max(all[len(all)/2], time.Millisecond)
})

// strike kills a process whose name is one of these, at a moment from 0 to late
// after there is one: "" when there was none for half a second.
func strike(late time.Duration, names ...string) string {
	others := caller.PIDs()
	for _, p := range user.Ours() {
		delete(others, p.PID) // rc itself may be there already, and a keeper
	}
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
		for _, p := range user.OursBut(others) {
			if !contains(names, p.Name) {
				continue
			}
			time.Sleep(time.Duration(random.Int64N(int64(late) + 1)))
			if now, ok := caller.Look(p.PID); !ok || now.Line != p.Line {
				continue // it was quicker, or became the payload
			}
			if unix.Kill(p.PID, unix.SIGKILL) == nil {
				return p.Name
			}
		}
	}
	return ""
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// truth checks what a killed process may never cause, after one `rc ps -a`.
func truth(t *testing.T, when string) {
	t.Helper()
	for _, lie := range user.Lies() {
		t.Errorf("%s: %s", when, lie)
	}
}

// clean removes every container, and then nothing may be left.
func clean(t *testing.T, when string) {
	t.Helper()
	list, err := user.Ps()
	if err != nil {
		t.Errorf("%s: %v", when, err)
	}
	for _, l := range list {
		if r := user.RC("rm", "-f", "-v", l.Names); r.Code != 0 {
			t.Errorf("%s: rc rm -f %s (%s): %d %s", when, l.Names, l.Status, r.Code, r.Err)
		}
	}
	if left := user.Residue(4*time.Second, true); len(left) > 0 {
		t.Errorf("%s: left behind:\n  %s", when, strings.Join(left, "\n  "))
	}
}

// works: the next run is as if nothing had happened.
func works(t *testing.T, when string, args ...string) {
	t.Helper()
	r := user.RC(append(append([]string{"run", "--rm"}, args...), image, "echo", "fine")...)
	if r.Code != 0 || r.Out != "fine\n" {
		t.Errorf("%s: the next run: exit code %d, %q %q", when, r.Code, r.Out, r.Err)
	}
}
