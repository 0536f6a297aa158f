package engine

import "github.com/rc-containers/rc/internal/record"

// readyForRestart sees to it that a container whose policy says so is started
// after a reboot.
func (e *Engine) readyForRestart(c *record.Container) {}
