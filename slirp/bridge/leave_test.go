package bridge

import (
	"testing"
	"time"
)

// In a row of short containers something is due every few milliseconds, and is done
// together.
func TestSweepsAreGathered(t *testing.T) {
	w := open(t, nil, Options{})
	begin := time.Now()
	if err := w.Do(func() error {
		for i := range 3 * maxMessages { // more than one message holds
			w.leaving = append(w.leaving, leaver{"vnone", begin.Add(-heldLimit + time.Duration(i)*2*time.Millisecond)})
		}
		w.plan()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	sweeps := map[time.Time]bool{}
	eventually(t, "all have been looked at", func() (done bool) {
		_ = w.Do(func() error {
			sweeps[w.swept] = true
			done = len(w.leaving) == 0
			return nil
		})
		return done
	})
	if most := int(time.Since(begin)/expelDelay) + 2; len(sweeps) > most+1 {
		t.Errorf("%d sweeps in %v", len(sweeps), time.Since(begin))
	}
}
