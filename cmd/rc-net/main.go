// Command rc-net is the keeper of a user's networks (package slirp/keeper). rc
// starts it; there is nothing to be typed.
package main

import (
	"fmt"
	"os"

	"github.com/rc-containers/rc/cgroup/scope"
	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/slirp/keeper"
	_ "github.com/rc-containers/rc/userns/nsjoin" // joins or makes U0 before Go's runtime starts
)

func main() {
	if keeper.Noop() {
		return
	}
	if err := keeper.Main(scope.Systemd{}); err != nil {
		fmt.Fprintln(os.Stderr, "rc-net:", err)
		os.Exit(hint.ExitCode(err))
	}
}
