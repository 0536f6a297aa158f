package quadlet

import (
	"fmt"
	"strings"
	"testing"
)

func parsed(s *source) string {
	var b strings.Builder
	for _, sec := range s.sections {
		fmt.Fprintf(&b, "[%s]%d ", sec.name, sec.at.line)
		for _, e := range sec.entries {
			fmt.Fprintf(&b, "%s=%s@%d ", e.key, e.value, e.at.line)
		}
	}
	for _, f := range s.faults {
		fmt.Fprintf(&b, "!%d ", f.at.line)
	}
	return strings.TrimSpace(b.String())
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  "",
		"[A]\nk=v\n":                        "[A]1 k=v@2",
		"\n# c\n; d\n[A] \n k = v w \r\n":   "[A]4 k=v w@5",
		"[A]\nk=a \\\n  b\\\nc\nl=d":        "[A]1 k=a  b c@2 l=d@5",
		"[A]\nk=a\\\n# no\n;no\nb\nl=1":     "[A]1 k=a b@2 l=1@6",
		"[A]\nk=a\\\n\nl=1":                 "[A]1 k=a@2 l=1@4", // an empty line ends it
		"[A]\nk=a\\":                        "[A]1 k=a@2",
		"[A]\nk=1\n[B]\nk=2\n[A]\nk=3":      "[A]1 k=1@2 k=3@6 [B]3 k=2@4",
		"[A]\nk=\n":                         "[A]1 k=@2",
		"k=v\n[A]\nx\n=y\n[B\n[]\n[A]]\n":   "[A]2 !1 !3 !4 !5 !6",
		"[A]\nk=\x01\nl=\xff\nm=1\n":        "[A]1 m=1@4 !2 !3",
		"[A]\nk==v=\n":                      "[A]1 k==v=@2",
		strings.Repeat("rubbish\n", 100):    "!1 !2 !3 !4 !5",
		"\x7fELF\x02\x01\x01\x00\n\x00\x00": "!1 !2",
	} {
		if got := parsed(parse("f", text)); got != want {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestLookups(t *testing.T) {
	sec := parse("f", "[A]\nl=1\nl=\nl=2\nl=3\ns=a\ns=b\nq=\"in quotes\"\ne=\"\"\nr=1\nr=\n").section("A")
	var list []string
	for _, e := range sec.all("l") {
		list = append(list, e.value)
	}
	if strings.Join(list, " ") != "2 3" {
		t.Errorf("an empty value takes back what was before it: %q", list)
	}
	for key, want := range map[string]string{"s": "b", "q": "in quotes", "e": "", "r": "", "none": ""} {
		if e, ok := sec.last(key); e.value != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", key, e.value, ok)
		}
	}
	if (*section)(nil).all("x") != nil {
		t.Error("a section that is not there has something")
	}
}

// Whatever is in a file: no panic, and each fault has a line of it.
func FuzzGenerate(f *testing.F) {
	f.Add("[Container]\nImage=a\nVolume=b.volume:/c\nMount=type=bind,src=,dst=/x\n")
	f.Add("[Container]\nImage=-\nExec=\"\nEntrypoint=[\nVolume=:\nNetwork=:\nAddDevice=\"\" -\nStopTimeout=9999999999\n")
	f.Add("[Container]\nImage=.image\nNetwork=.container\nEnvironmentFile=\"\" %\nHealthCmd=[]\nRootfs=\n[Install]\nWantedBy=. .. a/b @.service\nAlias=@@.service\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, name := range []string{"a.container", "a@.container", "a.volume", "a.image"} {
			for _, s := range []string{text, strings.ReplaceAll(text, "Container]", kindOf(name).section+"]")} {
				for _, err := range generateText(t, name, s).Problems {
					if strings.Contains(err.Error(), "fault of its own") {
						t.Errorf("%s: %v", name, err)
					}
				}
			}
		}
	})
}
