package spec

import (
	"strconv"
	"strings"
	"time"
)

const (
	sigTerm = 15
	// The C library keeps 32 and 33 for itself (signal(7)): its SIGRTMIN is what
	// programs and Docker mean.
	sigRTMin = 34
	sigRTMax = 64

	defaultStopAfter = 10 * time.Second // Docker's
)

// stop reads --stop-signal and --stop-timeout. Docker refuses an image with a
// bad STOPSIGNAL when the container is made, and so do we.
func (b *builder) stop() (err error) {
	b.plan.StopSignal, b.plan.StopAfter = sigTerm, defaultStopAfter
	flag, value := "--stop-signal", b.o.StopSignal
	if value == "" {
		flag, value = "the image's STOPSIGNAL", b.img.StopSignal
	}
	if value != "" {
		n, ok := ParseSignal(value)
		if !ok {
			return refuse(flag, value, "give a name as in SIGTERM or SIGRTMIN+3, or a number from 1 to 64", "no such signal")
		}
		b.plan.StopSignal = n
	}
	if t := b.o.StopTimeout; t != nil {
		if *t < -1 {
			return refuse("--stop-timeout", strconv.Itoa(*t), "give a number of seconds, or -1 to wait for ever", "negative")
		}
		b.plan.StopAfter = time.Duration(*t) * time.Second
	}
	return nil
}

// ParseSignal reads a signal as Docker does: a number, or a name in any case
// with or without SIG, RTMIN+n and RTMAX-n included.
func ParseSignal(s string) (n int, ok bool) {
	if n, err := strconv.Atoi(s); err == nil {
		return n, 0 < n && n <= sigRTMax
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if n := signalNumber(name); n > 0 {
		return n, true
	}
	if rest, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return offset(sigRTMin, rest, '+')
	}
	if rest, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return offset(sigRTMax, rest, '-')
	}
	return 0, false
}

// offset is base, or base moved by "+3" or "-3" within the real-time signals.
func offset(base int, rest string, sign byte) (int, bool) {
	if rest == "" {
		return base, true
	}
	if rest[0] != sign {
		return 0, false
	}
	n, err := strconv.ParseUint(rest[1:], 10, 8)
	if err != nil || n > sigRTMax-sigRTMin {
		return 0, false
	}
	if sign == '-' {
		return base - int(n), true
	}
	return base + int(n), true
}

// signalNumber is the table of signal(7) for all architectures but MIPS, Alpha,
// SPARC and PA-RISC, which rc does not run on. 0: no such name.
func signalNumber(name string) int {
	for i, n := range [...]string{"", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1",
		"SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
		"XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS"} {
		if n == name {
			return i
		}
	}
	switch name {
	case "IOT":
		return 6
	case "CLD":
		return 17
	case "POLL":
		return 29
	case "UNUSED":
		return 31
	}
	return 0
}
