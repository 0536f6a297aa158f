package crash

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// stored is what the store holds of images: paths that a pull makes and rmi
// takes away. Downloads in the cache are there to be taken up again; what a shim is
// still deleting, whose rc has returned, is waited for.
func stored() []string {
	for range 60 {
		if left, _ := filepath.Glob(filepath.Join(user.Root, "trash/*")); len(left) == 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	var out []string
	for _, pattern := range []string{"images/*", "image-names/*", "storage/overlay/*", "storage/overlay/l/*", "storage/overlay/tempdirs/*", "storage/vfs/dir/*", "storage/tmp/*", "trash/*"} {
		found, _ := filepath.Glob(filepath.Join(user.Root, pattern))
		for _, f := range found {
			// A file that was about to be renamed; `rc ps` takes it away after a minute.
			if filepath.Base(f)[0] != '.' {
				out = append(out, f)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestKillDuringPull: rc, rc-image or the keeper at 50 random moments of a pull
// or of a run that pulls. The store is sound, the next pull succeeds, and what
// was half there goes away.
func TestKillDuringPull(t *testing.T) {
	require(t)
	ref := registry + "/crash/slow:latest"
	if r := user.RC("pull", "-q", ref); r.Code != 0 {
		t.Fatalf("rc pull: %d %s", r.Code, r.Err)
	}
	if r := user.RC("rmi", ref); r.Code != 0 {
		t.Fatalf("rc rmi: %d %s", r.Code, r.Err)
	}
	before := stored()
	hits := map[string]int{}
	for n, struck := 0, 0; struck < strikes && n < 2*strikes; n++ {
		kind := []string{"rc-image", "rc", "rc-image", "rc-net"}[n%4]
		args := []string{"pull", "-q", ref}
		if n%5 == 4 {
			args = []string{"run", "--rm", "--network", "none", ref, "true"}
		}
		r := background(args...)
		hit := strike(350*time.Millisecond, kind)
		if hits[hit]++; hit != "" {
			struck++
		}
		when := fmt.Sprintf("strike %d: %s killed during rc %s", n, hit, args[0])
		if res, ended := r.end(); !ended {
			t.Errorf("%s: it hangs: %s", when, res.Err)
		}
		truth(t, when)
		clean(t, when)
		listed := user.RC("images", "-q")
		if listed.Code != 0 {
			t.Errorf("%s: rc images: %d %s", when, listed.Code, listed.Err)
		}
		// The same image, whole, whatever was there of it.
		run := user.RC("run", "--rm", "--network", "none", ref, "cat", "/etc/first")
		if run.Code != 0 || run.Out != "x" {
			t.Errorf("%s: the next run: %d %q %q", when, run.Code, run.Out, run.Err)
		}
		if r := user.RC("rmi", ref); r.Code != 0 {
			t.Errorf("%s: rc rmi: %d %s", when, r.Code, r.Err)
		}
		if now := stored(); !slices.Equal(now, before) {
			t.Errorf("%s: the store changed:\n  was %q\n  is  %q", when, before, now)
		}
		if t.Failed() {
			t.Fatal("stopped at the first failure: what follows would be its consequence")
		}
	}
	t.Logf("killed: %v", hits)
}
