package slirp

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func openLock(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Keepers that die at once are started ever more slowly; one that lived well ends the
// row.
func TestDue(t *testing.T) {
	f := openLock(t)
	now := time.Now()
	at := func(d time.Duration) bool {
		t.Helper()
		// The file's time is the clock's: make it what it would be.
		when := now.Add(d)
		yes := due(f, when)
		if yes {
			if err := os.Chtimes(f.Name(), when, when); err != nil {
				t.Fatal(err)
			}
		}
		return yes
	}
	if !at(0) {
		t.Fatal("the first is not due")
	}
	if at(10 * time.Millisecond) {
		t.Error("the second is due at once")
	}
	passed := time.Duration(0)
	var pauses []time.Duration
	for range 14 {
		step := time.Duration(0)
		for !at(passed + step) {
			step += 10 * time.Millisecond
		}
		passed += step
		pauses = append(pauses, step)
	}
	for i := 1; i < len(pauses); i++ {
		if pauses[i] < pauses[i-1] || pauses[i] > maxPause {
			t.Fatalf("pauses: %v", pauses)
		}
	}
	if pauses[0] != firstPause || pauses[len(pauses)-1] != maxPause {
		t.Errorf("pauses: %v", pauses)
	}
	passed += 2*healthyLife + maxPause
	if !at(passed) || !at(passed+firstPause) {
		t.Error("the row does not end")
	}
}

// A file with another content, or of the future, is no reason to have no keeper.
func TestDueOfAStrangeFile(t *testing.T) {
	f := openLock(t)
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if !due(f, time.Now()) {
		t.Error("not due")
	}
	if !due(f, time.Now().Add(-time.Hour)) {
		t.Error("a clock that was set back: not due")
	}
}

// Who cannot have the lock is told so at once.
func TestReviveDoesNotWait(t *testing.T) {
	f := openLock(t)
	dir := filepath.Dir(f.Name())
	other, err := lockKeeper(dir, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	began := time.Now()
	if _, err := ReviveKeeper(dir, &Birth{Program: "/bin/false"}); !errors.Is(err, ErrNotYet) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it waited for %v", took)
	}
}

func TestTakeCrash(t *testing.T) {
	dir := t.TempDir()
	if path, failed := TakeCrash(dir); failed {
		t.Errorf("nothing failed: %s", path)
	}
	if err := os.WriteFile(filepath.Join(dir, FailedName), []byte("panic: oh"), 0o600); err != nil {
		t.Fatal(err)
	}
	path, failed := TakeCrash(dir)
	if text, err := os.ReadFile(path); !failed || err != nil || string(text) != "panic: oh" {
		t.Errorf("%v %q %v", failed, text, err)
	}
	if _, failed := TakeCrash(dir); failed {
		t.Error("told twice")
	}
}
