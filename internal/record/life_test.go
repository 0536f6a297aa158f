package record

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func alive(t *testing.T, s *Store, id string, want bool) {
	t.Helper()
	if got, err := s.Alive(id); err != nil || got != want {
		t.Errorf("alive: %v, %v; want %v", got, err, want)
	}
}

func TestLifeLock(t *testing.T) {
	s := newBox(t)
	id := ident('a')
	alive(t, s, id, false) // no lock file at all
	lock, err := s.TakeLife(id)
	ok(t, err)
	alive(t, s, id, true)
	if _, err := s.TakeLife(id); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("taken twice: %v", err)
	}
	alive(t, s, ident('b'), false)
	s.DropLife(id, lock)
	alive(t, s, id, false)
	path, err := s.LifeLockPath(id)
	ok(t, err)
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("DropLife leaves %s", path)
	}
	lock, err = s.TakeLife(id)
	ok(t, err)
	ok(t, lock.Close()) // a crash leaves the path and not the lock
	alive(t, s, id, false)
	if _, err := os.Lstat(path); err != nil {
		t.Error(err)
	}
	lock, err = s.TakeLife(id)
	ok(t, err)
	s.DropLife(id, lock)
}

// Asking must not take anything away from anybody.
func TestAliveDoesNotDisturb(t *testing.T) {
	s := newBox(t)
	id := ident('a')
	lock, err := s.TakeLife(id)
	ok(t, err)
	for range 100 {
		alive(t, s, id, true)
	}
	ok(t, lock.Close())
	before, _ := os.ReadDir("/proc/self/fd")
	for range 100 {
		alive(t, s, id, false)
	}
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) != len(before) {
		t.Errorf("%d descriptors leaked", len(after)-len(before))
	}
}

// A question at the same moment must not make a command fail which wants the
// lock of a dead container: `rc rm` beside `rc ps`.
func TestTakeLifeBesideQuestions(t *testing.T) {
	s := newBox(t)
	_, err := s.Runtime()
	ok(t, err)
	id := ident('a')
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := s.Alive(id); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for i := range 2000 {
		lock, err := s.TakeLife(id)
		if err != nil {
			t.Errorf("round %d: %v", i, err)
			break
		}
		_ = lock.Close()
	}
	stop.Store(true)
	wg.Wait()
}

// While one holder drops the lock and its path and others wait for it, never do
// two hold it: a lock on a removed path counts for nothing.
func TestRemovalRace(t *testing.T) {
	s := newBox(t)
	_, err := s.Runtime()
	ok(t, err)
	id := ident('a')
	var holders, taken atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 300 {
				lock, err := s.TakeLife(id)
				if errors.Is(err, unix.EWOULDBLOCK) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if holders.Add(1) != 1 {
					t.Error("two hold the life lock")
				}
				taken.Add(1)
				time.Sleep(10 * time.Microsecond) // long enough for a second holder to be seen
				holders.Add(-1)
				s.DropLife(id, lock)
			}
		})
	}
	wg.Wait()
	if taken.Load() == 0 {
		t.Error("nobody ever held it")
	}
}

const lifeRole = "RC_RECORD_LIFE"

// TestInheritance: the lock lives as long as one process has the open file, the
// shim that inherited it from rc, and dies with that process's kill -9.
func TestInheritance(t *testing.T) {
	if os.Getenv(lifeRole) != "" { // the shim: it only holds descriptor 3
		fmt.Println("ready")
		time.Sleep(time.Minute)
		return
	}
	s := newBox(t)
	id := ident('a')
	lock, err := s.TakeLife(id)
	ok(t, err)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestInheritance$")
	cmd.Env = append(os.Environ(), lifeRole+"=1")
	cmd.ExtraFiles = []*os.File{lock}
	out, err := cmd.StdoutPipe()
	ok(t, err)
	ok(t, cmd.Start())
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	ok(t, lock.Close()) // rc's own part: the shim's holds it still
	alive(t, s, id, true)
	if _, err := s.TakeLife(id); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("%v", err)
	}
	ok(t, cmd.Process.Kill())
	_ = cmd.Wait()
	alive(t, s, id, false)
	lock, err = s.TakeLife(id)
	ok(t, err)
	s.DropLife(id, lock)
}

// A child that was not given the lock must not hold it up: it is close-on-exec.
func TestLifeLockIsCloseOnExec(t *testing.T) {
	s := newBox(t)
	id := ident('a')
	lock, err := s.TakeLife(id)
	ok(t, err)
	cmd := exec.Command("sleep", "60")
	ok(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	ok(t, lock.Close())
	alive(t, s, id, false)
}

func TestLifePathsAreInTheRuntime(t *testing.T) {
	s := newBox(t)
	dir, err := s.Runtime()
	ok(t, err)
	lock, err := s.LifeLockPath(ident('a'))
	ok(t, err)
	sock, err := s.ControlPath(ident('a'))
	ok(t, err)
	if lock != dir+"/c/"+ident('a')+".lock" || sock != dir+"/c/"+ident('a')+".sock" {
		t.Errorf("%s %s", lock, sock)
	}
}
