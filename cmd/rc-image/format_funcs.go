package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"text/template"
)

// functions are Docker's (docker/cli, templates/templates.go), beside those of
// text/template (index, len, eq, printf, println, …). Strings that the values
// have as texts and lists come as any, so join and split take any.
var functions = template.FuncMap{
	"json":     jsonText,
	"split":    func(s any, sep string) []string { return strings.Split(fmt.Sprint(s), sep) },
	"join":     join,
	"title":    func(s any) string { return title(fmt.Sprint(s)) },
	"lower":    func(s any) string { return strings.ToLower(fmt.Sprint(s)) },
	"upper":    func(s any) string { return strings.ToUpper(fmt.Sprint(s)) },
	"pad":      pad,
	"truncate": truncate,
	"entry":    entry,
}

// headerFunctions keep the headings of a table as they are (templates.go,
// HeaderFunctions); pad keeps the columns in line and is not among them.
var headerFunctions = template.FuncMap{
	"json":     func(v any) any { return v },
	"split":    func(v any, _ string) any { return v },
	"join":     func(v any, _ string) any { return v },
	"title":    func(v any) any { return v },
	"lower":    func(v any) any { return v },
	"upper":    func(v any) any { return v },
	"truncate": func(v any, _ int) any { return v },
}

// parseTemplate makes a template in which an unknown field is an error.
func parseTemplate(text string) (*template.Template, error) {
	t, err := template.New("").Funcs(functions).Option("missingkey=error").Parse(text)
	if err != nil {
		return nil, err
	}
	for _, part := range t.Templates() {
		openKeys(part.Root)
	}
	return t, nil
}

func jsonText(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// join puts sep between the elements of a list; of null it makes nothing.
func join(list any, sep string) (string, error) {
	if list == nil {
		return "", nil
	}
	v := reflect.ValueOf(list)
	if v.Kind() != reflect.Slice {
		return "", fmt.Errorf("join wants a list, not %T", list)
	}
	texts := make([]string, v.Len())
	for i := range texts {
		texts[i] = fmt.Sprint(v.Index(i).Interface())
	}
	return strings.Join(texts, sep), nil
}

// title makes the first letter of each word a capital, as strings.Title does for
// ASCII, which Docker uses it for.
func title(s string) string {
	b := []byte(s)
	for i := range b {
		if (i == 0 || b[i-1] == ' ' || b[i-1] == '-' || b[i-1] == '/' || b[i-1] == ':') && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return string(b)
}

// pad adds spaces before and after a text that is not empty.
func pad(v any, before, after int) string {
	s := fmt.Sprint(v)
	if s == "" || before < 0 || after < 0 {
		return s
	}
	return strings.Repeat(" ", before) + s + strings.Repeat(" ", after)
}

// truncate cuts a text to n bytes.
func truncate(v any, n int) string {
	s := fmt.Sprint(v)
	if n < 0 || len(s) < n {
		return s
	}
	return s[:n]
}
