package sqlrewrite

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// maxName is NAMEDATALEN-1, in bytes.
const maxName = 63

// objectName is what Postgres calls an index or a constraint that was given no name: makeObjectName in its indexcmds.c.
func objectName(first, second, label string) string {
	room := maxName - len(label) - 1
	if second != "" {
		room--
	}
	a, b := len(first), len(second)
	for a+b > room {
		if a > b {
			a--
		} else {
			b--
		}
	}
	s := clip(first, a)
	if second != "" {
		s += "_" + clip(second, b)
	}
	return s + "_" + label
}

// clip cuts at most n bytes off without breaking a character.
func clip(s string, n int) string {
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// numbered is a label as Postgres writes it when the names before are taken: check, check1, check2.
func numbered(label string, taken int) string {
	if taken == 0 {
		return label
	}
	return label + strconv.Itoa(taken)
}

// indexName is the name that Postgres gives to an index without one when so many are taken; ok is false where we can't
// tell.
func indexName(x *pg.IndexStmt, taken int) (_ string, ok bool) {
	var columns []string
	for _, p := range slices.Concat(x.IndexParams, x.IndexIncludingParams) {
		n := p.GetIndexElem().GetName()
		if n == "" || slices.Contains(columns, n) {
			return "", false
		}
		columns = append(columns, n)
	}
	return objectName(x.GetRelation().GetRelname(), strings.Join(columns, "_"), numbered("idx", taken)), true
}

// constraintName is the constraint's own name, or the one that Postgres would choose if so many are taken. row: the table's own name
// means its row in a CHECK, and no column.
func constraintName(table string, c *pg.Constraint, taken int, row bool) string {
	if c.Conname != "" {
		return c.Conname
	}
	switch c.Contype {
	case pg.ConstrType_CONSTR_PRIMARY:
		return objectName(table, "", numbered("pkey", taken))
	case pg.ConstrType_CONSTR_UNIQUE:
		return objectName(table, strings.Join(slices.Concat(texts(c.Keys), texts(c.Including)), "_"), numbered("key", taken))
	case pg.ConstrType_CONSTR_FOREIGN:
		return objectName(table, strings.Join(texts(c.FkAttrs), "_"), numbered("fkey", taken))
	}
	// A CHECK is named after its column if it has one only.
	if columns := columnsIn(c.RawExpr); len(columns) == 1 && (columns[0] != table || !row) {
		return objectName(table, columns[0], numbered("check", taken))
	}
	return objectName(table, "", numbered("check", taken))
}

// columnsIn are the columns that an expression names, each once; "" is a row.
func columnsIn(n *pg.Node) []string {
	var columns []string
	walk(n, func(m any) {
		if r, ok := m.(*pg.ColumnRef); ok && len(r.Fields) > 0 {
			if s := r.Fields[len(r.Fields)-1].GetString_().GetSval(); !slices.Contains(columns, s) {
				columns = append(columns, s)
			}
		}
	})
	return columns
}

// notNullName names the CHECK that stands in until a column is NOT NULL.
func notNullName(table, column string) string {
	return objectName("tideover_"+table, column, "not_null")
}

func texts(list []*pg.Node) []string {
	var s []string
	for _, n := range list {
		s = append(s, n.GetString_().GetSval())
	}
	return s
}

// quoted is a literal.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// ident is a name as SQL text, always in quotes.
func ident(s name) string {
	q := func(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
	if s.schema == "" {
		return q(s.name)
	}
	return q(s.schema) + "." + q(s.name)
}
