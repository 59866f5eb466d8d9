// Package sqlrewrite says which locks a migration takes, and turns it into one that doesn't block live traffic.
//
// [Parse] reads a goose file or plain SQL with Postgres' own grammar. [Analyze] tells of one statement which locks it
// takes, whom they block, and whether it reads or rewrites a whole table meanwhile. [Live] gives the same migration in
// several files, each of which holds a lock that blocks somebody only for a moment:
//
//	CREATE INDEX, DROP INDEX, REINDEX   CONCURRENTLY, outside a transaction
//	FOREIGN KEY, CHECK                  NOT VALID, then VALIDATE CONSTRAINT in a later transaction
//	SET NOT NULL                        by way of a validated CHECK
//	UNIQUE, PRIMARY KEY                 a concurrent unique index, then USING INDEX
//	volatile DEFAULT, serial            the column, its default, a back-fill, NOT NULL
//	UPDATE, DELETE, INSERT … SELECT     batches by key with a checkpoint
//	columns moved to a new table        triggers that write both places, batches, then the columns go
//	ALTER COLUMN … TYPE                 a second column with a trigger and batches, if [ColumnOrder] is allowed
//	DETACH PARTITION                    CONCURRENTLY
//
// What can't be made safe stays as its author wrote it, and is listed as a [Hazard] that a person must allow by name.
// The original and the rewritten script end in the same schema.
//
// [ReadFolder] reads a folder as the tool does that it is of: goose, pop, dbmate, diesel, Prisma, Flyway and others, or plain files. [File.Steps] says how a file of the result is run well.
//
// The package is pure: it opens no connection and knows only what the scripts say. It doesn't know how large a table
// is, and takes every table that the script doesn't create itself for large and in use.
//
// Source: the Postgres manual, "Explicit Locking" (13.3), and the pages of the statements.
package sqlrewrite

import (
	"errors"
	"strings"
	"unicode/utf8"

	pg "github.com/pganalyze/pg_query_go/v6"
	"github.com/pganalyze/pg_query_go/v6/parser"
)

// Script is a migration.
type Script struct {
	Name          string // the file's name, as given
	Up, Down      []*Statement
	Goose         bool // it has goose's annotations
	NoTransaction bool // goose runs each statement on its own

	text   string // as given
	as     string // the goose file that it becomes; "": its own name
	vendor string // the version that the vendor's own tool knows it by; "": goose's
	sum    string // the vendor's checksum of the file, where he has one
	when   int64  // the vendor's time of the file, where he goes by that
	title  string // what the vendor's table calls it, where that is more than the version
	note   string // writes the vendor's version into his table; it is the last statement of Up
	keep   bool   // it is ours, and safe as it is
	// brokenDown says why the way back, which stands in a file of its own, can't be read. The way forth does without it.
	brokenDown error
	down       string // the text below "-- +goose Down"
	// blocks: a StatementBegin block has several statements, which goose sends as one query.
	blocks bool
}

// Statement is one SQL statement of a script.
type Statement struct {
	File   string
	Line   int    // of its first word in File, from 1
	Column int    // in characters, from 1
	SQL    string // without the semicolon, and without comments around it

	node  *pg.Node
	scope *scope // what the script has created before
	known *known // what the folder's earlier scripts say of tables; nil: nothing
	// records: ours: it notes the version in the vendor's table.
	records bool
	copied  bool // ours: it fills what triggers keep up to date
	uses    used // ours: what the default of the column that it fills names
	// bare are the columns that get NOT NULL and have no default, and how that is known.
	bare map[Column]string
	// domains are those that a catalog knows among the types of new columns, by their names quoted as SQL.
	domains map[string]Domain
	whole   string // why it isn't done in batches; "": it is, or nobody has looked
}

// Target is the name of the goose file that the script becomes, before it is split.
func (s *Script) Target() string {
	if s.as != "" {
		return s.as
	}
	return s.Name
}

// Vendor is the version in the vendor's own table, which the script records there; "" for goose.
func (s *Script) Vendor() string { return s.vendor }

// Parse reads a goose file (annotations Up, Down, StatementBegin, StatementEnd, NO TRANSACTION) or plain SQL, which is
// taken for Up. The error is an [*Error].
func Parse(name, sql string) (*Script, error) {
	if strings.HasPrefix(sql, "\xff\xfe") || strings.HasPrefix(sql, "\xfe\xff") {
		return nil, failure(name, sql, 0, "UTF-16, not UTF-8", "save the file as UTF-8 text")
	}
	if i := strings.IndexByte(sql, 0); i >= 0 {
		return nil, failure(name, sql, i, "a NUL byte is not SQL", "save the file as UTF-8 text")
	}
	if !utf8.ValidString(sql) {
		return nil, failure(name, sql, invalid(sql), "not UTF-8", "save the file as UTF-8 text")
	}
	s := &Script{Name: name, text: sql}
	up, down, err := s.sections()
	if err != nil {
		return nil, err
	}
	if s.Up, err = statements(name, up); err != nil {
		return nil, err
	}
	if s.Down, err = statements(name, down); err != nil {
		return nil, err
	}
	s.blocks = s.manyInBlock()
	setScopes(s.Up)
	setScopes(s.Down)
	return s, nil
}

func invalid(s string) int {
	for i, r := range s {
		if _, size := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && size == 1 {
			return i
		}
	}
	return len(s)
}

func failure(name, text string, offset int, msg, try string) *Error {
	line, column := place(text, offset)
	return &Error{File: name, Line: line, Column: column, Msg: msg, Try: try}
}

// statements parses text, in which everything that isn't SQL has been blanked so that places stay right.
func statements(name, text string) ([]*Statement, error) {
	tree, err := pg.Parse(text)
	if err != nil {
		return nil, syntaxError(name, text, err)
	}
	var list []*Statement
	for _, raw := range tree.Stmts {
		from, to := int(raw.StmtLocation), len(text)
		if raw.StmtLen > 0 {
			to = from + int(raw.StmtLen)
		}
		begin, end, err := trim(text[from:to])
		if err != nil {
			return nil, syntaxError(name, text, err)
		}
		line, column := place(text, from+begin)
		list = append(list, &Statement{File: name, Line: line, Column: column, SQL: text[from+begin : from+end], node: raw.Stmt})
	}
	return list, nil
}

// trim finds the first and the last byte of a statement that are neither white space nor comment.
func trim(text string) (begin, end int, err error) {
	scan, err := pg.Scan(text)
	if err != nil {
		return 0, 0, err
	}
	begin = -1
	for _, t := range scan.Tokens {
		if t.Token == pg.Token_SQL_COMMENT || t.Token == pg.Token_C_COMMENT {
			continue
		}
		if begin < 0 {
			begin = int(t.Start)
		}
		end = int(t.End)
	}
	return max(begin, 0), end, nil
}

func syntaxError(name, text string, err error) *Error {
	var e *parser.Error
	if !errors.As(err, &e) || e.Cursorpos <= 0 {
		return &Error{File: name, Msg: err.Error()}
	}
	at := byteOffset(text, e.Cursorpos)
	if at < len(text) && text[at] == '\\' {
		word, _, _ := strings.Cut(text[at:], "\n")
		if f := strings.Fields(word); len(f) > 0 {
			word = f[0]
		}
		return failure(name, text, at, "psql's "+word+" is not SQL", `take the lines out that begin with \: only psql understands them`)
	}
	return failure(name, text, at, e.Message, "")
}
