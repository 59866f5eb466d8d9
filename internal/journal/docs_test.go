package journal_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/internal/journal"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("..", "..", "docs", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/%s is not what the code says; run: go test ./internal/journal -update", name)
	}
}

// moves are the kinds that lead from one phase to another, in the order of Kinds.
func moves(from, to journal.Phase) []string {
	var names []string
	for _, info := range journal.Kinds() {
		if next, ok := journal.Transitions[from][info.Kind]; ok && next == to {
			names = append(names, string(info.Kind))
		}
	}
	return names
}

func TestStateMachineDocument(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(`# The state machine of a run

The table in internal/journal/phase.go, drawn. A test keeps this page and the table the same
(` + "`go test ./internal/journal -update`" + ` writes it). What is not here cannot happen: such an event is refused before it
is stored. ` + "`run.taken`" + ` in a phase that is not a stopped one follows a crash.

` + "```mermaid\nstateDiagram-v2\n    [*] --> new\n")
	for _, from := range journal.Phases() {
		for _, to := range journal.Phases() {
			if names := moves(from, to); from != to && len(names) > 0 {
				label := strings.Join(names, ", ")
				if len(names) > 3 {
					label = fmt.Sprintf("%s … %s", names[0], names[len(names)-1])
				}
				fmt.Fprintf(&b, "    %s --> %s: %s\n", from, to, label)
			}
		}
		if from.Ended() {
			fmt.Fprintf(&b, "    %s --> [*]\n", from)
		}
	}
	b.WriteString("```\n\n| phase | event | then |\n|---|---|---|\n")
	for _, from := range journal.Phases() {
		for _, to := range journal.Phases() {
			if names := moves(from, to); len(names) > 0 {
				then := "`" + string(to) + "`"
				if from == to {
					then = "stays"
				}
				fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", from, strings.Join(names, "`, `"), then)
			}
		}
	}
	b.WriteString("\nPast the point of no return are: ")
	var past []string
	for _, p := range journal.Phases() {
		if p.PastPointOfNoReturn() {
			past = append(past, "`"+string(p)+"`")
		}
	}
	b.WriteString(strings.Join(past, ", ") + ".\n")
	golden(t, "state-machine.md", b.Bytes())
}

func TestEventsDocument(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	b.WriteString(`# Events

A run is a sequence of events. They are stored in Postgres (` + "`tideover.event`" + ` of the control database), and
` + "`--json`" + ` prints them, one a line. The names and fields here are a contract: fields are added, none is renamed or
taken away. A test keeps this page and the code the same (` + "`go test ./internal/journal -update`" + ` writes it).

Every event has ` + "`seq`" + ` (from 1 without gaps; 0: shown, not stored), ` + "`time`" + ` (RFC 3339; the database server's clock for a
stored event), ` + "`run`" + `, ` + "`step`" + ` (absent for the run as a whole), ` + "`kind`" + ` and ` + "`data`" + ` (absent where the kind has none).
No event holds a password or a token.

`)
	for _, info := range journal.Kinds() {
		fmt.Fprintf(&b, "## `%s`\n\n%s", info.Kind, info.Text)
		if !info.Stored {
			b.WriteString(" Not stored.")
		}
		b.WriteString("\n")
		if info.Data != nil {
			b.WriteString("\n| field | type |\n|---|---|\n")
			fields(&b, "", reflect.TypeOf(info.Data))
		}
		b.WriteString("\n")
	}
	b.WriteString(`## The report

` + "`run.report`" + ` is the last line. Its data has at least ` + "`outcome`" + ` ("completed", "aborted", "rolled_back" or "failed"),
` + "`requests`, `revocations`, `authorizations`, `rows`, `oracle`, `cutover`, `longest_block_ms`, `steps`, `servers` and `database`" + `.
The figures of ` + "`step.figure`" + ` go to the dotted path that they name. ` + "`migrations`" + ` lists the statements of
migrations that took longest, with ` + "`step`, `file`, `line`, `what` and `seconds`" + `. ` + "`audit` has `passes`" + `, how often the audit went through all tables before the
switch, and ` + "`rows`" + `, how many of each table of blue it has held against green.
`)
	golden(t, "events.md", b.Bytes())
}

// fields writes a row for each JSON field, those of nested structs by their dotted path.
func fields(b *bytes.Buffer, prefix string, typ reflect.Type) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		text := map[reflect.Kind]string{reflect.String: "text", reflect.Bool: "true or false", reflect.Float64: "number",
			reflect.Int: "integer", reflect.Int64: "integer"}[f.Type.Kind()]
		element, inside := f.Type, "[]."
		if f.Anonymous { // its fields are among ours
			fields(b, prefix, f.Type)
			continue
		}
		if f.Type.Kind() == reflect.Pointer {
			element, inside, text = f.Type.Elem(), ".", "object"
		}
		if f.Type.Kind() == reflect.Slice {
			element = f.Type.Elem()
			text = "list"
			switch element.Kind() {
			case reflect.String:
				text = "list of text"
			case reflect.Uint8:
				text = "any JSON"
			}
		}
		if strings.Contains(options, "omitempty") {
			text += ", may be absent"
		}
		fmt.Fprintf(b, "| `%s%s` | %s |\n", prefix, name, text)
		if element.Kind() == reflect.Struct {
			fields(b, prefix+name+inside, element)
		}
	}
}

// Every kind is described, and every stored one can happen; what the table says is about phases and kinds that exist.
func TestTableIsComplete(t *testing.T) {
	t.Parallel()
	happens := map[journal.Kind]bool{}
	reached := map[journal.Phase]bool{journal.New: true}
	for from, row := range journal.Transitions {
		if !slices.Contains(journal.Phases(), from) || from.Ended() {
			t.Errorf("there is a row for %q", from)
		}
		for kind, to := range row {
			happens[kind], reached[to] = true, true
			if from.PastPointOfNoReturn() != to.PastPointOfNoReturn() && !to.Ended() &&
				kind != journal.CutoverCommitting && kind != journal.CutoverAborted {
				t.Errorf("%s in %s leads over the point of no return to %s", kind, from, to)
			}
		}
		if _, ok := row[journal.RunTaken]; !ok && from != journal.New {
			t.Errorf("a run that crashed while %s can't be taken", from)
		}
		if _, ok := row[journal.RunStopped]; ok == from.IsStopped() && from != journal.New {
			t.Errorf("run.stopped in %s: %t", from, ok)
		}
	}
	source, err := os.ReadFile("event.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+ +Kind = "([a-z._]+)"`).FindAllSubmatch(source, -1) {
		if !journal.Kind(m[1]).Known() {
			t.Errorf("%s is declared and not described", m[1])
		}
	}
	for _, info := range journal.Kinds() {
		if happens[info.Kind] != info.Stored {
			t.Errorf("%s: stored is %t, in the table is %t", info.Kind, info.Stored, happens[info.Kind])
		}
		if info.Text == "" {
			t.Errorf("%s is not described", info.Kind)
		}
		delete(happens, info.Kind)
	}
	if len(happens) > 0 {
		t.Errorf("not described: %v", slices.Collect(maps.Keys(happens)))
	}
	for _, p := range journal.Phases() {
		if !reached[p] {
			t.Errorf("%s is never reached", p)
		}
	}
}
