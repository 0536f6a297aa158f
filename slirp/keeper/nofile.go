package keeper

import "syscall"

// moreFiles lets this process and those that it starts have as many descriptors as the
// hard limit allows. The soft one of a login is 1024, which is all that the containers
// on bridge networks together could have open through the one slirp4netns; and libslirp
// keeps the descriptor of a connection that the server has closed for ten seconds more.
// Shims do not get it from us: their limits come with the request (slirp.Fork).
//
// It must be package syscall's: that one no longer gives children the soft limit back
// which Go's runtime found at its start (os.StartProcess, issue 46279).
func moreFiles() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}
