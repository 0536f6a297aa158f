// Package patient is rc's way into Go's runtime, which does two things at each start
// that a program of a few milliseconds has no use for. The Makefile names its entry
// point to the linker (-E rc_patient); without that, and where we cannot enter Go by
// ourselves, importing it changes nothing. userns/entry does the same for rc-init.
//
// Go's monitor (runtime.sysmon) sleeps 20 microseconds at a time as long as a program
// works: a hundred wake-ups for nothing, on processors that eight starts at a time have
// better uses for. Its thread inherits late timers (prctl(2), PR_SET_TIMERSLACK).
//
// Since Go 1.25 the runtime looks for its cgroup's quota of processors, in
// /proc/self/cgroup, all of /proc/self/mountinfo and the quota's files, and no GODEBUG
// leaves that out (runtime.defaultGOMAXPROCSInit). Without a descriptor to be had it
// goes on after the first call. Those below 3 may be opened: Go opens /dev/null there
// for streams that are closed (runtime.checkfds).
package patient
