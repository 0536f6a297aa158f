package budget

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// rounds is how often each case runs; the least of each count is what it needs: Go's
// runtime makes a thread more when strace holds one up.
const rounds = 5

// TestRoot is what root's pass of `make test` runs.
func TestRoot(t *testing.T) {
	lines, err := ReadBudget("budget.txt")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.observe(t, "rc load -q -i "+w.user.Dir+"/image.tar")
	if r := w.rc("info"); !strings.Contains(r.Out, "no   delegated cgroup") {
		t.Skip("the budget is of a user without a delegated cgroup; with one, a start makes two folders more and writes its limits")
	}
	run := "rc run --rm " + image + " true"
	none := "rc run --rm --network none " + image + " true"
	for _, c := range []struct{ name, first, command, last string }{
		{name: "none", command: none},
		{name: "default", command: run},
		{"exec", "rc run -d --name one --network none " + image + " sleep 1000", "rc exec one /attack true", "rc rm -f one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.first != "" {
				w.observe(t, c.first)
				defer w.observe(t, c.last)
			}
			w.observe(t, c.command) // the first starts the keeper, or makes its network
			got := w.observe(t, c.command)
			for range rounds - 1 {
				least(got, w.observe(t, c.command))
			}
			t.Log("\n" + table(got))
			for _, complaint := range compare(c.name, got, lines) {
				t.Error(complaint)
			}
		})
	}
}

// compare holds counts against the ceilings. A line about a role that there is no more
// is out of date, and one that is far above what is needed guards nothing.
func compare(name string, got map[string]*Tally, lines []Line) (complaints []string) {
	for _, l := range lines {
		if l.Case != name {
			continue
		}
		tally := got[l.Role]
		if tally == nil {
			complaints = append(complaints, fmt.Sprintf("%s: no process was %s: take its lines out of budget.txt", name, l.Role))
			continue
		}
		switch n := tally.Get(l.Count); {
		case n > l.Ceiling:
			complaints = append(complaints, fmt.Sprintf("%s: %d %s of %s, the budget is %d (%s). If it is worth that, raise the line in budget.txt, and say in the commit why",
				name, n, l.Count, l.Role, l.Ceiling, l.Why))
		case l.Ceiling > 2*n+20 && (l.Count != "bytes" || n > 200):
			complaints = append(complaints, fmt.Sprintf("%s: %d %s of %s, and the budget is %d: lower the line in budget.txt, so that the gain is kept",
				name, n, l.Count, l.Role, l.Ceiling))
		}
	}
	return complaints
}

// least keeps of each count the smaller one.
func least(a, b map[string]*Tally) {
	for role, x := range a {
		if y := b[role]; y != nil {
			*x = Tally{min(x.Calls, y.Calls), min(x.Execs, y.Execs), min(x.Forks, y.Forks), min(x.Threads, y.Threads), min(x.Opens, y.Opens),
				min(x.Names, y.Names), min(x.Mounts, y.Mounts), min(x.Syncs, y.Syncs), min(x.Bytes, y.Bytes), min(x.Sent, y.Sent)}
		}
	}
}

func table(got map[string]*Tally) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s", "")
	for _, c := range Counts {
		fmt.Fprintf(&b, "%9s", c)
	}
	sums := map[string]int{}
	for _, role := range slices.Sorted(maps.Keys(got)) {
		fmt.Fprintf(&b, "\n%-8s", role)
		for _, c := range Counts {
			sums[c] += got[role].Get(c)
			fmt.Fprintf(&b, "%9d", got[role].Get(c))
		}
	}
	fmt.Fprintf(&b, "\n%-8s", "all")
	for _, c := range Counts {
		fmt.Fprintf(&b, "%9d", sums[c])
	}
	return b.String()
}
