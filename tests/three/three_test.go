// Package three runs three services of one user on one network, as the README shows
// it: MariaDB, a Python API and a Node.js page, of Debian's packages. They find each
// other by name, keep their data in a volume across rm, and answer on published ports.
//
//	RC_BIN=$PWD/bin go test ./tests/three -v
package three

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/hostile/caller"
)

const (
	// line bounds one block of the README: the longest makes three images of 600 MB.
	line = 2 * time.Minute
	// answer bounds the wait for a service: MariaDB fills an empty volume in 3 s here.
	answer = 30 * time.Second
)

// shop is the three services, as their user has them.
type shop struct {
	*testing.T
	user     *caller.Caller
	text     section
	api, web string // host:port, published
}

func TestThree(t *testing.T) {
	if why := caller.Unmet(); why != "" {
		t.Skip(why)
	}
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("the README types curl: apt-get install curl")
	}
	dir := cached(t)
	user := caller.For(t)
	// What is there already, build leaves alone: a fresh user waits for it, we do not.
	if err := os.Symlink(dir, filepath.Join(user.Home, "shop")); err != nil {
		t.Fatal(err)
	}
	s := &shop{T: t, user: user, text: readme(t)}
	s.web, s.api = s.moved("8080"), s.moved("8081")
	s.must(s.text.build)
	for _, part := range []struct {
		name string
		test func(*shop)
	}{
		{"Start", (*shop).start}, {"Use", (*shop).use}, {"Names", (*shop).names}, {"Users", (*shop).users},
		{"Apart", (*shop).apart}, {"Source", (*shop).source}, {"Replace", (*shop).replace}, {"Restart", (*shop).restart},
		{"All", (*shop).all}, {"Remove", (*shop).remove},
	} {
		if !t.Run(part.name, func(t *testing.T) { s := *s; s.T = t; part.test(&s) }) {
			t.Logf("%s\n%s", s.sh("rc ps -a; rc network ls").out, s.sh("for i in db api web; do echo $i:; rc logs --tail 15 $i 2>&1; done").out)
			s.sh("rc rm -f db api web; rc network rm shop; rc volume rm shop-data")
			return
		}
	}
}

// moved puts a free port in the place of the README's, which may be somebody's here.
func (s *shop) moved(port string) (address string) {
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		s.Fatal(err)
	}
	defer l.Close()
	_, free, _ := net.SplitHostPort(l.Addr().String())
	for _, block := range []*string{&s.text.start, &s.text.use, &s.text.replace} {
		*block = strings.ReplaceAll(*block, port, free)
	}
	return "localhost:" + free
}

type reply struct {
	out, err string
	code     int
}

// sh is what the user types, in the folder of the source, with rc in PATH.
func (s *shop) sh(text string) reply {
	s.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), line)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", "-e", "-c", text)
	cmd.Env, cmd.Dir = s.user.Command(ctx).Env, "../.."
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Second
	err := cmd.Run()
	r := reply{strings.TrimSpace(out.String()), strings.TrimSpace(errs.String()), caller.ExitCode(cmd.ProcessState)}
	if ctx.Err() != nil {
		r.code, r.err = -1, fmt.Sprintf("%s\nstill running after %v", r.err, line)
	} else if err != nil && cmd.ProcessState == nil {
		r.code, r.err = -1, err.Error()
	}
	return r
}

func (s *shop) must(text string) string {
	s.Helper()
	r := s.sh(text)
	if r.code != 0 {
		s.Fatalf("%s\ncode %d\n%s\n%s", text, r.code, r.out, r.err)
	}
	return r.out
}

// get asks a published port.
func (s *shop) get(url string) (string, error) {
	client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	r, err := client.Get("http://" + url)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if r.StatusCode != http.StatusOK {
		err = errors.Join(err, fmt.Errorf("%s: %s", r.Status, body))
	}
	return strings.TrimSpace(string(body)), errors.Join(err, r.Body.Close())
}

// within asks until the answer holds what is wanted.
func (s *shop) within(limit time.Duration, url, want string) {
	s.Helper()
	begin := time.Now()
	for {
		got, err := s.get(url)
		if err == nil && strings.Contains(got, want) {
			s.Logf("%s after %v", url, time.Since(begin).Round(time.Millisecond))
			return
		}
		if time.Since(begin) > limit {
			s.Fatalf("%s: not %q within %v: %q, %v", url, want, limit, got, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
