package engine

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/rc-containers/rc/cgroup"
	"github.com/rc-containers/rc/internal/atomicfile"
)

// lingerFile, in the runtime folder, names the login to which it was said.
const lingerFile = "linger-said"

// sayLinger says, once for each login, that a container in the background ends with
// the user's last logout: systemd then ends its systemd, and all below it.
func (l *launch) sayLinger() {
	own, err := cgroup.Own()
	if err != nil || l.cfg.Cgroup == "" {
		return
	}
	l.e.sayLingerIn(own, l.cfg.Cgroup, thisSystemd())
}

// sayLingerIn is for a caller in the group own, as /proc/PID/cgroup names it.
func (e *Engine) sayLingerIn(own, container string, s systemd) {
	// In a service nobody logs out, and its unit says how long it lives.
	login := loginUnit(own)
	if !strings.HasSuffix(login, ".scope") || !strings.Contains(container, "/user@") || !exists(s.booted) {
		return
	}
	dir, err := e.Store.Runtime()
	if err != nil {
		return
	}
	said := filepath.Join(dir, lingerFile)
	if before, err := os.ReadFile(said); err == nil && string(before) == login {
		return
	}
	if s.user != "" && exists(filepath.Join(s.linger, s.user)) {
		return
	}
	_ = atomicfile.Write(said, []byte(login), 0o600, atomicfile.Fast)
	e.Warn("your last logout will end this container: systemd ends all that is yours then; to keep it: loginctl enable-linger")
}

// loginUnit is the unit of systemd's in a group: the last name that is one.
func loginUnit(group string) string {
	unit := ""
	for name := range strings.SplitSeq(group, "/") {
		if ext := filepath.Ext(name); ext == ".scope" || ext == ".service" {
			unit = name
		}
	}
	return unit
}
