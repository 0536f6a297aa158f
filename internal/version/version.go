// Package version holds the one version of a build. All programs of rc are
// built and installed together; the start conversation requires equal ones.
package version

// Version is set by the linker (see Makefile).
var Version = "devel"
