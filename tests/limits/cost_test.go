package limits

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rc-containers/rc/tests/guest"
)

// pairs is how many starts with limits are timed against as many without.
const pairs = 30

// timed prints a line for each pair: the microseconds of a start without limits and
// with them. Which of the two comes first alternates, so that what one leaves to be
// cleaned up burdens both alike. The quota is all processors: what is measured is
// the making of the limits, not life under them.
const timed = `set -e
start() { local t=${EPOCHREALTIME/./}; rc run --rm --network none "$@" limits true; echo $((${EPOCHREALTIME/./} - t)); }
with() { start --memory=256m --cpus=2 --pids-limit=200; }
for n in 1 2 3; do start; with; done >/dev/null
for n in $(seq %d); do
	if ((n %% 2)); then a=$(start); b=$(with); else b=$(with); a=$(start); fi
	echo $a $b
done`

// A limit costs a start nothing that can be measured: three writes to files. Time in
// this guest is what was executed, so that a busy machine measures the same. (By the
// clock, beside seven others at work, starts took 0.4 to 4 s and the ratio was 1.2;
// counted, the median of 30 is 264 ms and the ratio 1.03, quiet or busy.) What fails
// once is measured again beside what is known already.
func TestCost(t *testing.T) {
	guest.Require(t)
	l := &lab{t, guest.Start(t, guest.Options{Share: map[string]string{"bin": guest.Programs(t), "load": guest.Compiled(t, "./load")}, Counted: true})}
	l.do(image)
	var without, with []int
	for range 3 {
		for line := range strings.Lines(l.do(fmt.Sprintf(timed, pairs))) {
			var a, b int
			if _, err := fmt.Sscan(line, &a, &b); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			without, with = append(without, a), append(with, b)
		}
		median, least := ratio(without, with)
		t.Logf("%d pairs: median %.0f ms without limits, %.3f times that with; minima: %.3f", len(with), mid(without)/1e3, median, least)
		if median <= 1.1 || least <= 1.1 && median <= 1.15 {
			return
		}
	}
	t.Errorf("a start with limits takes more than 1.1 times one without (µs, pairs):\n%v\n%v", without, with)
}

// ratio compares medians and minima.
func ratio(without, with []int) (median, least float64) {
	return mid(with) / mid(without), float64(slices.Min(with)) / float64(slices.Min(without))
}

func mid(values []int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return float64(sorted[len(sorted)/2])
}

// asked prints each method call that the user's systemd has taken since the time $1,
// over its bus and over its private socket: at the level "debug" it logs them. Ping
// asks nothing: it wakes a systemd that has not read a question yet.
const asked = `journalctl --user --sync 2>/dev/null; journalctl --sync 2>/dev/null
journalctl -q --no-pager -o cat --since=@%s _COMM=systemd _UID=1000 | sed -n 's/.*type=method_call.* member=\([A-Za-z]*\).*/\1/p' | grep -vx Ping`

// The user's systemd is asked for a place once in a login: by the keeper, when the
// first container starts. Starts after it say nothing over D-Bus.
func TestAskedOnce(t *testing.T) {
	guest.Require(t)
	l := &lab{t, guest.Start(t, guest.Options{Share: map[string]string{"bin": guest.Programs(t), "load": guest.Compiled(t, "./load")}})}
	l.do("systemctl --user log-level debug")
	calls := func(line string) []string {
		t.Helper()
		since := strings.TrimSpace(l.as(guest.Root, "sleep 0.1; date +%s.%6N; sleep 0.1").Stdout)
		l.do(line)
		return strings.Fields(l.as(guest.Root, fmt.Sprintf(asked, since)).Stdout)
	}
	// One container that stays keeps the keeper, as in a login at work.
	first := calls(image + "\nrc run -d --name stays --network none --memory=256m limits sleep 1000")
	if n := count(first, "StartTransientUnit"); n != 1 {
		t.Errorf("the first start asked for %d units, by %q; want one", n, first)
	}
	ten := calls("for n in $(seq 5); do rc run --rm --network none --memory=256m --cpus=1 limits true && rc run --rm limits true || exit 1; done")
	if len(ten) > 0 {
		t.Errorf("ten more starts asked the user's systemd %d times: %q", len(ten), ten)
	}
	t.Logf("first start: %q; ten more: %q", first, ten)
}

func count(words []string, word string) (n int) {
	for _, w := range words {
		if w == word {
			n++
		}
	}
	return n
}
