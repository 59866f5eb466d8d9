package sqlrewrite

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// Records is the table in which a vendor's own tool keeps the versions that are in place. A migration writes its own there, last.
type Records struct {
	Table  string // found by search_path
	Create string // makes it as the tool does, where it isn't there; "": the first migration does
	Read   string // a query of the versions, as text
	UpTo   bool   // the version that it has is the newest: all up to it are in place
	Late   bool   // the tool runs files that come late, below the newest that is in place
	// Old asks whether the table is as a version of the tool before this one made it; the first migration makes it anew. "": there is
	// no such.
	Old string
	// Dirty asks whether the tool has left a migration half done; "": it can't.
	Dirty    string
	up, down string // with the version as a literal: note it, and forget it
}

// Note is the statement that writes a version into the table.
func (r *Records) Note(version string) string { return fmt.Sprintf(r.up, quoted(version)) }

var records = map[Format]*Records{
	PopFormat: {Table: popTable, Read: "SELECT version FROM " + popTable, Late: true,
		Old: "SELECT NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('" + popTable + "') AND attname = 'version_self' AND NOT attisdropped)",
		up:  "INSERT INTO " + popTable + " (version) VALUES (%[1]s) ON CONFLICT DO NOTHING", down: "DELETE FROM " + popTable + " WHERE version = %[1]s"},
	// Source: dbmate's pkg/driver/postgres.
	DbmateFormat: {Table: "schema_migrations", Create: "CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY)",
		Read: "SELECT version FROM schema_migrations", Late: true,
		up: "INSERT INTO schema_migrations (version) VALUES (%[1]s)", down: "DELETE FROM schema_migrations WHERE version = %[1]s"},
	// Source: sql-migrate's migrate.go: an id is a file's name.
	SQLMigrateFormat: {Table: "gorp_migrations", Create: "CREATE TABLE IF NOT EXISTS gorp_migrations (id text NOT NULL PRIMARY KEY, applied_at timestamp with time zone)",
		Read: "SELECT id FROM gorp_migrations", Late: true,
		up: "INSERT INTO gorp_migrations (id, applied_at) VALUES (%[1]s, now())", down: "DELETE FROM gorp_migrations WHERE id = %[1]s"},
	// Source: golang-migrate's database/postgres: one row, the newest.
	GolangMigrateFormat: {Table: "schema_migrations", Create: "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)",
		Read: "SELECT version::text FROM schema_migrations", UpTo: true, Dirty: "SELECT EXISTS (SELECT FROM schema_migrations WHERE dirty)",
		up: "WITH gone AS (DELETE FROM schema_migrations) INSERT INTO schema_migrations (version, dirty) VALUES (%[1]s, false)"},
}

// Records is the table of the vendor's own tool; nil: the format has none, and goose's is used.
func (s *Migrations) Records() *Records {
	if s == nil {
		return nil
	}
	return records[s.Format]
}

// record lets the migration write its version into the vendor's table, last up and last down.
func (s *Script) record(r *Records) error {
	for _, x := range []struct {
		into *[]*Statement
		sql  string
	}{{&s.Up, r.up}, {&s.Down, r.down}} {
		if x.into == &s.Down && len(s.Down) == 0 || x.sql == "" {
			continue
		}
		list, err := statements(s.Name, fmt.Sprintf(x.sql, quoted(s.vendor)))
		if err != nil {
			return err
		}
		for _, st := range list {
			st.records = true
		}
		*x.into = append(*x.into, list...)
	}
	setScopes(s.Up)
	setScopes(s.Down)
	return nil
}

// sectioned parses a file whose directions stand one below the other. marker tells of a line whether it begins one.
func sectioned(name, text string, marker func(line string) (direction string, noTx, is bool, err error)) (*Script, error) {
	var up, down strings.Builder
	var into *strings.Builder
	s, offset, begun := &Script{Name: name, text: text}, 0, map[string]bool{}
	for line := range strings.Lines(text) {
		direction, noTx, is, err := marker(line)
		switch {
		case err != nil:
			return nil, failure(name, text, offset, err.Error(), "write it as its tool's manual says")
		case is && direction != "":
			if begun[direction] || direction == "up" && begun["down"] {
				return nil, failure(name, text, offset, "a second section of its kind, or one in the wrong place: "+strings.TrimSpace(line), "one file for each migration")
			}
			begun[direction] = true
			into = map[string]*strings.Builder{"up": &up, "down": &down}[direction]
			s.NoTransaction = s.NoTransaction || noTx && direction == "up"
		}
		for _, b := range []*strings.Builder{&up, &down} {
			if b == into && !is {
				b.WriteString(line)
			} else {
				b.WriteString(blanked(line))
			}
		}
		if into == nil && !is {
			if list, err := statements(name, line); err != nil || len(list) > 0 {
				if t := strings.TrimSpace(line); !strings.HasPrefix(t, "--") {
					return nil, failure(name, text, offset, "SQL before the first section", "put it below the line that begins the section")
				}
			}
		}
		offset += len(line)
	}
	if !begun["up"] {
		return nil, &Error{File: name, Line: 1, Column: 1, Msg: "it has no section of what is to be run, though other files have one", Try: "begin it as the others do"}
	}
	var err error
	if s.Up, err = statements(name, up.String()); err != nil {
		return nil, err
	}
	if s.Down, err = statements(name, down.String()); err != nil {
		return nil, err
	}
	setScopes(s.Up)
	setScopes(s.Down)
	return s, nil
}

var dbmateLine = regexp.MustCompile(`^\s*--\s*migrate:(\w+)(.*)$`)

func dbmateMarker(line string) (direction string, noTx, is bool, err error) {
	m := dbmateLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return "", false, false, nil
	}
	if m[1] != "up" && m[1] != "down" {
		return "", false, false, fmt.Errorf("dbmate has no section %q", m[1])
	}
	for _, option := range strings.Fields(m[2]) {
		switch option {
		case "transaction:false":
			noTx = true
		case "transaction:true":
		default:
			return "", false, false, fmt.Errorf("unknown option of dbmate's: %s", option)
		}
	}
	return m[1], noTx, true, nil
}

var sqlMigrateLine = regexp.MustCompile(`^\s*--\s*\+migrate\s+(\w+)(.*)$`)

func sqlMigrateMarker(line string) (direction string, noTx, is bool, err error) {
	m := sqlMigrateLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
	if m == nil {
		return "", false, false, nil
	}
	switch m[1] {
	case "StatementBegin", "StatementEnd":
		return "", false, true, nil
	case "Up", "Down":
	default:
		return "", false, false, fmt.Errorf("sql-migrate has no annotation %q", m[1])
	}
	for _, option := range strings.Fields(m[2]) {
		if option != "notransaction" {
			return "", false, false, fmt.Errorf("unknown option of sql-migrate's: %s", option)
		}
		noTx = true
	}
	return strings.ToLower(m[1]), noTx, true, nil
}

var leadingNumber = regexp.MustCompile(`^(\d+)(.*)\.sql$`)

// vendorFolder reads files of both directions in the order of their numbers; vendor is what the tool's own table has of one.
func vendorFolder(files map[string]string, format Format, marker func(string) (string, bool, bool, error), vendor func(name, digits string) string) ([]*Script, error) {
	var scripts []*Script
	for _, n := range sorted(files) {
		m := leadingNumber.FindStringSubmatch(n)
		if m == nil {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "its name has no version that " + string(format) + " understands", Try: "name files <number>_<text>.sql"}
		}
		s, err := sectioned(n, files[n], marker)
		if err != nil {
			return nil, err
		}
		if err := s.number(m[1], m[2]); err != nil {
			return nil, err
		}
		s.vendor = vendor(n, m[1])
		if err := s.record(records[format]); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, inOrder(scripts)
}

// number names the goose file that a script becomes: by the vendor's own number, never by its place among others, which changes
// when a file comes between.
func (s *Script) number(digits, rest string) error {
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v < 1 {
		return &Error{File: s.Name, Line: 1, Column: 1, Msg: "its version " + digits + " can't be kept: it must be from 1 to 9223372036854775807", Try: "number the files anew"}
	}
	title := strings.Trim(rest, "_-. ")
	if title == "" {
		title = "migration"
	}
	s.as = fmt.Sprintf("%d_%s.sql", v, title)
	return nil
}

// inOrder sorts by version, and refuses two of one.
func inOrder(scripts []*Script) error {
	slices.SortStableFunc(scripts, func(a, b *Script) int { return int(max(-1, min(1, version(a.Target())-version(b.Target())))) })
	for i := 1; i < len(scripts); i++ {
		if version(scripts[i].Target()) == version(scripts[i-1].Target()) {
			return &Error{File: scripts[i].Name, Line: 1, Column: 1, Msg: "it has the same version as " + scripts[i-1].Name, Try: "give it a number of its own"}
		}
	}
	return nil
}

var golangName = regexp.MustCompile(`^(\d+)_(.*)\.(up|down)\.sql$`)

// golangFolder reads golang-migrate's pairs of files.
func golangFolder(files map[string]string) ([]*Script, error) {
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
		if err := s.record(records[GolangMigrateFormat]); err != nil {
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

// strange is a sign that a file was written for another tool.
type strange struct {
	at        int
	text, way string
}

var signs = []struct {
	sign      *regexp.Regexp
	text, way string
}{
	{regexp.MustCompile(`(?m)^\s*--\s*migrate:(up|down)\b`), "it is dbmate's", "say format: dbmate"},
	{regexp.MustCompile(`(?m)^\s*--\s*\+migrate\s+\w+`), "it is sql-migrate's", "say format: sql-migrate"},
	{regexp.MustCompile(`(?mi)^\s*--\s*liquibase\s+formatted\s+sql|^\s*--\s*changeset\s+\S+:\S+`), "it is Liquibase's", "use the vendor's own command (command: …)"},
	{regexp.MustCompile(`(?m)^----\s*create above\s*/\s*drop below\s*----`), "it is tern's: what stands below that line takes the migration back", "keep what stands above it, or use the vendor's own command (command: …)"},
	{regexp.MustCompile(`(?m)^\s*--\s*//@?UNDO|^\s*--\s*@UNDO|^\s*//\s*@UNDO`), "it is MyBatis Migrations' or dbdeploy's: what stands below that line takes the migration back", "keep what stands above it, or use the vendor's own command (command: …)"},
	{regexp.MustCompile(`(?mi)^\s*(--|#)\s*-*\s*!(ups|downs)\b`), "it is Play's evolutions'", "keep the part that is to be run"},
	{regexp.MustCompile(`(?mi)^\s*--[-\s/+@!#:*=<>\[]*((migrate|migration|sql|rambler|micrate|section)[\s:_-]*)?(down|downs|undo|rollback|roll back|revert|reverse)([\s:_-]*(migration|section|sql|script|part|below|here))*[-\s:*=<>\].!]*$`),
		"this line looks as if what takes the migration back stood below it", "put that into a file of its own, <name>.down.sql, or name the tool's format"},
	{regexp.MustCompile(`\$\{[\w.:-]+\}`), "it has a placeholder, whose value only its tool knows", "write the value out"},
	{regexp.MustCompile(`\{\{-?\s*(\.|\$|template\b|if\b|end\b|range\b|with\b|include\b|env\b|block\b|define\b)|<%[=-]?|\{%-?\s*\w+`), "it is a template: what the SQL says is known only to its tool", "write out what the template becomes"},
}

// foreign finds what says that a file is no plain SQL; nil: nothing does.
func foreign(text string) *strange {
	for _, s := range signs {
		if at := s.sign.FindStringIndex(text); at != nil {
			from := at[0] + len(text[at[0]:at[1]]) - len(strings.TrimLeft(text[at[0]:at[1]], " \t\r\n"))
			return &strange{from, s.text, s.way}
		}
	}
	return nil
}

var (
	backName   = regexp.MustCompile(`(?i)([._-](down|undo|rollback|revert|rev)|^(U\d[\w.]*__.*))\.sql$`)
	repeatable = regexp.MustCompile(`^R__.*\.sql$`)
	codeName   = regexp.MustCompile(`^[VvUR]?\d[\w.-]*\.(go|js|cjs|mjs|ts|py|rb|php|java|kt|xml|ya?ml|json|exs?)$|^(db\.)?changelog.*\.(xml|ya?ml|json)$|^sqitch\.plan$|^atlas\.sum$|^migration_lock\.toml$`)
)

// strangers refuses a folder of plain files in which something else is that its tool would run, or heed.
func strangers(dirs, others []string, files map[string]string) error {
	for _, n := range others {
		if codeName.MatchString(path.Base(n)) {
			return &Error{File: n, Msg: "it is a migration in another language than SQL, or a list that only its tool understands", Try: "use the vendor's own command (command: …)"}
		}
	}
	if len(dirs) > 0 {
		return &Error{File: dirs[0], Msg: "there are .sql files in a folder below, which plain files don't have", Try: "name the folder whose own files are to be run"}
	}
	for _, n := range sorted(files) {
		switch {
		case strings.HasSuffix(n, ".down.sql"):
		case backName.MatchString(n):
			return &Error{File: n, Msg: "its name says that it takes a migration back", Try: "put it into another folder, or name it <name>.down.sql"}
		case repeatable.MatchString(n):
			return &Error{File: n, Msg: "it is one of Flyway's that run again whenever they change", Try: "use the vendor's own command (command: …)"}
		}
		if why := foreign(files[n]); why != nil {
			return failure(n, files[n], why.at, why.text, why.way)
		}
	}
	return nil
}

// Known is the migration that a version in the vendor's table stands for, by the versions of the files; "": none.
func (r *Records) Known(version string, files map[string]int64) string {
	if _, ok := files[version]; ok {
		return version
	}
	if long := version + "000000"; r.Table == popTable && len(version) == popLegacyDigits {
		if _, ok := files[long]; ok {
			return long
		}
	}
	return ""
}
