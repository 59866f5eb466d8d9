package sqlrewrite

import (
	_ "embed"
	"strings"
)

// Kinds of what is done in batches.
const (
	Update = "update"
	Delete = "delete"
	Insert = "insert"
	Fill   = "fill" // of a column that we have added: the original fills it without an UPDATE, so that no trigger fires
)

// Ask is a statement that is done in batches, and what only a catalog can say about it: whether each row's outcome depends on
// nothing that another batch changes. The batches ask it themselves, before the first one ([BackfillTable] stays empty if the
// answer is no); who looks before anything is begun asks [Ask.SQL].
type Ask struct {
	Job       string // of [BackfillTable]
	File      string
	Line      int
	Kind      string
	Table     string   // whose keys the batches go along, quoted as SQL
	Into      string   // of Insert: whose rows are made
	Assigned  []string // columns that are written
	Reads     []string // other tables that are read, quoted as SQL
	Functions []string // called, without a schema
	Operators []string
	Columns   []string // read: a.f may be the function f, called with the row a
}

// changed is the table whose rows the statement changes.
func (a Ask) changed() string {
	if a.Kind == Insert {
		return a.Into
	}
	return a.Table
}

// askSQL gives, as one text, why batches would not end where the whole statement does; NULL: they do. A table that isn't there
// yet gives no reason.
//
//go:embed ask.sql
var askSQL string

// keySQL gives the columns of the key that batches go along, and their types; no row: there is none. It is primary, or the
// narrowest of those that are unique, never NULL, not written by the statement, and of types whose text is exact.
//
//go:embed key.sql
var keySQL string

// SQL is a query of one text: why the statement can't be done in batches in the database at hand; NULL: it can.
func (a Ask) SQL() string { return a.fill(askSQL) }

// KeySQL is a query of names and types of the columns that the batches would go along; no row: the table has no such key, and is
// written in one go if it is small ([MostWithoutKey]).
func (a Ask) KeySQL() string { return a.fill(keySQL) }

// MostWithoutKey is how many rows a table without a key may have: they are written in one transaction.
const MostWithoutKey = 10000

func (a Ask) fill(sql string) string {
	array := func(list []string, kind string) string {
		var q []string
		for _, s := range list {
			q = append(q, quoted(s))
		}
		return "ARRAY[" + strings.Join(q, ", ") + "]::" + kind + "[]"
	}
	regclass := func(s string) string {
		if s == "" {
			return "NULL::pg_catalog.regclass"
		}
		return "pg_catalog.to_regclass(" + quoted(s) + ")"
	}
	var reads []string
	for _, r := range a.Reads {
		reads = append(reads, regclass(r))
	}
	return strings.NewReplacer("@kind", quoted(a.Kind), "@changed", regclass(a.changed()), "@table", regclass(a.Table),
		"@assigned", array(a.Assigned, "pg_catalog.name"), "@reads", "ARRAY["+strings.Join(reads, ", ")+"]::pg_catalog.regclass[]",
		"@functions", array(a.Functions, "pg_catalog.name"), "@operators", array(a.Operators, "pg_catalog.name"),
		"@columns", array(a.Columns, "pg_catalog.name")).Replace(strings.TrimSpace(sql))
}
