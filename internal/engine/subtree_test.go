package engine

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rc-containers/rc/internal/hint"
	"github.com/rc-containers/rc/internal/stage"
	"github.com/rc-containers/rc/slirp"
)

func TestBothReasons(t *testing.T) {
	here := hint.New("find a cgroup of our own", &os.PathError{Op: "open", Path: "/x/session-3.scope", Err: unix.EACCES}, "run it in a scope")
	unit := hint.New("find a cgroup of our own", unix.EACCES, `printf '[Service]\nDelegate=yes\n' | sudo tee`)
	none := hint.New("get a scope", unix.ENOENT, "sudo loginctl enable-linger 5")
	for _, c := range []struct {
		here, keeper error
		words        []string
	}{
		{here, none, []string{"session-3.scope", "and no such file", "loginctl enable-linger 5"}},
		{unit, none, []string{"loginctl enable-linger 5; or, to keep the container in its unit: printf"}},
		{here, nil, []string{"session-3.scope", "run it in a scope"}},
		{here, hint.New("get a scope", unix.ENOENT, ""), []string{"run it in a scope"}},
	} {
		err := both(c.here, c.keeper)
		for _, word := range c.words {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%q lacks %q", err, word)
			}
		}
		if !errors.Is(err, unix.EACCES) {
			t.Errorf("%v lost its errno", err)
		}
	}
}

// A child of the keeper's would have the keeper's groups: nobody may be given a
// container that can read less, or more, than the one he started yesterday.
func TestKeeperLikeUs(t *testing.T) {
	if err := (&home{pid: os.Getpid(), namespaces: slirp.OwnNamespaces()}).likeUs(); err != nil {
		t.Errorf("not like itself: %v", err)
	}
	if err := (&home{pid: 1 << 30, namespaces: slirp.OwnNamespaces()}).likeUs(); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a keeper that is gone: %v", err)
	}
	other := otherUsersProcess(t)
	err := (&home{pid: other, namespaces: slirp.OwnNamespaces()}).likeUs()
	if err == nil || !strings.Contains(err.Error(), "Groups") || !strings.Contains(err.Error(), "ps -C rc-net") {
		t.Errorf("other groups: %v", err)
	}
}

// What the keeper starts would be in its own network: where nobody asked for a
// limit, the container does without its cgroup rather than that.
func TestKeeperInAnotherNetwork(t *testing.T) {
	there := slirp.OwnNamespaces()
	there["net"]++
	if err := (&home{pid: os.Getpid(), namespaces: there}).likeUs(); err == nil || !strings.Contains(err.Error(), "of the host: net;") {
		t.Errorf("another network namespace: %v", err)
	}
}

// otherUsersProcess is one with other supplementary groups than ours.
func otherUsersProcess(t *testing.T) int {
	t.Helper()
	ours, err := statusLines("self")
	must(t, err)
	entries, err := os.ReadDir("/proc")
	must(t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if theirs, err := statusLines(e.Name()); err == nil && theirs["Groups:"] != ours["Groups:"] {
			return pid
		}
	}
	t.Skip("every process of this host has the same supplementary groups")
	return 0
}

func TestSettled(t *testing.T) {
	h := new(home)
	h.settled(&slirp.Welcome{PID: 7, Group: "/x/rc.scope"})
	if h.pid != 7 || h.group != "/x/rc.scope" || h.noGroup != nil {
		t.Errorf("%+v", h)
	}
	h = new(home)
	h.settled(&slirp.Welcome{NoGroup: stage.Fail(hint.New("get a scope", unix.ENOENT, "loginctl"))})
	if !errors.Is(h.noGroup, unix.ENOENT) || h.group != "" {
		t.Errorf("%+v", h)
	}
	if _, err := h.subtree(unix.EPERM); !errors.Is(err, unix.EPERM) {
		t.Errorf("%v", err)
	}
}
