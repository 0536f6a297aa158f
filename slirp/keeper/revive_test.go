package keeper

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/slirp"
)

// Many shims see a keeper die at the same moment: one is started.
func TestOneOfManyRevives(t *testing.T) {
	h := newHost(t)
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
				c, err := slirp.Dial(h.runtime)
				if err == nil {
					c.Close()
					return
				}
				if c, err = slirp.ReviveKeeper(h.runtime, h.birth(nil, nil)); err == nil {
					c.Close()
					return
				}
				if !errors.Is(err, slirp.ErrNotYet) {
					t.Error(err)
					return
				}
			}
			t.Error("no keeper came")
		})
	}
	all.Wait()
	if n := h.keepers(); n != 1 {
		t.Errorf("%d keepers", n)
	}
}

// keepers counts those that know the runtime folder: each has its words open there.
func (h *host) keepers() (n int) {
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, h.runtime+"/"+slirp.WordsName) {
			n++
		}
	}
	if n == 0 && h.keeperPID() != 0 {
		n = 1 // it is not ours to look at
	}
	return n
}

// A keeper that fails leaves its words, and the next one keeps them for the user.
func TestLastWords(t *testing.T) {
	h := newHost(t)
	h.mustStart().Close()
	pid := h.keeperPID()
	if err := unix.Kill(pid, unix.SIGABRT); err != nil { // Go's runtime ends with a trace of all goroutines
		t.Fatal(err)
	}
	h.eventually("the keeper is gone", func() bool { return !alive(pid) })
	if _, failed := slirp.TakeCrash(h.runtime); failed {
		t.Error("told before the next keeper")
	}
	h.mustStart().Close()
	path, failed := slirp.TakeCrash(h.runtime)
	text, err := os.ReadFile(path)
	if !failed || err != nil || !strings.Contains(string(text), "SIGABRT") || !strings.Contains(string(text), "goroutine ") {
		t.Errorf("%v %q %v", failed, text, err)
	}
	pid = h.keeperPID()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.eventually("the keeper is gone", func() bool { return !alive(pid) })
	h.mustStart().Close()
	if _, failed := slirp.TakeCrash(h.runtime); failed {
		t.Error("a keeper that was killed has said something")
	}
	h.stop()
	if _, err := os.Lstat(filepath.Join(h.runtime, slirp.WordsName)); !os.IsNotExist(err) {
		t.Errorf("words of a keeper that left: %v", err)
	}
}
