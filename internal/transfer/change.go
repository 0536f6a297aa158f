package transfer

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"

	imgspec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/rc-containers/rc/internal/hint"
)

// change applies one Dockerfile instruction of `import --change`:
// CMD ENTRYPOINT ENV EXPOSE LABEL STOPSIGNAL USER VOLUME WORKDIR.
func change(c *imgspec.ImageConfig, text string) error {
	word, rest, _ := strings.Cut(strings.TrimSpace(text), " ")
	rest = strings.TrimSpace(rest)
	bad := func(why string) error {
		return hint.Newf("", `write it as in a Dockerfile: -c 'CMD ["sh"]'`, "--change %q: %s", text, why)
	}
	if rest == "" {
		return bad("nothing to set")
	}
	switch strings.ToUpper(word) {
	case "CMD":
		c.Cmd = command(rest)
	case "ENTRYPOINT":
		c.Entrypoint = command(rest)
	case "USER":
		c.User = rest
	case "WORKDIR":
		c.WorkingDir = path.Join("/", c.WorkingDir, rest) // relative to the one before
		if path.IsAbs(rest) {
			c.WorkingDir = path.Clean(rest)
		}
	case "STOPSIGNAL":
		c.StopSignal = rest
	case "ENV", "LABEL":
		return pairs(c, strings.ToUpper(word), rest, bad)
	case "EXPOSE":
		for _, p := range strings.Fields(rest) {
			if !strings.Contains(p, "/") {
				p += "/tcp"
			}
			put(&c.ExposedPorts, p)
		}
	case "VOLUME":
		list := strings.Fields(rest)
		if strings.HasPrefix(rest, "[") {
			list = nil
			if err := json.Unmarshal([]byte(rest), &list); err != nil {
				return bad(err.Error())
			}
		}
		for _, v := range list {
			put(&c.Volumes, v)
		}
	default:
		return bad("unknown instruction " + word)
	}
	return nil
}

func put(m *map[string]struct{}, key string) {
	if *m == nil {
		*m = make(map[string]struct{})
	}
	(*m)[key] = struct{}{}
}

// command is the exec form (a JSON list) or the shell form.
func command(s string) []string {
	var list []string
	if strings.HasPrefix(s, "[") && json.Unmarshal([]byte(s), &list) == nil {
		return list
	}
	return []string{"/bin/sh", "-c", s}
}

// pairs reads KEY=VALUE words, quoted or not, or the old form `KEY VALUE`.
func pairs(c *imgspec.ImageConfig, word, rest string, bad func(string) error) error {
	list, err := words(rest)
	if err != nil {
		return bad(err.Error())
	}
	if !strings.Contains(list[0], "=") {
		key, value, ok := strings.Cut(rest, " ")
		if !ok {
			return bad("KEY=VALUE is wanted")
		}
		list = []string{key + "=" + strings.TrimSpace(value)}
	}
	for _, kv := range list {
		key, value, ok := strings.Cut(kv, "=")
		if !ok || key == "" {
			return bad("KEY=VALUE is wanted")
		}
		if word == "ENV" {
			c.Env = append(c.Env, kv)
			continue
		}
		if c.Labels == nil {
			c.Labels = make(map[string]string)
		}
		c.Labels[key] = value
	}
	return nil
}

// words splits at spaces outside of quotes; a backslash takes the next letter.
func words(s string) ([]string, error) {
	var list []string
	var b strings.Builder
	var quote rune
	escaped, inWord := false, false
	for _, r := range s {
		switch {
		case escaped:
			b.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped, inWord = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				list = append(list, b.String())
				b.Reset()
				inWord = false
			}
		default:
			b.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inWord {
		list = append(list, b.String())
	}
	return list, nil
}
