package trace

import "sync"

// Log collects the marks of one request in a process that serves several; a nil one
// collects nothing. What it has goes back with the answer.
type Log struct {
	mu    sync.Mutex
	marks []Mark
}

// maxMarks bounds what one answer may carry: a message is at most 64 KiB.
const maxMarks = 100

// Collect is a new Log, where the request asks for one.
func Collect(asked bool) *Log {
	if !asked {
		return nil
	}
	setClock()
	return &Log{}
}

// Begin is as the package's.
func (l *Log) Begin(name string) Span { return l.begin(name, 0) }

// Aside is as the package's.
func (l *Log) Aside(name string) Span { return l.begin(name, aside) }

func (l *Log) begin(name string, kind Kind) Span {
	if l == nil {
		return Span{}
	}
	return Span{log: l, name: name, began: now(), kind: kind}
}

func (l *Log) keep(m Mark) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.marks) < maxMarks {
		l.marks = append(l.marks, m)
	}
}

// Marks are those whose spans have ended.
func (l *Log) Marks() []Mark {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marks
}

// Merge puts the marks of another process's answer to this process's.
func Merge(of Role, marks []Mark) {
	to := here.Load()
	if to == nil {
		return
	}
	for _, m := range marks[:min(len(marks), maxMarks)] {
		to.put(of, m)
	}
}
