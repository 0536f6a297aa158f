package engine

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/rc-containers/rc/internal/atomicfile"
	"github.com/rc-containers/rc/internal/host"
	"github.com/rc-containers/rc/internal/record"
	"github.com/rc-containers/rc/internal/trace"
)

// After a boot nothing of ours runs until somebody starts it. For a user who
// lingers (loginctl(1)) that is a unit of their own systemd; rc writes it when the
// first container with a restart policy is made.

// systemd is what readyForRestart has to know of the host; tests have others.
type systemd struct {
	booted string // sd_booted(3): this folder exists
	linger string // a file for each user who lingers (loginctl(1), enable-linger)
	config string // the user's unit folder
	user   string
	self   string // this rc
}

func thisSystemd() systemd {
	config := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(config) {
		config = filepath.Join(os.Getenv("HOME"), ".config")
	}
	self, _ := os.Executable()
	account, _ := host.Here().Account(os.Getuid())
	return systemd{"/run/systemd/system", "/var/lib/systemd/linger", filepath.Join(config, "systemd/user"), account.Name, self}
}

const bootCommand = "start --all --filter should-start-on-boot=true"

// readyForRestart sees to it that a container whose policy says so is started
// after a reboot, or says once what is missing. A container is made all the same
// where that fails.
func (e *Engine) readyForRestart(c *record.Container) {
	defer trace.Begin("see to restarts after a boot").End()
	if c.Restart.Name != "" {
		e.readyWith(c, thisSystemd())
	}
}

func (e *Engine) readyWith(c *record.Container, s systemd) {
	missing := ""
	switch {
	case !exists(s.booted):
		missing = "no systemd runs here: after a reboot type `rc " + bootCommand + "`"
	case s.user == "" || !exists(filepath.Join(s.linger, s.user)):
		missing = "after a reboot it starts at your next login only; for a start at boot: loginctl enable-linger"
	}
	if missing == "" || s.user != "" && exists(s.booted) {
		if err := e.enableUnit(s); err != nil {
			missing = "it will not start after a reboot: " + err.Error()
		}
	}
	told := e.Store.Path("hosts", record.MachineID(), "told-of-restart")
	if missing == "" || c.Restart.Name == "on-failure" || exists(told) {
		return
	}
	e.Warn("--restart " + c.Restart.Name + ": " + missing)
	_ = os.WriteFile(told, nil, 0o600) // not each time
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// enableUnit writes the unit and the link that systemctl(1) enable would make. It
// needs no systemd to answer: at boot it reads the folder.
func (e *Engine) enableUnit(s systemd) error {
	name := e.unitName()
	path, link := filepath.Join(s.config, name), filepath.Join(s.config, "default.target.wants", name)
	text := unitText(s.self, e.Store.Root)
	if old, err := os.ReadFile(path); err != nil || string(old) != text {
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := atomicfile.Write(path, []byte(text), 0o644, atomicfile.Durable); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../"+name, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// unitName is one for each state root.
func (e *Engine) unitName() string {
	if usual, err := record.UsualRoot(); err == nil && usual == e.Store.Root {
		return "rc-restart.service"
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(e.Store.Root))
	return fmt.Sprintf("rc-restart-%08x.service", h.Sum32())
}

// unitText is the unit. Delegate= gives the containers a cgroup subtree, and with
// it their limits; what has been started stays when the command has ended.
func unitText(rc, root string) string {
	return `# Written by rc when a container with a restart policy was made.
[Unit]
Description=Start the containers of rc whose restart policy says so
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
Delegate=yes
ExecStart=` + unitQuote(rc) + ` --root ` + unitQuote(root) + ` ` + bootCommand + `

[Install]
WantedBy=default.target
`
}

// unitQuote writes one word of ExecStart= (systemd.service(5), "Command lines"):
// % begins a specifier, $ a variable.
func unitQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s) + `"`
}
