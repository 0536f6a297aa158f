package main

import "golang.org/x/sys/unix"

// Go's monitor (runtime.sysmon) sleeps 20 microseconds at a time as long as a program
// works, which in a program that works for a few milliseconds is a hundred wake-ups
// for nothing, on processors that eight starts at a time have better uses for.
// patient_linux_amd64.s lets its timers be late; the first thread, and with it what rc starts,
// gets back what rc was started with (prctl(2), PR_SET_TIMERSLACK: 0 is that).
func init() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0) }
