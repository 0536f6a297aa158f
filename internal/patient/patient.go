// Package patient is the way into Go's runtime of rc and, behind the constructors of
// userns/entry, of rc-init. It does without two things that the runtime does at each
// start and that a program of a few milliseconds has no use for. The Makefile names the
// entry point to the linker (-E rc_patient for rc); without that, and where we cannot
// enter Go by ourselves, importing it changes nothing.
//
// Go's monitor (runtime.sysmon) sleeps 20 microseconds at a time as long as a program
// works, and takes the processor from whoever is in a system call for longer: a hundred
// wake-ups, and threads started, for nothing, on processors that eight starts at a time
// have better uses for. Its thread inherits late timers (prctl(2), PR_SET_TIMERSLACK).
//
// Since Go 1.25 the runtime looks for its cgroup's quota of processors, in
// /proc/self/cgroup, all of /proc/self/mountinfo and the quota's files, and no GODEBUG
// leaves that out (runtime.defaultGOMAXPROCSInit). Without a descriptor to be had it
// goes on after the first call. Those below 3 may be opened: Go opens /dev/null there
// for streams that are closed (runtime.checkfds).
package patient
