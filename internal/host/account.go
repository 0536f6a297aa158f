package host

import (
	"strconv"
	"strings"
)

// Account is an entry of the host's user database.
type Account struct {
	Name, Home, Shell string
	UID, GID          int
}

// Account looks uid up in /etc/passwd, then through `getent`: a static binary
// has no name service of its own, and on clusters users come from LDAP or sssd.
// False when nobody knows the id.
func (s *System) Account(uid int) (Account, bool) {
	text, _ := s.read("/etc/passwd")
	if a, ok := findAccount(text, uid); ok {
		return a, true
	}
	getent := s.LookPath("getent")
	if getent == "" {
		return Account{}, false
	}
	text, err := s.Run(getent, "passwd", strconv.Itoa(uid))
	if err != nil {
		return Account{}, false
	}
	return findAccount(text, uid)
}

// findAccount is the first line for uid of a text in passwd(5)'s form.
func findAccount(text string, uid int) (Account, bool) {
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) < 7 || f[2] != strconv.Itoa(uid) || f[0] == "" {
			continue
		}
		gid, err := strconv.Atoi(f[3])
		if err != nil {
			continue
		}
		return Account{Name: f[0], Home: f[5], Shell: f[6], UID: uid, GID: gid}, true
	}
	return Account{}, false
}
