package start

import "github.com/rc-containers/rc/fuse"

// The small roles of rc-init get one of these instead of Config: one Config
// message with the sealed value, one answer.

// TidyConfig asks rc-tidy for trees to be deleted that hold files of subordinate
// ids, which only root of U0 may delete. Paths are relative to Root and lie below
// trash/ or volumes/. The answer is Exited or Failed.
type TidyConfig struct {
	Root   string
	Paths  []string
	Groups []string `json:",omitempty"` // cgroups of containers, empty of processes
}

// CoverConfig asks rc-cover for a clone of the mounts at Path. The answer is Ready
// with one descriptor, or Failed.
type CoverConfig struct{ Path string }

// UnshareConfig is a command of the user's own, for rc-unshare to become in U0
// and a private copy of the mount namespace. The answer is Failed, or the end of
// the conversation.
type UnshareConfig struct {
	Args []string
	Env  []string
	Dir  string
}

// ProbeConfig asks rc-probe which root file system drivers work in a folder.
type ProbeConfig struct{ Dir string }

// ProbeReply answers it.
type ProbeReply struct {
	Findings []fuse.Finding
	Fail     *Failure `json:",omitempty"`
}

// MeasureConfig asks rc-measure how many bytes the files of folders have. Paths are
// relative to Root.
type MeasureConfig struct {
	Root  string
	Paths []string
}

// MeasureReply answers it, in the order of the paths.
type MeasureReply struct {
	Bytes []int64
	Fail  *Failure `json:",omitempty"`
}
