package sqlrewrite

import (
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// GolangMigrateFormat is pairs <version>_<title>.up.sql and .down.sql, which look like plain ones, and so are never guessed.
const GolangMigrateFormat Format = "golang-migrate"

// Source: golang-migrate's database/postgres: one row, the newest. A file that comes late, below it, is never run.
func golangMigrateLayout() *layout {
	r := &Records{Table: "schema_migrations", Create: "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)",
		Read: "SELECT ARRAY[version::text, dirty::text] FROM schema_migrations", Newest: true,
		up: "WITH gone AS (DELETE FROM schema_migrations) INSERT INTO schema_migrations (version, dirty) VALUES (%[1]s, false)"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		for _, row := range rows {
			if row[1] == "true" {
				return nil, halfDone(r.Table, "migration "+row[0], "dirty")
			}
		}
		return upTo(r.Table, rows, scripts)
	}
	return &layout{name: GolangMigrateFormat, read: func(t *tree) ([]*Script, error) { return golangFolder(t, r) }, records: r}
}

var golangName = regexp.MustCompile(`^(\d+)_(.*)\.(up|down)\.sql$`)

// golangFolder reads golang-migrate's pairs of files.
func golangFolder(t *tree, r *Records) ([]*Script, error) {
	files := t.files
	ups, downs := map[string]string{}, map[string]string{}
	for _, n := range sorted(files) {
		m := golangName.FindStringSubmatch(n)
		if m == nil {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "its name is not golang-migrate's", Try: "<version>_<title>.up.sql"}
		}
		v := strings.TrimLeft(m[1], "0")
		into := ups
		if m[3] == "down" {
			into = downs
		}
		if into[v] != "" {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "it has the same version as " + into[v], Try: "give it a number of its own"}
		}
		into[v] = n
	}
	var scripts []*Script
	for v, n := range ups {
		if why := foreign(files[n]); why != nil {
			return nil, failure(n, files[n], why.at, why.text, why.way)
		}
		s, err := parsePair(n, files[n], downs[v], files[downs[v]])
		if err != nil {
			return nil, err
		}
		s.unwrap()
		s.NoTransaction = s.aloneOutside()
		m := golangName.FindStringSubmatch(n)
		if err := s.number(m[1], m[2]); err != nil {
			return nil, err
		}
		s.vendor = v
		if err := s.record(r.up, r.down); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no .up.sql file", Try: "<version>_<title>.up.sql"}
	}
	return scripts, inOrder(scripts)
}

// aloneOutside: the script is one statement that Postgres doesn't run in a transaction. A tool that sends a file as it is runs it
// without one.
func (s *Script) aloneOutside() bool {
	return len(s.Up) == 1 && outsideOnly(s.Up[0].node)
}

// outsideOnly: Postgres refuses the statement inside a transaction.
func outsideOnly(n *pg.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_DoStmt, *pg.Node_CallStmt, *pg.Node_TransactionStmt, *pg.Node_DiscardStmt, *pg.Node_VariableSetStmt:
		return false
	case *pg.Node_AlterTableStmt:
		return slices.ContainsFunc(v.AlterTableStmt.Cmds, func(c *pg.Node) bool {
			return c.GetAlterTableCmd().GetDef().GetPartitionCmd().GetConcurrent()
		})
	}
	return concurrent(n) || !canBeInside(n)
}
