package caller

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Listed is one line of `rc ps -a`.
type Listed struct{ ID, State, Status, Names, Ports string }

// Ps lists the containers as rc sees them.
func (c *Caller) Ps() ([]Listed, error) {
	r := c.RC("ps", "-a", "--no-trunc", "--format", "json")
	if r.Code != 0 {
		return nil, fmt.Errorf("rc ps -a: exit code %d: %s", r.Code, r.Err)
	}
	var out []Listed
	for line := range strings.Lines(r.Out) {
		var l Listed
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			return nil, fmt.Errorf("rc ps -a: %w: %q", err, line)
		}
		out = append(out, l)
	}
	return out, nil
}

// PID is the payload's, in our namespace, as `rc inspect` says; 0 for none.
func (c *Caller) PID(ref string) int {
	r := c.RC("inspect", "--type", "container", ref)
	var view []struct{ State struct{ Pid int } }
	if json.Unmarshal([]byte(r.Out), &view) != nil || len(view) != 1 {
		return 0
	}
	return view[0].State.Pid
}

// Lies compares `rc ps -a` with the processes: who is shown Up has a live
// payload, and without anybody Up there is none.
func (c *Caller) Lies() []string {
	list, err := c.Ps()
	if err != nil {
		return []string{err.Error()}
	}
	var lies []string
	up := 0
	for _, l := range list {
		if l.State != "running" {
			continue
		}
		up++
		pid := c.PID(l.ID)
		if p, ok := Look(pid); (!ok || p.Zombie) && c.still(l.ID) {
			lies = append(lies, fmt.Sprintf("%s is shown %q, but its process %d does not live", l.Names, l.Status, pid))
		}
	}
	// A payload dies a moment after its init was told.
	for end := time.Now().Add(3 * time.Second); up == 0; time.Sleep(10 * time.Millisecond) {
		nested := c.nested()
		if len(nested) == 0 {
			break
		}
		if time.Now().After(end) {
			lies = append(lies, fmt.Sprintf("nothing is shown Up, but these live: %v (shown: %+v)", nested, list))
			break
		}
	}
	return lies
}

// still asks again: it may have ended between the two questions.
func (c *Caller) still(id string) bool {
	list, _ := c.Ps()
	for _, l := range list {
		if l.ID == id && l.State == "running" {
			_, ok := Look(c.PID(id))
			return !ok
		}
	}
	return false
}

func (c *Caller) nested() []Process {
	var out []Process
	for _, p := range c.Ours() {
		if p.Nested {
			out = append(out, p)
		}
	}
	return out
}
