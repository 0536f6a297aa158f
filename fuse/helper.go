package fuse

import "os"

// Helper is a process that serves a mount (fuse-overlayfs).
type Helper struct {
	PID   int
	PidFD *os.File // poll(2): readable once the process is dead
	proc  *os.Process
	log   *os.File
}
