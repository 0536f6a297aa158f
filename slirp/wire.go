package slirp

import (
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/internal/trace"
)

// Start is the first message of rc to a keeper that it has just started.
type Start struct {
	Runtime string // absolute path of the runtime folder
	Version string // of rc; the keeper refuses another's
	Path    string // rc's PATH, to find slirp4netns and nft in
}

// Request is a message to the keeper: exactly one field is set.
type Request struct {
	Hello  *Hello  `json:",omitempty"`
	Attach *Attach `json:",omitempty"`
	Fork   *Fork   `json:",omitempty"`
	Unit   *Unit   `json:",omitempty"`
	Change *Change `json:",omitempty"`
	Trace  bool    `json:",omitempty"` // answer with marks: rc --trace
}

// Kinds counts the fields that are set.
func (r *Request) Kinds() int {
	n := 0
	for _, set := range []bool{r.Hello != nil, r.Attach != nil, r.Fork != nil, r.Unit != nil, r.Change != nil} {
		if set {
			n++
		}
	}
	return n
}

// Reply is a message of the keeper: exactly one field is set.
type Reply struct {
	Ready    bool           `json:",omitempty"`
	Welcome  *Welcome       `json:",omitempty"`
	Attached *Attached      `json:",omitempty"`
	Forked   *Forked        `json:",omitempty"`
	Unit     *UnitReply     `json:",omitempty"`
	Failed   *stage.Failure `json:",omitempty"`
	Trace    []trace.Mark   `json:",omitempty"` // beside one of the others
}
