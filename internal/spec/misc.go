package spec

import (
	"os"
	"strconv"
	"strings"
)

// smallFlags checks the flags of Docker's that stand for themselves.
func (b *builder) smallFlags() error {
	if d := b.o.Domainname; d != "" {
		switch {
		case b.plan.UTS.Kind != KindPrivate:
			return refuse("--domainname", d, "leave out one of the two", "the names in a UTS namespace that is not the container's own cannot be changed")
		case !domain(d) || len(d) > 64: // utsname(7): __NEW_UTS_LEN
			return refuse("--domainname", d, "use letters, digits, - and ., at most 64", "not a domain name")
		}
		b.spec.Domainname = d
	}
	switch b.o.Cgroupns {
	case "", "private":
	case "host":
		return refuse("--cgroupns", "host", "leave it out", "a container that sees the host's groups could look at others' limits")
	default:
		return refuse("--cgroupns", b.o.Cgroupns, "choose private", "no such mode")
	}
	return b.oomScore()
}

// oomScore reads --oom-score-adj; 0 is the default, which is the caller's own.
func (b *builder) oomScore() error {
	n := b.o.OOMScoreAdj
	if n == 0 {
		return nil
	}
	text := strconv.Itoa(n)
	if n < -1000 || n > 1000 {
		return refuse("--oom-score-adj", text, "give -1000 to 1000", "out of the kernel's range")
	}
	own := hostOOMScore()
	if n < own {
		// Below its own value only CAP_SYS_RESOURCE in the host's user namespace may go
		// (proc_pid_oom_score_adj(5)).
		return refuse("--oom-score-adj", text, "give at least "+strconv.Itoa(own), "your own is %d, and only the host's root can go below it", own)
	}
	b.spec.Process.OOMScoreAdj = &n
	return nil
}

// hostOOMScore is the value that this process has, and its children begin with.
func hostOOMScore() int {
	text, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}
