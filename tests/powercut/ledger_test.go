package powercut

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is what the workload was promised, over all cuts so far. A thing that was
// tried and not acknowledged may be there or not; what is there must be whole.
type ledger struct {
	mu       sync.Mutex
	partial  string
	exits    map[string]string          // container: exit code
	lines    map[string]map[string]bool // volume: lines
	volumes  map[string]bool
	images   map[string]string // name: what its file /name holds, "" for anything
	renamed  map[string]string // new name: old name
	names    map[string]bool   // every container name that was tried since the last audit
	missing  map[string]bool   // verbs that this rc has not
	bad      []string
	ready    bool
	promises int
	changed  chan struct{} // gets a value at a promise; never blocks the reader
}

func newLedger() *ledger {
	l := &ledger{missing: map[string]bool{}, changed: make(chan struct{}, 1)}
	l.empty()
	return l
}

// empty forgets everything: the user removed it.
func (l *ledger) empty() {
	l.exits, l.images, l.renamed = map[string]string{}, map[string]string{}, map[string]string{}
	l.lines, l.volumes, l.names = map[string]map[string]bool{}, map[string]bool{}, map[string]bool{}
}

// Write takes the workload's output. The last line of a cut is perhaps a part of
// one: it promises nothing.
func (l *ledger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.partial + string(p)
	for {
		line, rest, whole := strings.Cut(text, "\n")
		if !whole {
			l.partial = line
			break
		}
		l.take(line)
		text = rest
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *ledger) take(line string) {
	w := strings.Fields(line)
	word := func(n int) string {
		if n < len(w) {
			return w[n]
		}
		return ""
	}
	switch word(0) + " " + word(1) {
	case "ready ":
		l.ready = true
	case "try container":
		l.names[word(2)] = true
	case "try volume", "try image":
	case "try rm":
		delete(l.exits, word(2))
	case "try rmi":
		delete(l.images, word(2))
	case "try volumerm":
		delete(l.volumes, word(2))
	case "try rename":
		delete(l.exits, word(2))
		l.names[word(3)] = true
	default:
		l.promise(line, word)
	}
}

func (l *ledger) promise(line string, word func(int) string) {
	switch word(0) + " " + word(1) {
	case "ack exit":
		l.exits[word(2)] = word(3)
	case "ack line":
		if l.lines[word(2)] == nil {
			l.lines[word(2)] = map[string]bool{}
		}
		l.lines[word(2)][word(3)] = true
	case "ack volume":
		l.volumes[word(2)] = true
	case "ack image":
		l.images[word(2)] = word(3)
	case "ack rename":
		l.renamed[word(3)] = word(2)
		l.exits[word(3)] = "7"
	default:
		if word(0) == "no" {
			l.missing[word(1)] = true
		} else {
			l.bad = append(l.bad, line)
		}
		return
	}
	l.promises++
}

// boot forgets what belongs to one round.
func (l *ledger) boot() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.partial, l.ready, l.promises, l.bad = "", false, 0, nil
}

// await returns when n promises were made since boot, or after limit, with their number.
func (l *ledger) await(n int, limit time.Duration) int {
	end := time.After(limit)
	for {
		l.mu.Lock()
		made := l.promises
		l.mu.Unlock()
		if made >= n {
			return made
		}
		select {
		case <-l.changed:
		case <-end:
			return made
		}
	}
}

func TestLedger(t *testing.T) {
	l := newLedger()
	fmt.Fprint(l, "ready\nno commit\ntry container a\nack exit a 3\ntry container b\ntry rm a\nack line v 1-1\nack li")
	fmt.Fprint(l, "ne v 1-2\ntry image i\nack image i i\ntry rmi j\nbad rc run: broke\ntry container c\nack exit c 7\ntry rename c d\nack rename c d\nack line v 1-3")
	switch {
	case !l.ready || !l.missing["commit"]:
		t.Error("ready and missing verbs")
	case len(l.exits) != 1 || l.exits["d"] != "7":
		t.Errorf("exits = %v, want d alone: a is being removed, c was renamed", l.exits)
	case len(l.lines["v"]) != 2:
		t.Errorf("lines = %v, want the two whole ones", l.lines)
	case l.images["i"] != "i" || len(l.names) != 4:
		t.Errorf("images = %v, names = %v", l.images, l.names)
	case len(l.bad) != 1 || l.promises != 6:
		t.Errorf("bad = %q, promises = %d", l.bad, l.promises)
	}
	if n := l.await(100, time.Millisecond); n != 6 {
		t.Errorf("await = %d", n)
	}
}
