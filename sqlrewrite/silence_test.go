package sqlrewrite_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tideover/tideover/sqlrewrite"
)

// described findings: line, rule, and what became of it.
func lintOf(t *testing.T, s *sqlrewrite.Script, allowed ...string) string {
	t.Helper()
	findings, err := sqlrewrite.Lint([]*sqlrewrite.Script{s}, allowed)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, f := range findings {
		text := fmt.Sprintf("%d %s", f.Line, f.Rule)
		switch {
		case f.Allowed:
			text += " allowed"
		case f.Fixed:
			text += " rewritten"
		}
		if f.Reason != "" {
			text += " (" + f.Reason + ")"
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// TestSilences: a comment accepts what it names of the statement that it stands before or in, or of the whole file at its top; what accepts
// nothing is named.
func TestSilences(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, sql string
		allowed   []string
		want      string
	}{
		{"before a statement", "DROP VIEW a;\n-- tideover:allow breaks-old-server nobody reads it\nDROP VIEW b;", nil,
			"1 breaks-old-server; 3 breaks-old-server allowed (nobody reads it)"},
		{"with other comments around", "-- what\n--tideover:allow breaks-old-server\n\n-- more\nDROP VIEW b;\nDROP VIEW c;", nil,
			"5 breaks-old-server allowed; 6 breaks-old-server allowed"},
		{"before the first statement, not apart", "-- tideover:allow breaks-old-server x\nDROP VIEW b;\nDROP VIEW c;", nil,
			"2 breaks-old-server allowed (x); 3 breaks-old-server"},
		{"at the top, apart", "-- tideover:allow breaks-old-server x\r\n\r\nDROP VIEW b;\r\nDROP VIEW c;\r\n", nil,
			"3 breaks-old-server allowed (x); 4 breaks-old-server allowed (x)"},
		{"above goose's line", "-- tideover:allow breaks-old-server x\n-- +goose Up\nDROP VIEW b;\nDROP VIEW c;", nil,
			"3 breaks-old-server allowed (x); 4 breaks-old-server allowed (x)"},
		{"below goose's line", "-- +goose Up\n-- tideover:allow opaque x\n-- +goose StatementBegin\nDO $$ BEGIN PERFORM 1; END $$;\n-- +goose StatementEnd\nDO 'BEGIN END';", nil,
			"4 opaque allowed (x); 6 opaque"},
		{"in a statement", "DROP VIEW a;\nALTER TABLE b\n  -- tideover:allow breaks-old-server x\n  DROP COLUMN c;", nil,
			"1 breaks-old-server; 2 breaks-old-server allowed (x)"},
		{"several names", "-- tideover:allow loses-data,breaks-old-server x\nDROP TABLE b;", nil, "2 breaks-old-server allowed (x); 2 loses-data allowed (x)"},
		{"one of two names", "-- tideover:allow loses-data x\nDROP TABLE b;", nil, "2 breaks-old-server; 2 loses-data allowed (x)"},
		{"by name", "DROP VIEW a;", []string{"breaks-old-server"}, "1 breaks-old-server allowed"},
		{"by both", "-- tideover:allow breaks-old-server x\nDROP VIEW a;", []string{"breaks-old-server"}, "2 breaks-old-server allowed (x)"},
		{"what rewriting takes away", "-- tideover:allow blocks-writes x\nCREATE INDEX i ON a (b);", nil, "2 blocks-writes allowed (x)"},
		{"a note", "-- tideover:allow asks-catalog,writes-whole-table x\nUPDATE a SET b = 1;", nil, "2 asks-catalog allowed (x); 2 writes-whole-table allowed (x)"},
		{"nothing to accept", "-- tideover:allow loses-data x\nSELECT 1;", nil, "1 unused-silence"},
		{"one of two names too many", "-- tideover:allow opaque,breaks-old-server x\nDROP VIEW a;", nil, "1 unused-silence; 2 breaks-old-server allowed (x)"},
		{"behind a statement", "DROP VIEW a; -- tideover:allow breaks-old-server x\nDROP VIEW b;", nil, "1 breaks-old-server; 1 unused-silence; 2 breaks-old-server"},
		{"at the end", "DROP VIEW a;\n-- tideover:allow breaks-old-server x\n", nil, "1 breaks-old-server; 2 unused-silence"},
		{"an unused one, by name", "-- tideover:allow loses-data x\nSELECT 1;", []string{"unused-silence"}, "1 unused-silence allowed"},
		{"in a text", "SELECT '\n-- tideover:allow breaks-old-server x\n';\nDROP VIEW a;", nil, "4 breaks-old-server"},
		{"in a block comment", "/*\n-- tideover:allow breaks-old-server x\n*/\nDROP VIEW a;", nil, "4 breaks-old-server"},
		{"of the way back", "-- +goose Up\nDROP VIEW a;\n-- +goose Down\n-- tideover:allow loses-data x\nDROP TABLE b;", nil, "2 breaks-old-server"},
		{"a column's order, which changes what is run", "-- tideover:allow column-order x\nALTER TABLE a ALTER b TYPE bigint;", nil, "2 asks-catalog; 2 breaks-old-server; 2 column-order allowed (x); 2 rewrites-table rewritten"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s, err := sqlrewrite.Parse("1_a.sql", c.sql)
			if err != nil {
				t.Fatal(err)
			}
			if got := lintOf(t, s, c.allowed...); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestSilencesOfVendors: also where a tool's lines stand in between, and where we have added statements of our own.
func TestSilencesOfVendors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"1_a.sql", "-- tideover:allow breaks-old-server all\n-- migrate:up\nDROP VIEW a;\n-- migrate:down\n-- tideover:allow opaque x\nSELECT 1;\n", "3 breaks-old-server allowed (all)"},
		{"V1__a.sql", "SELECT 1;\n-- tideover:allow breaks-old-server x\nDROP VIEW a;\n", "3 breaks-old-server allowed (x)"},
		{"a.sql", "--liquibase formatted sql\n-- tideover:allow breaks-old-server all\n--changeset a:1\nDROP VIEW a;\n--rollback DROP TABLE b;\n", "4 breaks-old-server allowed (all)"},
		{"1_a.sql", "-- Up Migration\n-- tideover:allow breaks-old-server x\nDROP VIEW a;\n-- Down Migration\nSELECT 1;\n", "3 breaks-old-server allowed (x)"},
	} {
		s, err := sqlrewrite.ReadFolder(inFolder(c.name, c.text), "")
		if err != nil {
			t.Fatal(err)
		}
		if got := lintOf(t, s.Scripts[0]); got != c.want {
			t.Errorf("%s: got %s, want %s", s.Format, got, c.want)
		}
	}
}

// TestSilenceMistakes: a name that nothing has would accept nothing, and nobody would see it.
func TestSilenceMistakes(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SELECT 1;\n-- tideover:allow drops-things x\nDROP VIEW a;": "1_a.sql:2:1: tideover:allow drops-things: there is no finding of that name to accept",
		"-- tideover:allow unused-silence x\nSELECT 1;":             "1_a.sql:1:1: tideover:allow unused-silence: there is no finding of that name to accept",
		"-- tideover:allow\nDROP VIEW a;":                           "1_a.sql:1:1: tideover:allow names nothing",
	} {
		s, err := sqlrewrite.Parse("1_a.sql", sql)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sqlrewrite.Lint([]*sqlrewrite.Script{s}, nil); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestFindingIDs: each has its own, which stays when the statement moves.
func TestFindingIDs(t *testing.T) {
	t.Parallel()
	ids := func(sql string) []string {
		s, err := sqlrewrite.Parse("1_a.sql", sql)
		if err != nil {
			t.Fatal(err)
		}
		findings, err := sqlrewrite.Lint([]*sqlrewrite.Script{s}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, f := range findings {
			list = append(list, f.ID)
		}
		return list
	}
	first := ids("DROP TABLE a;\nDROP TABLE b;\nDROP TABLE a;\nUPDATE c SET d = 1;")
	seen := map[string]bool{}
	for _, id := range first {
		seen[id] = true
	}
	if len(first) < 8 || len(seen) != len(first) {
		t.Errorf("%d of %d IDs are different", len(seen), len(first))
	}
	if moved := ids("-- a comment\n\nDROP TABLE a;\nDROP\n  TABLE b;\nDROP TABLE a;\nUPDATE c SET d = 1;"); !slices.Equal(moved, first) {
		t.Errorf("%v became %v", first, moved)
	}
}

// TestNotesAreListed: the manual has a row for each finding that there can be.
func TestNotesAreListed(t *testing.T) {
	t.Parallel()
	page := read(t, "../docs/sqlrewrite.md")
	for _, n := range sqlrewrite.RuleNames() {
		if !strings.Contains(page, "| `"+n+"`") && !strings.Contains(page, ", `"+n+"` |") {
			t.Errorf("docs/sqlrewrite.md has no row for %s", n)
		}
	}
}
