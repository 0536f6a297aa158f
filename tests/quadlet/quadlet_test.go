// Package quadlet shows quadlet files at work under a real systemd: rc as a generator
// of the user's systemd and of the host's, in a guest.
//
//	RC_GUEST=1 RC_BIN=$PWD/bin go test ./tests/quadlet -v -timeout 60m
package quadlet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rc-containers/rc/tests/guest"
)

// patience is for one command in the guest, where everything takes 15 times as long.
const patience = 4 * time.Minute

// vm is a guest with rc as a generator, as `make install` makes it one.
type vm struct {
	*guest.Guest
	t *testing.T
}

func boot(t *testing.T, o guest.Options) *vm {
	t.Helper()
	if os.Getenv("RC_GUEST") == "" {
		t.Skip("boots a virtual machine: set RC_GUEST=1, or make test-vm")
	}
	o.Share = map[string]string{"bin": guest.Programs(t)}
	if registry, err := exec.LookPath("docker-registry"); err == nil {
		o.Share["registry"] = registry
	}
	v := &vm{guest.Start(t, o), t}
	v.install()
	return v
}

// install makes rc one of systemd's generators, and an image of the guest's busybox.
func (v *vm) install() {
	v.t.Helper()
	v.as(guest.Root, `for scope in user system; do
  mkdir -p /etc/systemd/$scope-generators && ln -sf /share/bin/rc /etc/systemd/$scope-generators/rc-quadlet || exit 1
done`)
	v.as(guest.User, `rc image inspect localhost/box >/dev/null 2>&1 || {
  mkdir -p tree/bin && cp /bin/busybox tree/bin/ &&
  for a in sh sleep cat echo env id touch kill test; do ln -sf busybox tree/bin/$a; done &&
  tar -C tree -c . | rc import - localhost/box
}`)
}

// try runs a line and returns what it printed, and its exit code.
func (v *vm) try(user, line string) (string, int) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := v.Run(ctx, user, line)
	if r.Err != nil {
		v.t.Fatalf("%s: %s: %v\n%s%s\n%s", user, line, r.Err, r.Stdout, r.Stderr, v.journal())
	}
	return r.Stdout + r.Stderr, r.Code
}

// as runs a line that must succeed.
func (v *vm) as(user, line string) string {
	v.t.Helper()
	out, code := v.try(user, line)
	if code != 0 {
		v.t.Fatalf("%s: %s => %d\n%s\n%s", user, line, code, out, v.journal())
	}
	return out
}

// file writes a quadlet file of the user's.
func (v *vm) file(name, text string) {
	v.t.Helper()
	v.as(guest.User, fmt.Sprintf("mkdir -p \"$(dirname ~/.config/rc/systemd/%s)\" && cat >~/.config/rc/systemd/%s <<'END'\n%sEND", name, name, text))
}

func (v *vm) reload() { v.t.Helper(); v.as(guest.User, "systemctl --user daemon-reload") }

// show is a property of a unit of the user's.
func (v *vm) show(unit, property string) string {
	v.t.Helper()
	return strings.TrimSpace(v.as(guest.User, "systemctl --user show --value -p "+property+" "+unit))
}

func (v *vm) want(unit, property, want string) {
	v.t.Helper()
	if got := v.show(unit, property); got != want {
		v.t.Errorf("%s: %s=%s, want %s\n%s", unit, property, got, want, v.journal())
	}
}

// journal is the end of everything, for a failure.
func (v *vm) journal() string {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return v.Run(ctx, guest.Root, "journalctl --no-pager -n 60").Stdout
}

// unitJournal is what the journal has of a unit of the user's.
func (v *vm) unitJournal(unit string) string {
	v.t.Helper()
	return v.as(guest.Root, "journalctl --no-pager -o cat --sync; journalctl --no-pager -o cat _SYSTEMD_USER_UNIT="+unit)
}

const web = `[Unit]
Description=A service in a container

[Container]
Image=localhost/box
Volume=web.volume:/data
Environment=WHO=world
Exec=sh -c "echo hello $WHO; echo \"from $0\" >>/data/starts; trap 'echo bye; exit 0' TERM; while :; do sleep 0.2; done" \
  %N
ReloadCmd=sh -c "echo reloaded >>/data/starts"

[Service]
TimeoutStartSec=300

[Install]
WantedBy=default.target
`

// One guest for all that needs no reboot.
func TestServices(t *testing.T) {
	v := boot(t, guest.Options{})
	for _, c := range []struct {
		name string
		test func(*vm)
	}{
		{"container", testContainer}, {"faults", testFaults}, {"template", testTemplate}, {"install", testInstall},
		{"restart", testRestart}, {"oneshot", testOneshot}, {"image", testImage}, {"verify", testVerify}, {"system", testSystem}, {"cost", testCost},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(&vm{v.Guest, t}) })
	}
}

func testContainer(v *vm) {
	v.file("web.container", web)
	v.file("web.volume", "[Volume]\nLabel=of=web\n")
	v.reload()
	v.as(guest.User, "systemctl --user start web")
	v.want("web", "ActiveState", "active")
	v.want("web", "SubState", "running")
	v.want("web", "Delegate", "yes")
	v.want("web-volume", "ActiveState", "active")
	v.want("web", "SourcePath", "/home/user/.config/rc/systemd/web.container")
	// The main process is the one beside the container, in the unit's own group, and so
	// is the payload.
	pid, group := v.show("web", "MainPID"), v.show("web", "ControlGroup")
	if out := v.as(guest.User, "cat /proc/"+pid+"/cmdline | tr '\\0' ' '"); !strings.Contains(out, "systemd-web") {
		v.t.Errorf("MainPID=%s is %s", pid, out)
	}
	payload := strings.TrimSpace(v.as(guest.User, "rc inspect -f '{{.State.Pid}}' systemd-web"))
	for _, p := range []string{pid, payload} {
		if out := v.as(guest.User, "cat /proc/"+p+"/cgroup"); !strings.HasPrefix(strings.TrimSpace(out), "0::"+group+"/") {
			v.t.Errorf("process %s stands in %s, the unit in %s", p, out, group)
		}
	}
	if out := v.as(guest.User, "rc exec systemd-web cat /data/starts; rc volume inspect -f '{{.Labels.of}}' systemd-web"); out != "from web\nweb\n" {
		v.t.Error(out)
	}
	v.as(guest.User, "systemctl --user reload web")
	if out := v.as(guest.User, "rc exec systemd-web cat /data/starts"); !strings.HasSuffix(out, "reloaded\n") {
		v.t.Error(out)
	}
	// daemon-reload makes the units anew, and what runs goes on.
	v.reload()
	v.want("web", "MainPID", pid)
	v.want("web", "ActiveState", "active")

	v.as(guest.User, "systemctl --user stop web")
	v.want("web", "ActiveState", "inactive")
	v.want("web", "Result", "success")
	if out := v.as(guest.User, "rc ps -aq"); out != "" {
		v.t.Errorf("left behind: %s", out)
	}
	journal := v.unitJournal("web.service")
	for _, line := range []string{"hello world", "bye"} {
		if !strings.Contains(journal, line) {
			v.t.Errorf("the unit's journal has no %q:\n%s", line, journal)
		}
	}
	if out := v.as(guest.Root, "journalctl --no-pager -o cat SYSLOG_IDENTIFIER=web"); !strings.Contains(out, "hello world") {
		v.t.Errorf("the container's lines are not called web: %s", out)
	}
}

func testFaults(v *vm) {
	v.file("bad.container", "[Container]\nImage=localhost/box\nPod=a.pod\nFrob=1\n")
	v.file("net.network", "[Network]\nDriver=macvlan\n")
	v.as(guest.User, "head -c 100000 /dev/urandom >~/.config/rc/systemd/noise.container; ln -s loop.volume ~/.config/rc/systemd/loop.volume; mkfifo ~/.config/rc/systemd/pipe.image")
	v.reload()
	const file = "/home/user/.config/rc/systemd/"
	for unit, want := range map[string]string{
		"bad":         file + "bad.container:3: Pod=a.pod: rc has no pods yet; put them on one network: Network=NAME.network",
		"net-network": file + "net.network:2: Driver=macvlan: rc's networks are bridges",
		"noise":       file + "noise.container:1: ",
		"loop-volume": file + "loop.volume: it cannot be read: too many levels of symbolic links",
		"pipe-image":  file + "pipe.image: it cannot be read: it is no regular file",
	} {
		if _, code := v.try(guest.User, "systemctl --user start "+unit); code == 0 {
			v.t.Errorf("%s started", unit)
		}
		v.want(unit, "ActiveState", "failed")
		v.want(unit, "ExecMainStatus", "78")
		if got := v.show(unit, "StatusText"); !strings.HasPrefix(got, want) {
			v.t.Errorf("%s: status %q, want %q", unit, got, want)
		}
		if got := v.unitJournal(unit + ".service"); !strings.Contains(got, want) {
			v.t.Errorf("%s: journal %q, want %q", unit, got, want)
		}
	}
	if got := v.show("bad", "StatusText"); !strings.HasSuffix(got, "(and 1 more: see the journal)") {
		v.t.Error(got)
	}
	// The generator's own log has them too, before anybody starts anything.
	if got := v.as(guest.Root, "journalctl --no-pager -o cat"); !strings.Contains(got, "rc-quadlet: "+file+"bad.container:4: Frob=1: ") {
		v.t.Error("the generator has not logged the fault")
	}
	if out, code := v.try(guest.User, "rc quadlet --dry-run"); code != 1 || strings.Count(out, "\nrc: "+file) < 5 || !strings.Contains(out, "---web.service---") {
		v.t.Errorf("%d: %s", code, out)
	}
	v.as(guest.User, "cd ~/.config/rc/systemd && rm bad.container net.network noise.container loop.volume pipe.image && systemctl --user reset-failed")
}

func testTemplate(v *vm) {
	v.file("nap@.container", "[Container]\nImage=localhost/box\nExec=sh -c \"echo napping %i; exec sleep 1000\"\nRunInit=yes\n")
	v.as(guest.User, "cd ~/.config/rc/systemd && ln -s nap@.container nap@two.container")
	v.file("nap@two.container.d/10-label.conf", "[Container]\nLabel=two=yes\n")
	v.reload()
	v.as(guest.User, "systemctl --user start nap@one nap@two")
	for _, i := range []string{"one", "two"} {
		v.want("nap@"+i, "ActiveState", "active")
		if out := v.as(guest.User, "rc inspect -f '{{.State.Status}}' systemd-nap_"+i); out != "running\n" {
			v.t.Error(out)
		}
	}
	if out := v.as(guest.User, "rc inspect -f '{{.Config.Labels.two}}' systemd-nap_two"); out != "yes\n" {
		v.t.Error(out)
	}
	v.as(guest.User, "systemctl --user stop nap@one nap@two")
	for _, i := range []string{"one", "two"} {
		v.want("nap@"+i, "ActiveState", "inactive")
		v.want("nap@"+i, "Result", "success") // a process that SIGTERM ended has ended well
	}
}

// What [Install] asks for is there after a daemon-reload, and systemd's manager starts
// it when it starts itself.
func testInstall(v *vm) {
	if out := v.as(guest.User, "systemctl --user list-dependencies --plain default.target"); !strings.Contains(out, "web.service") {
		v.t.Error(out)
	}
	v.restartManager()
	v.want("web", "ActiveState", "active")
	if out := v.as(guest.User, "rc exec systemd-web cat /data/starts"); strings.Count(out, "from web\n") != 2 {
		v.t.Errorf("the volume has %q", out)
	}
	v.as(guest.User, "systemctl --user stop web")
}

// restartManager is what a boot is for the user's units.
func (v *vm) restartManager() {
	v.t.Helper()
	v.as(guest.Root, "systemctl restart user@1000.service")
	v.as(guest.User, "for i in $(seq 120); do systemctl --user is-active --quiet default.target && exit; sleep 1; done; systemctl --user list-jobs; exit 1")
}

// systemd starts a service again whose container ended, or was killed together with
// what stands beside it: nothing of the old one is in the way.
func testRestart(v *vm) {
	v.file("again.container", "[Container]\nImage=localhost/box\nExec=sh -c \"sleep 1000 & wait\"\n[Service]\nRestart=on-failure\nRestartSec=1\nTimeoutStartSec=300\n")
	v.reload()
	v.as(guest.User, "systemctl --user start again")
	for i, kill := range []string{"rc kill systemd-again", "kill -9 " + v.show("again", "MainPID")} {
		if i == 1 {
			kill = "kill -9 " + v.show("again", "MainPID")
		}
		v.as(guest.User, kill)
		v.as(guest.User, fmt.Sprintf("for i in $(seq 120); do test $(systemctl --user show --value -p NRestarts again) = %d && systemctl --user is-active --quiet again && exit; sleep 1; done; systemctl --user status again; exit 1", i+1))
	}
	v.as(guest.User, "systemctl --user stop again")
	if out := v.as(guest.User, "rc ps -aq"); out != "" {
		v.t.Errorf("left behind: %s", out)
	}
}

func testOneshot(v *vm) {
	v.file("job.container", "[Container]\nImage=localhost/box\nExec=sh -c \"echo did it; exit 3\"\n[Service]\nType=oneshot\nRemainAfterExit=yes\nSuccessExitStatus=3\n")
	v.reload()
	v.as(guest.User, "systemctl --user start job")
	v.want("job", "ActiveState", "active")
	v.want("job", "SubState", "exited")
	v.want("job", "ExecMainStatus", "3")
	v.as(guest.User, "systemctl --user stop job")
	v.want("job", "ActiveState", "inactive")
	if got := v.unitJournal("job.service"); strings.Count(got, "did it") != 1 {
		v.t.Error(got)
	}
}

// A .image file pulls from a registry before the container that names it starts.
func testImage(v *vm) {
	if _, err := exec.LookPath("docker-registry"); err != nil {
		v.t.Skip("no docker-registry here to share with the guest: tests/setup installs it")
	}
	v.as(guest.Root, `printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: /run/registry}}\nhttp: {addr: 127.0.0.1:5000}\n' >/run/registry.yml
systemd-run --quiet --unit=registry /share/registry serve /run/registry.yml
for i in $(seq 60); do (: </dev/tcp/127.0.0.1/5000) 2>/dev/null && exit; sleep 1; done; exit 1`)
	v.as(guest.User, "rc tag localhost/box 127.0.0.1:5000/app:1 && rc push --tls-verify=false 127.0.0.1:5000/app:1 && rc rmi 127.0.0.1:5000/app:1")
	v.file("app.image", "[Image]\nImage=127.0.0.1:5000/app:1\nTLSVerify=false\n")
	v.file("app.container", "[Container]\nImage=app.image\nExec=sh -c \"echo pulled; exec sleep 1000\"\nRunInit=yes\n")
	v.reload()
	v.as(guest.User, "systemctl --user start app")
	v.want("app", "ActiveState", "active")
	v.want("app-image", "ActiveState", "active")
	if out := v.as(guest.User, "rc inspect -f '{{.Config.Image}}' systemd-app"); out != "127.0.0.1:5000/app:1\n" {
		v.t.Error(out)
	}
	v.as(guest.User, "systemctl --user stop app app-image")
	// Without its registry the image's unit fails, and so does what needs it; unless
	// it may be content with what is there.
	v.as(guest.Root, "systemctl stop registry")
	if _, code := v.try(guest.User, "systemctl --user start app"); code == 0 {
		v.t.Error("the image was pulled from nowhere")
	}
	v.want("app-image", "ActiveState", "failed")
	v.file("app.image", "[Image]\nImage=127.0.0.1:5000/app:1\nTLSVerify=false\nPolicy=missing\n")
	v.reload()
	v.as(guest.User, "systemctl --user start app && systemctl --user stop app")
}

// systemd finds nothing to complain of in what is made of files with every key.
func testVerify(v *vm) {
	text, err := os.ReadFile("../../internal/quadlet/testdata/all/all.container")
	if err != nil {
		v.t.Fatal(err)
	}
	v.file("all.container", string(text))
	v.file("data.volume", "[Volume]\n")
	v.reload()
	out := v.as(guest.User, "cd $XDG_RUNTIME_DIR/systemd/generator && systemd-analyze --user verify *.service 2>&1; echo code $?")
	if out != "code 0\n" {
		v.t.Error(out)
	}
	// What systemd has made of the command line is what was meant.
	start := v.show("all", "ExecStart")
	for _, part := range []string{" --env B=two words ", " --annotation=x=y z ", " /bin/sh -c echo \"", " ; last one "} {
		if !strings.Contains(start, part) {
			v.t.Errorf("systemd has no %q in %s", part, start)
		}
	}
	v.as(guest.User, "rm ~/.config/rc/systemd/all.container ~/.config/rc/systemd/data.volume")
}

// A file of the host's own systemd, whose service runs as a user.
func testSystem(v *vm) {
	v.as(guest.Root, `mkdir -p /etc/rc/systemd /etc/rc/systemd/users && cat >/etc/rc/systemd/sys.container <<'END'
[Container]
Image=localhost/box
Exec=sh -c "id -u; exec sleep 1000"
RunInit=yes
[Service]
User=user
TimeoutStartSec=300
[Install]
WantedBy=multi-user.target
END
printf '[Container]\nPod=x.pod\n' >/etc/rc/systemd/wrong.container
printf '[Container]\nImage=localhost/box\n' >/etc/rc/systemd/users/everybody.container
systemctl daemon-reload`)
	v.as(guest.Root, "systemctl start sys")
	if out := v.as(guest.Root, "systemctl show --value -p ActiveState sys; test -L /run/systemd/generator/multi-user.target.wants/sys.service && echo wanted; test -e /run/systemd/generator/everybody.service || echo not mine"); out != "active\nwanted\nnot mine\n" {
		v.t.Error(out)
	}
	v.as(guest.Root, "systemctl stop sys")
	if out := v.as(guest.Root, "systemctl show --value -p ActiveState,Result sys"); out != "success\ninactive\n" && out != "inactive\nsuccess\n" {
		v.t.Error(out)
	}
	if out := v.as(guest.Root, "journalctl --no-pager -k -o cat"); !strings.Contains(out, "/etc/rc/systemd/wrong.container:2: Pod=x.pod: ") {
		v.t.Errorf("the kernel's log has no word of the fault: %s", out)
	}
	v.reload()
	v.want("everybody", "LoadState", "loaded")
	v.as(guest.Root, "rm -r /etc/rc && systemctl daemon-reload")
}

// What systemd waits for at each daemon-reload.
func testCost(v *vm) {
	out := v.as(guest.User, `mkdir many out && for i in $(seq 100); do printf '[Container]\nImage=localhost/box\nVolume=v.volume:/v\nExec=sleep 1\n[Install]\nWantedBy=default.target\n' >many/c$i.container; done; printf '[Volume]\n' >many/v.volume
ln -s /share/bin/rc rc-quadlet; time QUADLET_UNIT_DIRS=$PWD/many ./rc-quadlet out && ls out/*.service | wc -l
mkdir none; time QUADLET_UNIT_DIRS=$PWD/none ./rc-quadlet out; time rc version`)
	v.t.Logf("100 files, none, and `rc version` beside it, in the guest:\n%s", out)
	if !strings.Contains(out, "102\n") {
		v.t.Error(out)
	}
}

// A power cut, and everything that [Install] names is back after the boot, in spite
// of the records that the cut left of containers that were running.
func TestReboot(t *testing.T) {
	if os.Getenv("RC_GUEST") == "" {
		t.Skip("boots a virtual machine twice: set RC_GUEST=1, or make test-vm")
	}
	if why := guest.Unmet(); why != "" {
		t.Skip(why)
	}
	home := filepath.Join(t.TempDir(), "home.ext4")
	if err := guest.NewDisk(home, 1024); err != nil {
		t.Fatal(err)
	}
	v := boot(t, guest.Options{Home: home})
	v.file("web.container", web)
	v.file("web.volume", "[Volume]\n")
	v.reload()
	// It is ready before its command has written: what is cut off then was promised to nobody.
	v.as(guest.User, "systemctl --user start web && until rc exec systemd-web cat /data/starts | grep -q web; do sleep 0.3; done; sync")
	v.want("web", "ActiveState", "active")
	v.Kill()
	if err := v.Boot(context.Background()); err != nil {
		t.Fatal(err)
	}
	// The guest's own disk forgets everything, generators too: the user's systemd
	// begins once more with them in place.
	v.install()
	v.restartManager()
	v.want("web", "ActiveState", "active")
	v.as(guest.User, "for i in $(seq 60); do test $(rc exec systemd-web cat /data/starts | wc -l) = 2 && exit; sleep 1; done; exit 0")
	if out := v.as(guest.User, "rc ps --format '{{.Names}}' && rc exec systemd-web cat /data/starts"); out != "systemd-web\nfrom web\nfrom web\n" {
		t.Error(out)
	}
	v.as(guest.User, "systemctl --user stop web")
	v.want("web", "Result", "success")
	if out := v.as(guest.User, "rc ps -aq"); out != "" {
		t.Errorf("left behind: %s", out)
	}
}
