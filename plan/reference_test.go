package plan

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestReference holds the tables of fields in docs/ against the code. -update rewrites them.
func TestReference(t *testing.T) {
	t.Parallel()
	var runbook, profile strings.Builder
	for _, x := range []any{Runbook{}, Service{}, Control{}, Router{}, LockBudget{}, Notify{}} {
		table(&runbook, x)
	}
	fmt.Fprintf(&runbook, "### Every step\n\n")
	header(&runbook)
	for _, name := range stepFields {
		kind := map[string]string{"step": "text", "id": "text", "approve": "true or false"}[name]
		row(&runbook, name, kind, "", fieldOf(stepType, name))
	}
	runbook.WriteByte('\n')
	for _, k := range kinds {
		if reflect.TypeOf(k.standard).NumField() == 0 {
			fmt.Fprintf(&runbook, "### step: %s\n\nNo fields of its own.\n\n", k.name)
			continue
		}
		titled(&runbook, "step: "+string(k.name), k.standard)
	}
	table(&runbook, ParticipantSpec{})
	for _, x := range []any{
		Profile{}, Table{}, Follow{}, Settled{}, Revocation{}, RevocationSide{}, GreenTables{}, ColumnRef{}, CarryBack{}, BackColumn{}, Rule{}, Invariant{},
		Lifetimes{}, HTTP{}, Answer{}, Listener{}, Route{},
	} {
		table(&profile, x)
	}
	hold(t, "../docs/runbook.md", runbook.String())
	hold(t, "../docs/profile.md", profile.String())
}

// hold compares what is between the two marks of a page.
func hold(t *testing.T, path, want string) {
	const begin, end = "<!-- reference: generated, see plan/reference_test.go -->\n\n", "<!-- end of reference -->"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), begin)
	got, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no marks for the reference", path)
	}
	if got == want {
		return
	}
	if flag.Lookup("update").Value.String() != "true" {
		t.Errorf("%s is not what the code says: run `go test ./plan -update`", path)
		return
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// titles are the names of the types in the words of the documentation.
var titles = map[string]string{
	"Runbook": "The runbook", "Service": "`blue`, `green`", "Control": "`control`", "Router": "`router`", "LockBudget": "`locks`", "Notify": "An entry of `notify`",
	"ParticipantSpec": "A participant or job", "Profile": "The profile", "Table": "An entry of `tables`", "Follow": "An entry of `follow`", "Settled": "An entry of `settled`",
	"Revocation": "An entry of `revocations`", "RevocationSide": "Its `blue` and `green`", "GreenTables": "`green`",
	"ColumnRef": "An entry of `green.constants` and `green.volatile`", "CarryBack": "An entry of `carry_back`", "BackColumn": "An entry of its `columns`", "Rule": "An entry of `rules`", "Invariant": "An entry of `invariants`",
	"Lifetimes": "`lifetimes`", "HTTP": "`http`", "Answer": "An entry of `answers`", "Listener": "`http.public`, `http.admin`", "Route": "An entry of `routes`",
}

func table(b *strings.Builder, x any) { titled(b, titles[reflect.TypeOf(x).Name()], x) }

func titled(b *strings.Builder, title string, x any) {
	fmt.Fprintf(b, "### %s\n\n", title)
	header(b)
	standard := reflect.ValueOf(fresh(x)).Elem()
	prepare(standard)
	for _, p := range propertiesOf(standard) {
		def := ""
		if v, ok := plain(p.value); ok {
			def = fmt.Sprint(v)
		}
		row(b, p.name, strings.TrimPrefix(wanted(p.value.Type()), "a "), def, p.field)
	}
	b.WriteByte('\n')
}

func header(b *strings.Builder) { b.WriteString("| field | what | default | |\n|---|---|---|---|\n") }

func row(b *strings.Builder, name, kind, def string, f field) {
	switch {
	case f.Required:
		def = "required"
	case def != "":
		def = "`" + def + "`"
	}
	doc := f.Doc
	if f.Env {
		doc += " `${NAME}` is filled in."
	}
	fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", name, kind, def, strings.ReplaceAll(doc, "|", `\|`))
}
