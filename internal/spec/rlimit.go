package spec

import (
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ulimitNames are Docker's (docker/go-units, ulimit.go), sorted.
var ulimitNames = []string{"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
	"nproc", "rss", "rtprio", "rttime", "sigpending", "stack"}

// ulimitNumbers are the RLIMIT_* of ulimitNames (getrlimit(2)).
var ulimitNumbers = []int{unix.RLIMIT_CORE, unix.RLIMIT_CPU, unix.RLIMIT_DATA, unix.RLIMIT_FSIZE, unix.RLIMIT_LOCKS,
	unix.RLIMIT_MEMLOCK, unix.RLIMIT_MSGQUEUE, unix.RLIMIT_NICE, unix.RLIMIT_NOFILE, unix.RLIMIT_NPROC,
	unix.RLIMIT_RSS, unix.RLIMIT_RTPRIO, unix.RLIMIT_RTTIME, unix.RLIMIT_SIGPENDING, unix.RLIMIT_STACK}

const unlimited = ^uint64(0)

// rlimits reads --ulimit NAME=SOFT[:HARD]. A hard limit above the caller's own
// needs CAP_SYS_RESOURCE in the host's user namespace, which nothing of ours
// has, started by root or not.
func (b *builder) rlimits() error {
	for _, value := range b.o.Ulimit {
		limit, number, err := parseUlimit(value)
		if err != nil {
			return err
		}
		var own unix.Rlimit
		if err := unix.Getrlimit(number, &own); err != nil {
			return badFlag("--ulimit", value, err, "")
		}
		// CAP_SYS_RESOURCE is asked for in the host's user namespace (kernel,
		// kernel/sys.c, do_prlimit: capable, not ns_capable).
		if limit.Hard > own.Max {
			return refuse("--ulimit", value, "stay at or below your own, or have it raised in /etc/security/limits.conf (a unit: Limit…=)",
				"your own hard limit is %s, and only the host's root can go above it", limitText(own.Max))
		}
		b.setRlimit(limit)
	}
	return nil
}

// setRlimit lets a later --ulimit of the same name win, as in Docker's map.
func (b *builder) setRlimit(limit specs.POSIXRlimit) {
	for i, l := range b.spec.Process.Rlimits {
		// Replaced in place: setrlimit(2) twice could first lower a hard limit and then
		// not raise it again.
		if l.Type == limit.Type {
			b.spec.Process.Rlimits[i] = limit
			return
		}
	}
	b.spec.Process.Rlimits = append(b.spec.Process.Rlimits, limit)
}

func parseUlimit(value string) (limit specs.POSIXRlimit, number int, err error) {
	const form = "write NAME=SOFT[:HARD], as in nofile=1024:2048"
	name, limits, ok := strings.Cut(value, "=")
	if !ok {
		return limit, 0, refuse("--ulimit", value, form, "no limit is given")
	}
	number = -1
	for i, n := range ulimitNames {
		if n == name {
			number = ulimitNumbers[i]
		}
	}
	if number < 0 {
		return limit, 0, refuse("--ulimit", value, orNearest(name, ulimitNames, "the names are "+words(ulimitNames)), "no limit is called %s", quoted(name))
	}
	soft, hard, hasHard := strings.Cut(limits, ":")
	if !hasHard {
		hard = soft
	}
	limit.Type = "RLIMIT_" + strings.ToUpper(name)
	for _, part := range []struct {
		text   string
		target *uint64
	}{{soft, &limit.Soft}, {hard, &limit.Hard}} {
		if part.text == "-1" || part.text == "unlimited" {
			*part.target = unlimited
		} else if *part.target, err = strconv.ParseUint(part.text, 10, 63); err != nil {
			return limit, 0, refuse("--ulimit", value, form+"; -1 is no limit", "%s is not a number", quoted(part.text))
		}
	}
	if limit.Soft > limit.Hard {
		return limit, 0, refuse("--ulimit", value, form, "the soft limit %s is above the hard limit %s", limitText(limit.Soft), limitText(limit.Hard))
	}
	return limit, number, nil
}

func limitText(n uint64) string {
	if n == unlimited {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}
