// Package version holds the one version that all programs of a build share: a
// start requires that `rc` and `rc-init` are of the same build.
package version

// Version is set by the linker (see Makefile); a plain `go build` has "devel".
var Version = "devel"
