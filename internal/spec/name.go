package spec

import (
	"strings"

	"github.com/rc-containers/rc/internal/hint"
)

// CheckName checks the name of a container by Docker's rule (moby,
// daemon/names): [a-zA-Z0-9][a-zA-Z0-9_.-]+. A folder entry of that name is
// never hidden, never "..", and fits in NAME_MAX.
func CheckName(name string) error {
	if why := badName(name); why != "" {
		return refuse("--name", name, "use letters, digits, _ . and -, a letter or digit first, 2 to 128 of them", "%s", why)
	}
	return nil
}

// CheckVolumeName checks the name of a volume, whose rule is the same.
func CheckVolumeName(name string) error {
	if why := badName(name); why != "" {
		return hint.Newf("name a volume "+quoted(name), "use letters, digits, _ . and -, a letter or digit first, 2 to 128 of them", "%s", why).WithCode(1)
	}
	return nil
}

// badName says why name is no name of a container or a volume; "" when it is one.
func badName(name string) string {
	switch {
	case len(name) < 2:
		return "too short"
	case len(name) > 128:
		return "too long"
	case !alnum(name[0]):
		return "it must begin with a letter or a digit"
	}
	for i := range len(name) {
		if !alnum(name[i]) && !strings.ContainsRune("_.-", rune(name[i])) {
			return "a character that names cannot have: " + quoteChar(name[i:])
		}
	}
	return ""
}

func alnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// quoteChar quotes the first character of s, which is not empty.
func quoteChar(s string) string {
	for _, r := range s {
		return quoted(string(r))
	}
	return ""
}
