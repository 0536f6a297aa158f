package userns

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A user namespace that cannot be joined was made elsewhere, and that is said.
func TestForeignUserNamespaceIsNamed(t *testing.T) {
	err := message{step: stepSetns, errno: unix.EPERM, arg: unix.CLONE_NEWUSER}.failure(&Program{})
	if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "join the user namespace: operation not permitted; it was made from another user namespace") {
		t.Error(err)
	}
	for _, m := range []message{{step: stepSetns, errno: unix.EPERM, arg: unix.CLONE_NEWNET}, {step: stepSetns, errno: unix.EINVAL, arg: unix.CLONE_NEWUSER}} {
		if err := m.failure(&Program{}); strings.Contains(err.Error(), "another user namespace") {
			t.Error(err)
		}
	}
}
