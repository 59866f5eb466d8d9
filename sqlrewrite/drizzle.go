package sqlrewrite

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
)

// DrizzleFormat is the .sql files that meta/_journal.json lists.
const DrizzleFormat Format = "drizzle"

const drizzleJournal = "meta/_journal.json"

// Source: drizzle-orm's src/migrator.ts and pg-core/dialect.ts: all files whose time in the journal is above the newest in the table run. A
// file that comes late, with a time below, never does.
func drizzleLayout() *layout {
	r := &Records{Table: "drizzle.__drizzle_migrations",
		Create: `CREATE SCHEMA IF NOT EXISTS drizzle; CREATE TABLE IF NOT EXISTS drizzle.__drizzle_migrations (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint)`,
		Read:   "SELECT ARRAY[coalesce(created_at::text, '')] FROM drizzle.__drizzle_migrations"}
	r.inPlace = func(rows [][]string, scripts []*Script) ([]*Script, error) {
		var newest int64 = -1
		for _, row := range rows {
			at, err := strconv.ParseInt(row[0], 10, 64)
			if err != nil {
				return nil, &Error{File: r.Table, Msg: "a row has no created_at, and Drizzle would run everything again", Try: "mend the table"}
			}
			newest = max(newest, at)
		}
		n := 0
		for n < len(scripts) && scripts[n].when <= newest {
			n++
		}
		return scripts[:n], nil
	}
	return &layout{name: DrizzleFormat, claims: func(t *tree) string {
		if _, err := fs.Stat(t.fsys, drizzleJournal); err == nil {
			return drizzleJournal
		}
		return ""
	}, read: drizzleFolder, places: true, records: r}
}

// drizzleFolder reads the files that the journal lists, in its order; others are nothing to Drizzle.
func drizzleFolder(t *tree) ([]*Script, error) {
	b, err := fs.ReadFile(t.fsys, drizzleJournal)
	if err != nil {
		return nil, &Error{File: drizzleJournal, Msg: "it can't be read, and without it the order of the files isn't known", Try: "name Drizzle's own folder"}
	}
	var journal struct {
		Dialect string
		Entries []struct {
			Tag  string
			When int64
		}
	}
	if err := json.Unmarshal(b, &journal); err != nil {
		return nil, &Error{File: drizzleJournal, Msg: "it isn't Drizzle's journal: " + err.Error(), Try: "name Drizzle's own folder"}
	}
	if d := journal.Dialect; d != "postgresql" && d != "pg" {
		return nil, &Error{File: drizzleJournal, Msg: fmt.Sprintf("its dialect is %q", d), Try: "name the folder of the migrations for Postgres"}
	}
	var scripts []*Script
	had := map[string]bool{}
	for i, e := range journal.Entries {
		n := e.Tag + ".sql"
		if had[n] || i > 0 && e.When <= scripts[i-1].when {
			return nil, refused(n, "its time in "+drizzleJournal+" isn't above that of the file before it: whether Drizzle runs it depends on what a database has", "mend the journal")
		}
		had[n] = true
		raw, text, err := t.read(n)
		if err != nil {
			return nil, refused(n, drizzleJournal+" lists it, and it isn't there", "put the file back")
		}
		s, err := parsePair(n, text, "", "")
		if err != nil {
			return nil, err
		}
		s.unwrap()
		sum := sha256.Sum256([]byte(raw))
		s.vendor, s.sum, s.when = e.Tag, hex.EncodeToString(sum[:]), e.When
		if err := s.recordAs(fmt.Sprintf("INSERT INTO drizzle.__drizzle_migrations (hash, created_at) VALUES (%s, %d)", quoted(s.sum), s.when), ""); err != nil {
			return nil, err
		}
		scripts = append(scripts, s)
	}
	if len(scripts) == 0 {
		return nil, &Error{File: drizzleJournal, Msg: "it lists no file", Try: "name Drizzle's own folder"}
	}
	byPlace(scripts, func(s *Script) string { return s.vendor })
	return scripts, nil
}
