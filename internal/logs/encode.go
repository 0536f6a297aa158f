package logs

import (
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// An entry is a line of the file and an object of Docker's json-file:
//
//	{"log":"text\n","stream":"stdout","time":"2024-01-01T00:00:00.123456789Z"}
//
// with fields that Docker's readers pass over:
//
//	raw    JSON strings hold no bytes that are not UTF-8. In text that has such
//	       bytes each of them is a U+FFFD, as Docker writes it, and raw is the
//	       base64 of those bytes in their order. (A U+FFFD of the payload's own is
//	       treated as three of them, so that every U+FFFD stands for one byte.)
//	attrs  Docker's own: labels, variables and the tag that --log-opt chose
//	at     of the first entry of a file: bytes of all files before this one
//
// encoding/json would do, at a tenth of the speed (BenchmarkWrite).

// replacement is U+FFFD in UTF-8.
const replacement = "\xef\xbf\xbd"

// appendEntry adds an entry without its end, "}\n".
func appendEntry(b, line []byte, stream string, stamp, attrs []byte) []byte {
	valid := utf8.Valid(line)
	b = append(b, `{"log":"`...)
	if valid {
		b = appendText(b, line)
	} else {
		b = appendLossy(b, line)
	}
	b = append(b, `","stream":"`...)
	b = append(b, stream...)
	b = append(b, `","time":"`...)
	b = append(b, stamp...)
	b = append(b, '"')
	if !valid {
		b = append(b, `,"raw":"`...)
		b = appendRaw(b, line)
		b = append(b, '"')
	}
	return append(b, attrs...)
}

// plain tells whether none of 8 bytes needs an escape: not below 0x20, no quote,
// no backslash ("Bit Twiddling Hacks", hasless and haszero).
func plain(w uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	quote, slash := w^(ones*'"'), w^(ones*'\\')
	return ((w-ones*0x20)&^w|(quote-ones)&^quote|(slash-ones)&^slash)&tops == 0
}

// appendText adds valid UTF-8 as the inside of a JSON string.
func appendText(b, s []byte) []byte {
	done := 0
	for i := 0; i < len(s); {
		if i+8 <= len(s) && plain(binary.LittleEndian.Uint64(s[i:])) {
			i += 8
			continue
		}
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			b = appendEscape(append(b, s[done:i]...), c)
			done = i + 1
		}
		i++
	}
	return append(b, s[done:]...)
}

func appendEscape(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// odd is the length of what stands at the beginning of s, and whether it is shown
// as U+FFFD: a byte that is not UTF-8, or a byte of a U+FFFD.
func odd(s []byte) (size int, replaced bool) {
	r, n := utf8.DecodeRune(s)
	if r == utf8.RuneError {
		return 1, true // a U+FFFD is valid: its bytes 2 and 3 are not, alone
	}
	return n, false
}

// appendLossy adds text that is not all UTF-8.
func appendLossy(b, s []byte) []byte {
	done := 0
	for i := 0; i < len(s); {
		n, replaced := odd(s[i:])
		if replaced {
			b = append(appendText(b, s[done:i]), replacement...)
			done = i + n
		}
		i += n
	}
	return appendText(b, s[done:])
}

// appendRaw adds the base64 of the bytes that appendLossy replaced.
func appendRaw(b, s []byte) []byte {
	var three [3]byte
	k := 0
	for i := 0; i < len(s); {
		n, replaced := odd(s[i:])
		if replaced {
			three[k] = s[i]
			if k++; k == 3 {
				b, k = base64.StdEncoding.AppendEncode(b, three[:]), 0
			}
		}
		i += n
	}
	return base64.StdEncoding.AppendEncode(b, three[:k])
}

// worst is what an entry of n bytes takes at most, without its attributes: a
// control character becomes six bytes, and one that is not UTF-8 three and a third.
func worst(n int) int { return 6*n + 160 }

// appendAt ends an entry that is the first of a file.
func appendAt(b []byte, at int64) []byte {
	return append(strconv.AppendInt(append(b, `,"at":`...), at, 10), '}', '\n')
}

// attributes are the fields that each entry of a container carries, as
// `,"attrs":{…}`; nothing where there are none.
func attributes(attrs [][2]string) []byte {
	if len(attrs) == 0 {
		return nil
	}
	b := []byte(`,"attrs":{`)
	for i, kv := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		b = appendLossy(b, []byte(kv[0]))
		b = append(b, `":"`...)
		b = appendLossy(b, []byte(kv[1]))
		b = append(b, '"')
	}
	return append(b, '}')
}

// whole is the length of b without a last character that is cut off: an entry
// that ends within one would need raw for nothing.
func whole(b []byte) int {
	for i := len(b) - 1; i >= 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
