package quadlet

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	errQuote = errors.New("a quotation mark is not closed")
	errNUL   = errors.New("a NUL byte cannot be given")
)

// Words splits a value as systemd does (systemd.service(5), "Command lines"): at white
// space, with quotes of both kinds and the escapes of C. An escape that does not exist
// stays as it is typed (extract_first_word with EXTRACT_CUNESCAPE_RELAX, which is what
// units get).
func Words(value string) ([]string, error) {
	var list []string
	var word strings.Builder
	inside := false // in a word, be it an empty one in quotes
	for i := 0; i < len(value); {
		switch c := value[i]; {
		case c == ' ' || c == '\t':
			if inside {
				list = append(list, word.String())
				word.Reset()
				inside = false
			}
			i++
		case c == '"' || c == '\'':
			inside = true
			n, err := quotedPart(value[i+1:], c, &word)
			if err != nil {
				return nil, err
			}
			i += n + 1
		case c == '\\':
			inside = true
			i += unescape(value[i:], &word)
		default:
			inside = true
			word.WriteByte(c)
			i++
		}
	}
	if inside {
		list = append(list, word.String())
	}
	for _, w := range list {
		if strings.Contains(w, "\x00") {
			return nil, errNUL
		}
	}
	return list, nil
}

// quotedPart adds what is before the closing mark and tells how long it was with it.
func quotedPart(s string, mark byte, to *strings.Builder) (int, error) {
	for i := 0; i < len(s); {
		switch s[i] {
		case mark:
			return i + 1, nil
		case '\\':
			i += unescape(s[i:], to)
		default:
			to.WriteByte(s[i])
			i++
		}
	}
	return 0, errQuote
}

// simple are the escapes of one letter; \s is systemd's own.
var simple = map[byte]byte{'a': 7, 'b': 8, 'f': 12, 'n': 10, 'r': 13, 't': 9, 'v': 11, '\\': '\\', '"': '"', '\'': '\'', 's': ' '}

// unescape adds what the escape at the beginning of s means and tells its length.
func unescape(s string, to *strings.Builder) int {
	if len(s) < 2 {
		to.WriteString(s)
		return len(s)
	}
	if c, ok := simple[s[1]]; ok {
		to.WriteByte(c)
		return 2
	}
	base, digits, from := 16, 0, 2
	switch {
	case s[1] == 'x':
		digits = 2
	case s[1] == 'u':
		digits = 4
	case s[1] == 'U':
		digits = 8
	case s[1] >= '0' && s[1] <= '3':
		base, digits, from = 8, 3, 1
	}
	if digits > 0 && len(s) >= from+digits {
		n, err := strconv.ParseUint(s[from:from+digits], base, 32)
		switch {
		case err == nil && digits <= 3:
			to.WriteByte(byte(n))
			return from + digits
		case err == nil && utf8.ValidRune(rune(n)):
			to.WriteRune(rune(n))
			return from + digits
		}
	}
	to.WriteString(s[:2])
	return 2
}

// commandLine writes words for ExecStart=. What systemd expands, $NAME and %x, stays
// as the file has it: those are the specifiers and variables of the unit.
func commandLine(list []string) string {
	quoted := make([]string, len(list))
	for i, w := range list {
		quoted[i] = quoteWord(w)
	}
	return strings.Join(quoted, " ")
}

// quoteWord puts a word into quotes where systemd would else see something other than
// one word. A lone semicolon would begin another command (systemd.service(5)).
func quoteWord(w string) string {
	plain := w != "" && w != ";"
	for i := range len(w) {
		c := w[i]
		plain = plain && c > ' ' && c < 0x7f && !strings.ContainsRune("\"'\\", rune(c))
	}
	if plain {
		return w
	}
	var b strings.Builder
	b.WriteByte('"')
	for len(w) > 0 {
		r, n := utf8.DecodeRuneInString(w)
		switch c := w[0]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f || r == utf8.RuneError && n == 1:
			const hex = "0123456789abcdef"
			b.WriteString(`\x` + string(hex[c>>4]) + string(hex[c&15]))
			n = 1
		default:
			b.WriteString(w[:n])
		}
		w = w[n:]
	}
	b.WriteByte('"')
	return b.String()
}

// literal keeps systemd from expanding anything in a text that is no one's unit file:
// paths, messages.
func literal(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "%", "%%"), "$", "$$")
}

// specifiers keeps systemd from expanding in the values of other keys, where only %x is.
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// boolean reads what systemd takes for true and false (systemd.syntax(7)).
func boolean(s string) (on, ok bool) {
	switch strings.ToLower(s) {
	case "1", "yes", "y", "true", "t", "on":
		return true, true
	case "0", "no", "n", "false", "f", "off":
		return false, true
	}
	return false, false
}
