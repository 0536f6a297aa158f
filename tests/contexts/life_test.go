package contexts

import (
	"strings"

	"github.com/rc-containers/rc/tests/guest"
)

// keeperKilled: the next one goes back into the scope, in which containers live on,
// and limits hold as before. Neither the end of a login nor of a unit ends it.
func (w *world) keeperKilled() {
	login := guest.Login(guest.User)
	w.must(login, "rc run -d --name=lives --network=none --memory=64m small sleep 1000")
	first := w.keeper("user", lingering)
	w.must(guest.Root, "kill -9 "+first)
	w.must(login, "rc run -d --name=after --network=none --memory=32m small sleep 1000")
	if second := w.keeper("user", lingering); second == first {
		w.Error("the keeper was not killed")
	}
	for name, limit := range map[string]string{"lives": "67108864", "after": "33554432"} {
		group := strings.TrimPrefix(w.must(login, "rc inspect -f '{{.HostConfig.CgroupPath}}' "+name+" 2>/dev/null || rc inspect "+name+" | sed -n 's/.*CgroupPath\": \"\\(.*\\)\".*/\\1/p'"), "/sys/fs/cgroup")
		if !strings.HasPrefix(group, lingering+"/rc-") {
			w.Errorf("%s is in %s", name, group)
		}
		if got := w.must(login, "rc exec "+name+" cat /sys/fs/cgroup/memory.max"); got != limit {
			w.Errorf("%s has the limit %s, want %s", name, got, limit)
		}
	}
	// From a unit that ends, with the keeper born in it.
	w.must(guest.Root, "kill -9 "+w.keeper("user", lingering)+"; systemd-run -q --wait --pipe -u birth -p User=user /share/ctx plain")
	w.keeper("user", lingering)
	w.must(login, "rc rm -f lives after")
}

// keeper is the pid of the user's, which has to stand in the leaf of group.
func (w *world) keeper(user, group string) string {
	w.Helper()
	out := w.must(guest.Root, "p=$(pgrep -x -u "+user+" rc-net) && echo $p $(cut -d: -f3 /proc/$p/cgroup)")
	pid, in, _ := strings.Cut(out, " ")
	if in != group+"/rc-host" || strings.Contains(pid, "\n") {
		w.Fatalf("keepers: %q, want one in %s", out, group)
	}
	return pid
}

// logout: who does not linger is told, once in a login, what becomes of a container in
// the background; it does, and the record says so. Who lingers, and a unit, hear nothing.
func (w *world) logout() {
	const run = "rc run -d --network=none small sleep 1000"
	const word = "loginctl enable-linger"
	r := w.run(guest.Login(guest.Plain), run+" && "+run)
	if r.Code != 0 || strings.Count(r.Stderr, word) != 1 || strings.Count(r.Stderr, "\n") != 1 {
		w.Errorf("two containers in one login: %d %q", r.Code, r.Stderr)
	}
	w.must(guest.Root, gone+"gone; ! pgrep -u plain")
	r = w.run(guest.Login(guest.Plain), "rc ps -q; rc ps -aq | wc -l; "+run)
	if r.Code != 0 || !strings.HasPrefix(r.Stdout, "2\n") || strings.Count(r.Stderr, word) != 1 {
		w.Errorf("the next login: %d %q %q", r.Code, r.Stdout, r.Stderr)
	}
	w.must(guest.Root, gone+"gone")
	w.must(guest.Login(guest.Plain), "rc rm -f $(rc ps -aq)")
	for user, line := range map[string]string{
		guest.Login(guest.User): run,
		guest.Root:              "systemd-run -q --wait --pipe -u quiet -p User=user " + "/share/bin/" + run,
	} {
		if r := w.run(user, line); r.Code != 0 || r.Stderr != "" {
			w.Errorf("%s: %d %q", line, r.Code, r.Stderr)
		}
	}
	w.must(guest.Login(guest.User), "test $(rc ps -q | wc -l) = 2 && rc rm -f $(rc ps -q)")
}

// missing is a user whose systemd was not delegated cpuset, as Debian has it.
func (w *world) missing() row {
	w.must(guest.Root, gone+"rm /etc/systemd/system/user@.service.d/delegate.conf; systemctl daemon-reload; gone")
	r := w.run(guest.Login(guest.Plain), "rc run --rm --network=none --cpuset-cpus=0 small true")
	return w.refused(place{name: "login where the user's systemd has not the controller", says: []string{
		"the cpuset controller is not delegated", "/etc/systemd/system/user@.service.d", "Delegate=cpu cpuset io memory pids"}}, r)
}
