package shim

import (
	"os"
	"strconv"

	"github.com/rc-containers/rc/internal/hint"
)

// adjustOOMScore is --oom-score-adj. Written from outside, where /proc shows init's
// files as the root of U0's: inside, with shifted ids, nobody owns them.
func (s *shim) adjustOOMScore(pid int) error {
	n := s.cfg.Spec.Process.OOMScoreAdj
	if n == nil {
		return nil
	}
	text := strconv.Itoa(*n)
	if err := os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte(text), 0); err != nil {
		return hint.New("--oom-score-adj "+text, hint.Errno(err), "give at least your own: cat /proc/self/oom_score_adj")
	}
	return nil
}
