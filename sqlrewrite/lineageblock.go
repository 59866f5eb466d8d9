package sqlrewrite

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// writing finds words of statements that write rows or decide by them, in SQL that is put together while it runs.
var writing = regexp.MustCompile(`(?i)\b(insert|update|delete|merge|truncate|copy|select|call)\b`)

const outOfTheBlock = "take the statement out of the block; INSERT … VALUES … ON CONFLICT DO NOTHING puts a row in where it is missing"

// block reads a DO block of PL/pgSQL: its statements by themselves, if none of them decides by rows what others do.
func (l *lineage) block(d *pg.DoStmt) {
	var body, language string
	for _, a := range d.Args {
		switch e := a.GetDefElem(); e.GetDefname() {
		case "as":
			body = e.GetArg().GetString_().GetSval()
		case "language":
			language = e.GetArg().GetString_().GetSval()
		}
	}
	if language != "" && language != "plpgsql" {
		l.unread("a block in "+language, outOfTheBlock)
		return
	}
	queries, dynamic, reads, err := inBlock(body)
	if err != nil {
		l.unread("a DO block that can't be read", outOfTheBlock)
		return
	}
	if caught := caughtIn(body); caught != "" {
		l.unread("a DO block does something else for all rows where "+caught+" fails for one (EXCEPTION)", "take the statement out of the block, or catch by name what hangs on no row (duplicate_object, undefined_table)")
		return
	}
	var writes []*pg.Node
	for _, q := range queries {
		tree, err := pg.Parse(q)
		if err != nil {
			_, value, _ := strings.Cut(q, "=") // of an assignment
			if tree, err = pg.Parse("SELECT " + q); err != nil {
				if tree, err = pg.Parse("SELECT " + value); err != nil {
					l.unread("a DO block that can't be read", outOfTheBlock)
					return
				}
			}
		}
		walk(tree, func(m any) {
			c, ok := m.(*pg.ColumnRef)
			reads = reads || ok && len(c.Fields) == 1 && c.Fields[0].GetString_().GetSval() == "found"
		})
		for _, s := range tree.Stmts {
			switch s.Stmt.GetNode().(type) {
			case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt:
				writes = append(writes, s.Stmt)
				reads = reads || len(s.Stmt.GetInsertStmt().GetReturningList())+len(s.Stmt.GetUpdateStmt().GetReturningList())+len(s.Stmt.GetDeleteStmt().GetReturningList()) > 0
			case *pg.Node_SelectStmt:
				l.calls(s.Stmt)
				for _, r := range tablesIn(s.Stmt) {
					reads = reads || len(l.table(r).from) > 0
				}
			default:
				l.statement(s.Stmt)
			}
		}
	}
	switch {
	case dynamic:
		l.unread("a DO block puts SQL together that may write rows", "write the statements out, each for its table")
	case reads && len(writes) > 0:
		l.unread("a DO block writes rows by what it finds in others", outOfTheBlock)
	default:
		for _, w := range writes {
			l.writes(w)
		}
	}
}

// ofTheSchema are errors that hang on what there is beside rows, by name or SQLSTATE.
var ofTheSchema = regexp.MustCompile(`^(42...|0A000|2BP01|3[DF]000|55000|55006|duplicate_(alias|column|cursor|database|function|prepared_statement|schema|table|object)|(undefined|ambiguous)_\w+|` +
	`invalid_\w+_definition|invalid_(schema|catalog)_name|invalid_foreign_key|wrong_object_type|insufficient_privilege|feature_not_supported|syntax_error|dependent_objects_still_exist|object_in_use|object_not_in_prerequisite_state)$`)

// caughtIn is the first statement of a block that may fail for the sake of a row and is caught when it does; "": there is none.
func caughtIn(body string) (caught string) {
	tree, err := pg.ParsePlPgSqlToJSON("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS " + quoted(body))
	var parsed any
	if err != nil || json.Unmarshal([]byte(tree), &parsed) != nil {
		return ""
	}
	eachOf(parsed, "PLpgSQL_stmt_block", func(v any) {
		block, _ := v.(map[string]any)
		broad := false
		eachOf(block["exceptions"], "condname", func(v any) {
			name, _ := v.(string)
			broad = broad || !ofTheSchema.MatchString(name)
		})
		if !broad || caught != "" {
			return
		}
		eachOf(block["body"], "PLpgSQL_stmt_dynexecute", func(any) { caught = "EXECUTE" })
		eachOf(block["body"], "query", func(v any) {
			q, _ := v.(string)
			if tree, err := pg.Parse(q); err == nil && caught == "" {
				for _, s := range tree.Stmts {
					if hangsOnRows(s.Stmt) {
						caught = strings.Join(strings.Fields(q)[:min(2, len(strings.Fields(q)))], " ")
					}
				}
			}
		})
	})
	return caught
}

// eachOf gives what a tree of JSON has under a name, wherever that is.
func eachOf(x any, name string, f func(any)) {
	switch v := x.(type) {
	case []any:
		for _, e := range v {
			eachOf(e, name, f)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			if k == name {
				f(v[k])
			}
			eachOf(v[k], name, f)
		}
	}
}

// hangsOnRows says whether it may be rows that make a statement fail.
func hangsOnRows(n *pg.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg.Node_InsertStmt, *pg.Node_UpdateStmt, *pg.Node_DeleteStmt, *pg.Node_MergeStmt, *pg.Node_CreateTableAsStmt, *pg.Node_RefreshMatViewStmt, *pg.Node_CopyStmt, *pg.Node_CallStmt, *pg.Node_DoStmt:
		return true
	case *pg.Node_SelectStmt:
		return len(tablesIn(n)) > 0
	case *pg.Node_IndexStmt:
		return v.IndexStmt.Unique || len(v.IndexStmt.ExcludeOpNames) > 0
	case *pg.Node_AlterDomainStmt:
		return v.AlterDomainStmt.Subtype == "C" || v.AlterDomainStmt.Subtype == "V" || v.AlterDomainStmt.Subtype == "O"
	case *pg.Node_AlterTableStmt:
		return slices.ContainsFunc(v.AlterTableStmt.Cmds, func(c *pg.Node) bool {
			switch c.GetAlterTableCmd().GetSubtype() {
			case pg.AlterTableType_AT_AlterColumnType, pg.AlterTableType_AT_AddConstraint, pg.AlterTableType_AT_SetNotNull, pg.AlterTableType_AT_ValidateConstraint, pg.AlterTableType_AT_AttachPartition:
				return true
			}
			return false
		})
	}
	return false
}

// changing finds words of statements that change no rows.
var changing = regexp.MustCompile(`(?i)\b(alter|create|drop|comment|grant|revoke|analyze|reindex|refresh|vacuum)\b`)

// inBlock gives the SQL of a block, whether it puts some together that may write rows, and whether it asks how many were written.
func inBlock(body string) (queries []string, dynamic, counts bool, err error) {
	tree, err := pg.ParsePlPgSqlToJSON("CREATE FUNCTION f() RETURNS void LANGUAGE plpgsql AS " + quoted(body))
	if err != nil {
		return nil, false, false, err
	}
	var parsed any
	if err := json.Unmarshal([]byte(tree), &parsed); err != nil {
		return nil, false, false, err
	}
	var visit func(any)
	visit = func(x any) {
		switch v := x.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				switch k {
				case "PLpgSQL_stmt_dynexecute", "PLpgSQL_stmt_dynfors":
					text, _ := json.Marshal(v[k])
					dynamic = dynamic || writing.Match(text) || !changing.Match(text)
					continue
				case "PLpgSQL_stmt_getdiag":
					counts = true
				case "query":
					if s, ok := v[k].(string); ok {
						queries = append(queries, s)
					}
				}
				visit(v[k])
			}
		}
	}
	visit(parsed)
	return queries, dynamic, counts, nil
}
