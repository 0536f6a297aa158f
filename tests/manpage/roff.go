package main

import (
	"fmt"
	"regexp"
	"strings"
)

// page writes a manual page in man(7). It has no date and no version: it would
// change with every build, and the test compares whole pages.
func page(h *help, hand []section) string {
	var w strings.Builder
	fmt.Fprintf(&w, ".\\\" Made by tests/manpage from --help and docs/man/src/%s.txt (make man).\n", h.page())
	fmt.Fprintf(&w, ".TH %s 1 \"\" \"rc\" \"rc manual\"\n.nh\n.ad l\n", strings.ToUpper(h.page()))
	short := strings.ToLower(h.short[:1]) + h.short[1:]
	if h.name == "" {
		short = "run containers without root, daemon or set-up"
	}
	fmt.Fprintf(&w, ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n%s\n", strings.ReplaceAll(h.page(), "-", "\\-"), escape(short), synopsis(h))
	for _, heading := range headings {
		body := generated(h, heading, len(find(hand, heading)) > 0) + blocks(find(hand, heading))
		if heading == "SEE ALSO" && h.name != "" {
			body = ".PP\n\\fBrc\\fR(1)" + strings.Replace(body, ".PP\n", ",\n", 1)
			if !strings.HasSuffix(body, "\n") {
				body += "\n"
			}
		}
		if body != "" {
			fmt.Fprintf(&w, ".SH %s\n%s", heading, strings.TrimPrefix(body, ".PP\n"))
		}
	}
	return w.String()
}

// usualExit is the exit status of a command that says nothing else.
var usualExit = []block{
	{kind: term, term: "`0`", text: "It was done."},
	{kind: term, term: "`1`", text: "What was asked for does not exist, or failed."},
	{kind: term, term: "`125`", text: "A wrong call, or something that this host lacks."},
}

// generated is the part of a section that --help says; byHand tells whether more
// follows.
func generated(h *help, heading string, byHand bool) string {
	var w strings.Builder
	switch heading {
	case "DESCRIPTION":
		for p := range strings.SplitSeq(h.long, "\n\n") {
			if p != "" {
				w.WriteString(".PP\n" + inline(strings.ReplaceAll(p, "\n", " ")) + "\n")
			}
		}
		if len(h.list) > 0 {
			w.WriteString(".SS Commands\n")
			for _, c := range h.list {
				fmt.Fprintf(&w, ".TP\n%s(1)\n%s.\n", bold((&help{name: c[0]}).page()), escape(c[1]))
			}
		}
	case "EXIT STATUS":
		switch {
		case byHand:
		case h.exit == "":
			w.WriteString(blocks(usualExit))
		default:
			w.WriteString(".PP\n" + inline(upper(strings.TrimPrefix(strings.ReplaceAll(h.exit, "\n", " "), "Exit code: "))) + "\n")
		}
	case "OPTIONS":
		for _, f := range h.flags {
			w.WriteString(".TP\n")
			if f.short != "" {
				w.WriteString(bold(f.short) + ", ")
			}
			w.WriteString(bold(f.name))
			if f.value != "" {
				w.WriteString(" \\fI" + code(f.value) + "\\fR")
			}
			w.WriteString("\n" + line(upper(f.text)+".") + "\n")
		}
	case "EXAMPLES":
		if !byHand && len(h.examples) > 0 {
			w.WriteString(blocks([]block{{kind: shown, text: strings.Join(h.examples, "\n")}}))
		}
	}
	return w.String()
}

func blocks(list []block) string {
	var w strings.Builder
	for _, b := range list {
		switch b.kind {
		case paragraph:
			w.WriteString(".PP\n" + inline(b.text) + "\n")
		case term:
			w.WriteString(".TP\n" + inline(b.term) + "\n" + inline(b.text) + "\n")
		case shown:
			w.WriteString(".PP\n.RS 4\n.nf\n")
			for l := range strings.SplitSeq(b.text, "\n") {
				w.WriteString(guard(code(l)) + "\n")
			}
			w.WriteString(".fi\n.RE\n")
		}
	}
	return w.String()
}

var placeholder = regexp.MustCompile(`[A-Z]{3,}`)

// synopsis sets the words to type bold and what they stand for italic.
func synopsis(h *help) string {
	words := "rc"
	if h.name != "" {
		words += " " + h.name
	}
	rest := strings.TrimPrefix(h.usage, words)
	return bold(words) + placeholder.ReplaceAllString(code(rest), `\fI$0\fR`)
}

func bold(s string) string { return "\\fB" + code(s) + "\\fR" }

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// inline sets what stands between backquotes bold.
func inline(s string) string {
	var w strings.Builder
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			w.WriteString(bold(part))
		} else {
			w.WriteString(prose(part))
		}
	}
	return guard(w.String())
}

// line is a line of its own.
func line(s string) string { return guard(prose(s)) }

// code is text to type: a hyphen must stay the ASCII one (man-pages(7)).
func code(s string) string { return strings.ReplaceAll(escape(s), "-", "\\-") }

// escape makes roff print s as it is, in ASCII whatever s holds.
func escape(s string) string {
	var w strings.Builder
	for _, r := range s {
		switch {
		case r == '\\':
			w.WriteString("\\e")
		case r == '^':
			w.WriteString("\\(ha")
		case r == '~':
			w.WriteString("\\(ti")
		case r == '\'':
			w.WriteString("\\(aq")
		case r == '`':
			w.WriteString("\\(ga")
		case r > '~':
			fmt.Fprintf(&w, "\\[u%04X]", r)
		default:
			w.WriteRune(r)
		}
	}
	return w.String()
}

// prose is a sentence; the names of flags in it are for copying, too.
func prose(s string) string {
	return flagInProse.ReplaceAllStringFunc(escape(s), func(m string) string { return strings.ReplaceAll(m, "-", "\\-") })
}

var flagInProse = regexp.MustCompile(`(^|[ (])--?[a-z][a-z0-9-]*`)

// guard keeps a line that begins like a request from being one.
func guard(s string) string {
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		return "\\&" + s
	}
	return s
}
