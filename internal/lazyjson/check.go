package lazyjson

import (
	"fmt"
	"strings"
)

// check tells whether data is one JSON value (RFC 8259) and nothing else. What
// reads it afterwards relies on that, and looks for no mistakes.
func check(data []byte) error {
	c := checker{data: data}
	i, err := c.value(skipSpace(data, 0), 0)
	if err != nil {
		return err
	}
	if i = skipSpace(data, i); i < len(data) {
		return c.wrong(i, "after the value")
	}
	return nil
}

type checker struct{ data []byte }

func (c *checker) wrong(i int, where string) error {
	if i >= len(c.data) {
		return &SyntaxError{i, "unexpected end of JSON input"}
	}
	return &SyntaxError{i, fmt.Sprintf("no JSON at byte %d: %q %s", i, c.data[i], where)}
}

func (c *checker) at(i int) byte {
	if i < len(c.data) {
		return c.data[i]
	}
	return 0 // is nowhere right
}

// value checks what begins at i and returns the place after it.
func (c *checker) value(i, depth int) (int, error) {
	switch b := c.at(i); b {
	case '{', '[':
		if depth++; depth > maxDepth {
			return 0, &SyntaxError{i, errDepth.Error()}
		}
		return c.list(i+1, depth, b == '{')
	case '"':
		return c.str(i)
	case 't':
		return c.word(i, "true")
	case 'f':
		return c.word(i, "false")
	case 'n':
		return c.word(i, "null")
	}
	return c.number(i)
}

// list checks the inside of an object or array up to its end.
func (c *checker) list(i, depth int, object bool) (_ int, err error) {
	end := byte(']')
	if object {
		end = '}'
	}
	if i = skipSpace(c.data, i); c.at(i) == end {
		return i + 1, nil
	}
	for {
		if object {
			if c.at(i) != '"' {
				return 0, c.wrong(i, "where a key belongs")
			}
			if i, err = c.str(i); err != nil {
				return 0, err
			}
			if i = skipSpace(c.data, i); c.at(i) != ':' {
				return 0, c.wrong(i, "after a key")
			}
			i = skipSpace(c.data, i+1)
		}
		if i, err = c.value(i, depth); err != nil {
			return 0, err
		}
		switch i = skipSpace(c.data, i); c.at(i) {
		case end:
			return i + 1, nil
		case ',':
			i = skipSpace(c.data, i+1)
		default:
			return 0, c.wrong(i, "after a value")
		}
	}
}

func (c *checker) str(i int) (int, error) {
	for i++; ; i++ {
		switch b := c.at(i); {
		case b == '"':
			return i + 1, nil
		case b < ' ':
			return 0, c.wrong(i, "in a string")
		case b == '\\':
			i++
			if e := c.at(i); e == 'u' {
				for range 4 {
					if i++; !isHex(c.at(i)) {
						return 0, c.wrong(i, "in an escape")
					}
				}
			} else if e == 0 || strings.IndexByte(`"\/bfnrt`, e) < 0 {
				return 0, c.wrong(i, "in an escape")
			}
		}
	}
}

func (c *checker) word(i int, word string) (int, error) {
	for k := range len(word) {
		if c.at(i+k) != word[k] {
			return 0, c.wrong(i+k, "in "+word)
		}
	}
	return i + len(word), nil
}

func (c *checker) number(i int) (int, error) {
	if c.at(i) == '-' {
		i++
	}
	switch b := c.at(i); {
	case b == '0':
		i++
	case b >= '1' && b <= '9':
		i = c.digits(i)
	default:
		return 0, c.wrong(i, "where a value belongs")
	}
	if c.at(i) == '.' {
		if i++; !isDigit(c.at(i)) {
			return 0, c.wrong(i, "after a point")
		}
		i = c.digits(i)
	}
	if b := c.at(i); b == 'e' || b == 'E' {
		if i++; c.at(i) == '+' || c.at(i) == '-' {
			i++
		}
		if !isDigit(c.at(i)) {
			return 0, c.wrong(i, "in an exponent")
		}
		i = c.digits(i)
	}
	return i, nil
}

func (c *checker) digits(i int) int {
	for isDigit(c.at(i)) {
		i++
	}
	return i
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }
func isHex(b byte) bool   { return isDigit(b) || b >= 'a' && b <= 'f' || b >= 'A' && b <= 'F' }
func isSpace(b byte) bool { return b == ' ' || b == '\n' || b == '\t' || b == '\r' }

func skipSpace(data []byte, i int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
	}
	return i
}
