package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// spent is the processors' time since the boot, in ticks: the line "cpu" of /proc/stat
// (proc_stat(5)).
type spent struct{ idle, stolen, all int }

func readSpent(stat string) (s spent) {
	line, _, _ := strings.Cut(stat, "\n")
	for i, word := range strings.Fields(strings.TrimPrefix(line, "cpu ")) {
		n, _ := strconv.Atoi(word)
		switch i {
		case 3, 4: // idle, iowait
			s.idle += n
		case 7:
			s.stolen = n
		case 8, 9: // of guests, which user and nice hold already
			continue
		}
		s.all += n
	}
	return s
}

func now() spent {
	text, _ := os.ReadFile("/proc/stat")
	return readSpent(string(text))
}

// until tells which share of the processors somebody had between two looks, and which the
// hypervisor gave to other machines, in percent.
func (s spent) until(t spent) (busy, stolen float64) {
	all := float64(max(t.all-s.all, 1))
	return float64(t.all-t.idle-s.all+s.idle) / all * 100, float64(t.stolen-s.stolen) / all * 100
}

// Above so many percent of the processors the figures are not those of a quiet machine.
const quietBelow = 15

// quiet is how much others did beside the run: when nothing of ours runs, and in all.
type quiet struct {
	begin  spent
	before float64
}

const glance = time.Second

// observe looks for a second at what others do.
func observe() quiet {
	first := now()
	time.Sleep(glance)
	q := quiet{begin: now()}
	q.before, _ = first.until(q.begin)
	return q
}

// verdict looks again, when the last of ours should be gone.
func (q quiet) verdict() string {
	time.Sleep(glance)
	first := now()
	_, stolen := q.begin.until(first)
	time.Sleep(glance)
	after, _ := first.until(now())
	return verdict(q.before, after, stolen)
}

func verdict(before, after, stolen float64) string {
	text := fmt.Sprintf("What others took of its processors: %.0f %% in the second before the run, %.0f %% after it", before, after)
	if stolen >= 0.5 {
		text += fmt.Sprintf("; what the hypervisor gave to other machines meanwhile: %.1f %%", stolen)
	}
	if max(before, after, stolen) >= quietBelow {
		text += ". **The machine was busy: the figures below are not those of a quiet one.**"
		return text
	}
	return text + "."
}
