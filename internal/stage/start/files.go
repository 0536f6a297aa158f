package start

// FilesConfig is one cp, export, diff or commit: what rc asks of rc-image, in a
// sealed memory file that is descriptor FilesFD of it. rc-image stands in U0 and
// in a mount namespace copied from the caller's, so a path of the host means what
// it means to the caller.
type FilesConfig struct {
	Version string
	Verb    string // cp, export, diff, commit
	From    FilesPlace
	To      FilesPlace // of cp; Path of export: the file, "" for stdout
	Archive bool       // cp -a: owners as at the source
	Follow  bool       // cp -L: the source itself may be a link to follow
	Quiet   bool

	Author  string   `json:",omitempty"`
	Message string   `json:",omitempty"`
	Changes []string `json:",omitempty"` // Dockerfile instructions
	Name    string   `json:",omitempty"` // of the new image; "" for none
}

// FilesPlace is a path in a container or, without an ID, on the host; the path
// "-" of the host is stdin or stdout. The numbers are descriptors, 0 for none:
// of a running container Root (O_PATH, from its shim) and Mnt, its mount
// namespace; of one at rest Life, its life lock, held until the end.
type FilesPlace struct {
	ID    string `json:",omitempty"`
	Typed string `json:",omitempty"` // how the user named the container
	Path  string
	Root  int `json:",omitempty"`
	Mnt   int `json:",omitempty"`
	Life  int `json:",omitempty"`
}

// FilesFD is the descriptor of the configuration: the first that rc passes beside
// U0's.
const FilesFD = 6
