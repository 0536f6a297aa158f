package engine

import (
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/rc-containers/rc/internal/linux"
	"github.com/rc-containers/rc/internal/record"
)

// restartWanted tells whether a container's policy has it started after the end
// in st, which no shim was there to see. (A shim that lives decides by itself.)
func restartWanted(c *record.Container, st *record.State) bool {
	if st.Stopped {
		return false
	}
	switch c.Restart.Name {
	case "always", "unless-stopped":
		return true
	case "on-failure": // a code that is not known is no success
		return st.ExitCode != 0 && (c.Restart.Max == 0 || st.RestartCount < c.Restart.Max)
	}
	return false
}

// StartsOnBoot tells whether the boot unit starts a container, by Docker's rules
// for a daemon that starts: always does even where the user had stopped it,
// unless-stopped does not then, and what was never started stays so. Only a
// container that has not run since this boot is one: user units start at every
// first login, too.
func (c *Entry) StartsOnBoot() bool {
	st := &c.State
	if c.Alive || st.Started.IsZero() || st.BootID == record.BootID() || c.MachineID != record.MachineID() {
		return false
	}
	if c.Restart.Name == "always" {
		return true
	}
	return restartWanted(&c.Container, st)
}

// reviveLater notes a container whose policy has it started. It is started when
// the command that found it dead is done (see Close): `rc stop` and `rc rm` of the
// same container take it off the list.
func (e *Engine) reviveLater(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.revive == nil {
		e.revive = map[string]bool{}
	}
	e.revive[id] = true
}

// doNotRevive takes a container off the list; true when it was on it.
func (e *Engine) doNotRevive(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.revive[id]
	delete(e.revive, id)
	return was
}

// reviveAll starts an `rc start` of its own for each container on the list: not
// our child for long, in a session of its own, with no stream of ours. Where two
// commands do so at once the life lock lets one of them through.
func (e *Engine) reviveAll(ids map[string]bool) {
	if len(ids) == 0 {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		return
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer null.Close()
	for id := range ids {
		args := []string{"rc", "--root", e.Store.Root, "start", "--by-policy", id}
		p, err := os.StartProcess(exe, args, &os.ProcAttr{Dir: "/", Env: os.Environ(), Files: []*os.File{null, null, null},
			Sys: &syscall.SysProcAttr{Setsid: true}})
		if err == nil {
			_ = p.Release()
		}
	}
}

func exitText(code int) string { return strconv.Itoa(code) }

// recallShims tells the shims of live containers that the runtime folder was made
// anew: they put their lock and socket there, which is waited for. Each is checked
// by pid, start time and boot, so nobody else gets the signal.
func (e *Engine) recallShims() {
	ids, err := e.Store.ContainerIDs()
	if err != nil {
		return
	}
	var called []string
	for _, id := range ids {
		c, st, err := e.peek(id)
		if err != nil || c == nil || c.MachineID != record.MachineID() || !shimLives(st) {
			continue
		}
		if pidfd, err := shimOf(st).Open(); err == nil {
			if linux.SignalPidfd(pidfd, syscall.SIGUSR2) == nil {
				called = append(called, id)
			}
			_ = pidfd.Close()
		}
	}
	until := time.Now().Add(3 * time.Second)
	for _, id := range called {
		path, err := e.Store.ControlPath(id)
		for err == nil && !exists(path) && time.Now().Before(until) {
			time.Sleep(5 * time.Millisecond)
		}
	}
}
