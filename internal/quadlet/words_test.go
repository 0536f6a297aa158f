package quadlet

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWords(t *testing.T) {
	for value, want := range map[string][]string{
		"":                              nil,
		"  ":                            nil,
		"a b\tc":                        {"a", "b", "c"},
		`"a b" 'c d'`:                   {"a b", "c d"},
		`a"b c"d`:                       {"ab cd"},
		`"" ''`:                         {"", ""},
		`it\'s "say \"hi\""`:            {"it's", `say "hi"`},
		`a\sb \x41\101\u00e4\U0001F600`: {"a b", "AAä😀"},
		`\n\t\\`:                        {"\n\t\\"},
		`\d \q+ \`:                      {`\d`, `\q+`, `\`}, // no escapes: they stay
		`\xZZ \400 \ud800`:              {`\xZZ`, `\400`, `\ud800`},
		`'$HOME %i'`:                    {"$HOME %i"},
		`\xff`:                          {"\xff"},
	} {
		got, err := Words(value)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", value, got, err, want)
		}
	}
	for value, want := range map[string]error{`"a`: errQuote, `a 'b`: errQuote, `"a\"`: errQuote, `a\x00b`: errNUL} {
		if got, err := Words(value); !errors.Is(err, want) {
			t.Errorf("%s: %q, %v; want %v", value, got, err, want)
		}
	}
}

func TestQuoteWord(t *testing.T) {
	for word, want := range map[string]string{
		"plain":     "plain",
		"a=b:c,/d":  "a=b:c,/d",
		"$HOME/%i":  "$HOME/%i",
		"":          `""`,
		";":         `";"`,
		";;":        ";;",
		"a b":       `"a b"`,
		`a"b\c'`:    `"a\"b\\c'"`,
		"a\nb\tc":   `"a\nb\tc"`,
		"\x01\x7f":  `"\x01\x7f"`,
		"ä":         `"ä"`,
		"\xffa":     `"\xffa"`,
		"#comment":  "#comment",
		"-@+!:path": "-@+!:path",
	} {
		if got := quoteWord(word); got != want {
			t.Errorf("%q: %s, want %s", word, got, want)
		}
	}
}

// What is written for systemd is what systemd reads.
func FuzzCommandLine(f *testing.F) {
	f.Add("a", "b c", "\\")
	f.Add("", ";", "\xff\x00\"'")
	f.Add("\\x41", "ä\u2028", "%i $x")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		list := []string{a, b, c}
		if strings.Contains(a+b+c, "\x00") {
			return // no argument has one
		}
		line := commandLine(list)
		if strings.ContainsAny(line, "\n\r") || !utf8.ValidString(line) {
			t.Fatalf("%q is no line of a unit", line)
		}
		got, err := Words(line)
		if err != nil || !slices.Equal(got, list) {
			t.Errorf("%q became %s and then %q, %v", list, line, got, err)
		}
	})
}

func TestLiteral(t *testing.T) {
	if got := literal("100% $HOME"); got != "100%% $$HOME" {
		t.Error(got)
	}
	if got := specifiers("100% $HOME"); got != "100%% $HOME" {
		t.Error(got)
	}
}

func TestBoolean(t *testing.T) {
	for _, s := range []string{"1", "yes", "Y", "true", "T", "ON"} {
		if on, ok := boolean(s); !on || !ok {
			t.Error(s)
		}
	}
	for _, s := range []string{"0", "no", "n", "False", "f", "off"} {
		if on, ok := boolean(s); on || !ok {
			t.Error(s)
		}
	}
	if _, ok := boolean("maybe"); ok {
		t.Error("maybe")
	}
}
