package sqlrewrite

import (
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// SqlxFormat is <version>_<description>.sql, or the pairs .up.sql and .down.sql of it, which look like others' files: only
// "-- no-transaction" tells.
const SqlxFormat Format = "sqlx"

const sqlxOutside = "-- no-transaction"

// Source: sqlx' sqlx-core/src/migrate (source.rs, migrator.rs, migration_type.rs) and sqlx-postgres/src/migrate.rs. A file that comes late
// runs; one that has changed since it ran, and a version that no file has, are refused.
func sqlxLayout() *layout {
	r := &Records{Table: "_sqlx_migrations",
		Create: `CREATE TABLE IF NOT EXISTS _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMPTZ NOT NULL DEFAULT now(),
			success BOOLEAN NOT NULL, checksum BYTEA NOT NULL, execution_time BIGINT NOT NULL)`,
		Read: "SELECT ARRAY[version::text, success::text, encode(checksum, 'hex')] FROM _sqlx_migrations ORDER BY version",
		down: "DELETE FROM _sqlx_migrations WHERE version = %[1]s"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		for _, row := range rows {
			i := slices.IndexFunc(scripts, func(s *Script) bool { return s.vendor == row[0] })
			switch {
			case row[1] != "true":
				return nil, halfDone(r.Table, "migration "+row[0], "success is false")
			case i < 0:
				return nil, &Error{File: r.Table, Msg: "it has version " + row[0] + ", which is no file's, and sqlx stops there", Try: "put the file back"}
			case scripts[i].sum != row[2]:
				return nil, changed(scripts[i].Name, r.Table)
			}
		}
		return noted(rows, scripts)
	}
	return &layout{name: SqlxFormat, claims: func(t *tree) string {
		for _, n := range sorted(t.files) {
			if strings.HasPrefix(t.files[n], sqlxOutside) {
				return fmt.Sprintf("%q in %s", sqlxOutside, n)
			}
		}
		return ""
	}, read: func(t *tree) ([]*Script, error) { return sqlxFolder(t, r) }, records: r}
}

// changed is the error of a file that isn't what has run.
func changed(name, table string) error {
	return &Error{File: name, Msg: "it has changed since it ran: its checksum isn't that in " + table, Try: "put it back as it was, or mend the table, if the change means nothing"}
}

// sqlxFolder reads the files in the order of their versions. One without an underscore, or that isn't .sql, is nothing to sqlx.
func sqlxFolder(t *tree, r *Records) ([]*Script, error) {
	var scripts []*Script
	downs := map[string]string{}
	for _, n := range sorted(t.files) {
		digits, rest, is := strings.Cut(n, "_")
		if !is || !strings.HasSuffix(rest, ".sql") {
			continue
		}
		v, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || v < 0 {
			return nil, refused(n, "its name has no version that sqlx understands, and sqlx stops at it", "name files <number>_<text>.sql")
		}
		version := strconv.FormatInt(v, 10)
		if strings.HasSuffix(rest, ".down.sql") {
			downs[version] = n
			continue
		}
		raw, text, err := t.read(n)
		if err != nil {
			return nil, err
		}
		s, err := parsePair(n, text, "", "")
		if err != nil {
			return nil, err
		}
		suffix := ".sql"
		if strings.HasSuffix(rest, ".up.sql") {
			suffix = ".up.sql"
		}
		title := rest
		for strings.HasSuffix(title, suffix) {
			title = strings.TrimSuffix(title, suffix)
		}
		s.asSent(strings.HasPrefix(raw, sqlxOutside))
		if err := s.number(digits, "_"+strings.TrimSuffix(strings.TrimSuffix(rest, ".sql"), ".up")); err != nil {
			return nil, err
		}
		sum := sha512.Sum384([]byte(raw))
		s.vendor, s.sum = version, hex.EncodeToString(sum[:])
		s.title = strings.ReplaceAll(title, "_", " ")
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: ".", Msg: "the folder has no migration of sqlx'", Try: "<version>_<description>.sql"}
	}
	for _, s := range scripts {
		if down := downs[s.vendor]; down != "" && strings.HasSuffix(s.Name, ".up.sql") {
			s.withDown(down, t.files[down])
		}
		const note = `INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (%s, %s, true, decode(%s, 'hex'), -1)`
		if err := s.recordAs(fmt.Sprintf(note, quoted(s.vendor), quoted(s.title), quoted(s.sum)), withVersion(r.down, s.vendor)); err != nil {
			return nil, err
		}
	}
	return scripts, inOrder(scripts)
}
