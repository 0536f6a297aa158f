package quadlet

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const docs = "../../docs/quadlet.md"

// row is what the documentation says of a key.
func (k *key) row() string {
	state, text := "done", k.note
	switch {
	case k.as == refused:
		state, text = "refused", k.why+"; "+k.fix
		if k.fine == "no" || k.fine == "yes" {
			text += fmt.Sprintf(" (`%s=%s` is fine)", k.name, map[string]string{"no": "false", "yes": "true"}[k.fine])
		} else if k.fine != "" {
			text += fmt.Sprintf(" (`%s=%s` is fine)", k.name, k.fine)
		}
	case k.note != "":
		state = "different"
	case k.flag != "":
		text = "`" + k.flag + "`"
	}
	return fmt.Sprintf("| `%s=` | %s | %s |\n", k.name, state, text)
}

// docs/quadlet.md has a row for every key, as the tables of the code have it:
// go test ./internal/quadlet -run Documentation -update
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile(docs)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, k := range kinds {
		if k.convert == nil {
			if !strings.Contains(text, "`"+k.ext+"`") {
				t.Errorf("no word of %s", k.ext)
			}
			continue
		}
		head := "### `[" + k.section + "]` of " + k.ext + " files\n\n| key | rc | how, or what instead |\n|---|---|---|\n"
		before, after, ok := strings.Cut(text, head)
		if !ok {
			t.Fatalf("there is no heading %q", head)
		}
		table, rest, _ := strings.Cut(after, "\n\n")
		want := ""
		for i := range k.keys {
			want += k.keys[i].row()
		}
		if *update {
			text = before + head + want + "\n" + rest
		} else if table+"\n" != want {
			t.Errorf("the table of %s: %s", k.ext, firstDifference(table+"\n", want))
		}
	}
	if *update {
		if err := os.WriteFile(docs, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// The tables are in the order of the alphabet, and no key is there twice.
func TestTables(t *testing.T) {
	for _, k := range kinds {
		last := ""
		for _, key := range k.keys {
			if strings.ToLower(key.name) <= strings.ToLower(last) {
				t.Errorf("%s: %s after %s", k.ext, key.name, last)
			}
			last = key.name
			if simple := key.as != special && key.as != refused; simple != (key.flag != "") {
				t.Errorf("%s %s: a key of a simple form has a flag, others have none", k.ext, key.name)
			}
		}
	}
}
