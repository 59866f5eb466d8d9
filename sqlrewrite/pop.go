package sqlrewrite

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	pg "github.com/pganalyze/pg_query_go/v6"
)

// popName is version, name, suffixes, direction and kind. Source: pop's match.go, and popx' with its .autocommit.
var popName = regexp.MustCompile(`^(\d+)_([^.]+)((?:\.[A-Za-z0-9]+)*)\.(up|down)\.(sql|fizz)$`)

// popDialects are pop's words for databases: true is Postgres.
var popDialects = map[string]bool{
	"postgres": true, "postgresql": true, "pg": true, "all": true,
	"cockroach": false, "cockroachdb": false, "crdb": false, "mysql": false, "mariadb": false, "sqlite": false, "sqlite3": false,
	"mssql": false, "sqlserver": false,
}

// PopFormat has 20 digits, a dialect, up and down: pop's, and ory/x popx's.
const PopFormat Format = "pop"

func popLayout() *layout {
	r := &Records{Table: popTable, inPlace: popInPlace,
		// The first row says whether the table is as the pop before popx made it; the first migration makes it anew.
		Read: "SELECT ARRAY[(NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass('" + popTable +
			"') AND attname = 'version_self' AND NOT attisdropped))::text] UNION ALL SELECT ARRAY[version] FROM " + popTable,
		up: "INSERT INTO " + popTable + " (version) VALUES (%[1]s) ON CONFLICT DO NOTHING", down: "DELETE FROM " + popTable + " WHERE version = %[1]s"}
	return &layout{name: PopFormat, claims: popClaims, read: func(t *tree) ([]*Script, error) { return popFolder(t.files, r) }, places: true, records: r}
}

// popClaims: one of the names is only pop's.
func popClaims(t *tree) string {
	for _, n := range sorted(t.files) {
		if IsPopName(n) && !likePop(n) {
			return "the name of " + n
		}
	}
	return ""
}

// likePop: the name is one that pop gives, and golang-migrate and sqlx too: of 14 digits, without a dialect.
func likePop(name string) bool {
	m := popName.FindStringSubmatch(name)
	return m != nil && m[3] == "" && m[5] == "sql" && len(m[1]) == popLegacyDigits
}

// onlyPop: all names are only pop's.
func (t *tree) onlyPop() bool {
	return len(t.files) > 0 && !slices.ContainsFunc(sorted(t.files), func(name string) bool { return !IsPopName(name) })
}

var popVersion = regexp.MustCompile(`^\d{14}(\d{6})?_`)

// IsPopName: the name is one that only pop gives: with a dialect, .autocommit or fizz, or a version of 14 or 20 digits, and a
// direction.
func IsPopName(name string) bool {
	m := popName.FindStringSubmatch(name)
	return m != nil && (m[3] != "" || m[5] == "fizz" || popVersion.MatchString(name))
}

// popInPlace are the scripts that a table has, and that which makes it, unless it is the old one. A version of the old kind stands for
// the file that begins with it.
func popInPlace(rows [][]string, scripts []*Script) ([]*Script, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	has := map[string]bool{}
	for _, row := range rows[1:] {
		has[row[0]] = true
	}
	var list []*Script
	for _, s := range scripts {
		short, zeros := strings.CutSuffix(s.vendor, "000000")
		if s.keep && rows[0][0] != "true" || s.vendor != "" && (has[s.vendor] || zeros && len(short) == popLegacyDigits && has[short]) {
			list = append(list, s)
		}
	}
	return list, nil
}

const (
	popTable = "schema_migration"
	popSize  = 48
)

// popInit makes popx' own table as popx does, where it is not there.
var popInit = fmt.Sprintf(`CREATE TABLE IF NOT EXISTS %[1]s (version VARCHAR (%[2]d) NOT NULL, version_self INT NOT NULL DEFAULT 0);
CREATE UNIQUE INDEX IF NOT EXISTS %[1]s_version_idx ON %[1]s (version);
CREATE INDEX IF NOT EXISTS %[1]s_version_self_idx ON %[1]s (version_self);
`, popTable, popSize)

// popLegacyDigits are those of a version as the pop before popx wrote it; six zeros are missing.
const popLegacyDigits = 14

// popLegacy makes popx' table of the one that the pop before it has left, as popx does: the old one stays beside it, and a version
// of the old kind stands for the file that begins with it. Source: popx' migrator.go.
func popLegacy(versions []string) string {
	var long []string
	for _, v := range versions {
		if short, zeros := strings.CutSuffix(v, "000000"); zeros && len(short) == popLegacyDigits {
			long = append(long, quoted(v))
		}
	}
	if len(long) == 0 {
		return ""
	}
	return fmt.Sprintf(`DO $pop$
BEGIN
	IF pg_catalog.to_regclass('%[1]s') IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute
		WHERE attrelid = pg_catalog.to_regclass('%[1]s') AND attname = 'version_self' AND NOT attisdropped) THEN
		RETURN;
	END IF;
	DROP INDEX IF EXISTS %[1]s_version_idx;
	CREATE TABLE %[1]s_transactional (version VARCHAR (%[2]d) NOT NULL, version_self INT NOT NULL DEFAULT 0);
	CREATE UNIQUE INDEX %[1]s_version_idx ON %[1]s_transactional (version);
	CREATE INDEX %[1]s_version_self_idx ON %[1]s_transactional (version_self);
	INSERT INTO %[1]s_transactional (version) SELECT version FROM %[1]s;
	ALTER TABLE %[1]s RENAME TO %[1]s_pop_legacy;
	ALTER TABLE %[1]s_transactional RENAME TO %[1]s;
	INSERT INTO %[1]s (version) SELECT v FROM pg_catalog.unnest(ARRAY[%[3]s]) v
		WHERE EXISTS (SELECT FROM %[1]s l WHERE l.version = pg_catalog.left(v, %[4]d)) ON CONFLICT DO NOTHING;
END $pop$;
`, popTable, popSize, strings.Join(long, ", "), popLegacyDigits)
}

type popFile struct {
	name, version, title string
	own                  bool // it has Postgres' suffix, and goes before one for all
	autocommit           bool
}

// popFolder picks the files that are Postgres' and orders them by version as pop does: as text. Each is numbered for
// goose, and records its version where pop looks it up, or the vendor's server would take itself for not migrated.
func popFolder(files map[string]string, r *Records) ([]*Script, error) {
	ups, downs := map[string]popFile{}, map[string]popFile{}
	for _, n := range sorted(files) {
		f, direction, ours, err := readPopName(n)
		if err != nil {
			return nil, err
		}
		if !ours {
			continue
		}
		into := ups
		if direction == "down" {
			into = downs
		}
		if had, ok := into[f.version]; ok && had.own == f.own {
			return nil, &Error{File: n, Line: 1, Column: 1, Msg: "it has the same version as " + had.name, Try: "one file for each version, direction and dialect"}
		} else if ok && had.own {
			continue
		}
		into[f.version] = f
	}
	var versions []string
	for v := range ups {
		versions = append(versions, v)
	}
	slices.Sort(versions)
	first, err := Parse(popTable+".sql", popLegacy(versions)+popInit)
	if err != nil {
		return nil, err
	}
	first.as, first.keep = "00001_"+popTable+".sql", true
	scripts := []*Script{first}
	for i, v := range versions {
		up, down := ups[v], downs[v]
		for _, f := range []popFile{up, down} {
			if at := strings.Index(files[f.name], "{{"); at >= 0 {
				return nil, failure(f.name, files[f.name], at, "it is a template: what the SQL says is known only to pop", "write out what the template becomes")
			}
			if strings.HasSuffix(f.name, ".fizz") {
				return nil, fizz(f.name)
			}
		}
		s, err := parsePair(up.name, files[up.name], down.name, files[down.name])
		if err != nil {
			return nil, err
		}
		s.as, s.NoTransaction, s.vendor = fmt.Sprintf("%05d_%s.sql", i+2, up.title), up.autocommit, v
		if err := s.record(r.up, r.down); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	return scripts, nil
}

// isPopInit: the script makes popx' table, and nothing else. It stays as it is: where the table is there, it does nothing.
func (s *Script) isPopInit() bool {
	var b strings.Builder
	for i, st := range s.Up {
		if i > 0 || st.node.GetDoStmt() == nil { // a DO is popLegacy's
			b.WriteString(st.SQL + ";\n")
		}
	}
	return b.String() == popInit
}

// readPopName takes a name apart; ours is false for another database's file.
func readPopName(name string) (f popFile, direction string, ours bool, err error) {
	m := popName.FindStringSubmatch(name)
	if m == nil {
		return f, "", false, &Error{File: name, Line: 1, Column: 1, Msg: "its name is not pop's", Try: "<version>_<name>[.<dialect>][.autocommit].up.sql"}
	}
	f = popFile{name: name, version: m[1], title: m[2]}
	ours = true
	for _, word := range strings.FieldsFunc(m[3], func(r rune) bool { return r == '.' }) {
		if word == "autocommit" {
			f.autocommit = true
			continue
		}
		is, known := popDialects[word]
		if !known {
			at := strings.Index(name, "."+word) + 2
			return f, "", false, &Error{File: name, Line: 1, Column: 1, Msg: fmt.Sprintf("unknown dialect %q (character %d of the name)", word, at),
				Try: "postgres, cockroach, mysql, sqlite3, all, or none"}
		}
		ours, f.own = ours && is, word != "all"
	}
	return f, m[4], ours, nil
}

func isBegin(t *pg.TransactionStmt) bool {
	return t.Kind == pg.TransactionStmtKind_TRANS_STMT_BEGIN || t.Kind == pg.TransactionStmtKind_TRANS_STMT_START
}

func isCommit(t *pg.TransactionStmt) bool {
	return t.Kind == pg.TransactionStmtKind_TRANS_STMT_COMMIT
}

func fizz(name string) error {
	return &Error{File: name, Line: 1, Column: 1, Msg: "fizz is a language of pop's own, not SQL", Try: "let soda translate it: soda fizz translate"}
}
