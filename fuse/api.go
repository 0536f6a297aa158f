package fuse

import "errors"

// Mount makes the root file system.
func Mount(d Driver, r Rootfs) (*Mounted, error) { return nil, errors.ErrUnsupported }

// Probe tries every driver in dir.
func Probe(dir string) []Finding { return nil }

// Open makes a detached recursive clone of dir.
func Open(dir string) (*Mounted, error) { return nil, errors.ErrUnsupported }

// RemoveAll removes the tree called name below dirfd.
func RemoveAll(dirfd int, name string) error { return errors.ErrUnsupported }

// Kill ends the helper.
func (h *Helper) Kill() error { return h.proc.Kill() }

// Wait waits for the end of the helper.
func (h *Helper) Wait() error { return errors.ErrUnsupported }
