package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// archive is blue's schema in pg_dump's custom format, in a folder of its own that remove deletes.
type archive struct {
	dir   *tempDir
	bin   string
	leave map[object]bool // what is not to be restored
	env   []string
	with  []string // pg_restore's options: whether owners and grants are written out
}

// object is a catalog row: the oids of the catalog and of the row in it. pg_restore's table of contents names every
// entry by them, which is what makes leaving some out safe: names can hold blanks, newlines and each other.
type object struct{ class, oid uint32 }

// entry is one line of the table of contents.
type entry struct {
	id   int // dump id; the order of the dump
	what object
	desc string // "TABLE", "FK CONSTRAINT", …
	line string // as pg_restore -l wrote it
}

// oursQuery finds our triggers and event triggers on the server's objects: those whose function is in our schema.
const oursQuery = `
SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass::oid, t.oid
FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname = $1
UNION ALL
SELECT 'pg_catalog.pg_event_trigger'::pg_catalog.regclass::oid, e.oid
FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc f ON f.oid = e.evtfoid JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE n.nspname = $1`

// dump writes blue's schema, as the exported snapshot sees it, into an archive.
// conn is a session on blue whose transaction has that snapshot.
func dump(ctx context.Context, conn *pgx.Conn, dsn, snapshot, binDir string, privileges bool) (_ *archive, err error) {
	var version int
	if err := conn.QueryRow(ctx, `SELECT pg_catalog.current_setting('server_version_num')::int`).Scan(&version); err != nil {
		return nil, fmt.Errorf("ask for blue's version: %w", err)
	}
	a := &archive{leave: map[object]bool{}}
	if a.bin, err = programs(ctx, binDir, version); err != nil {
		return nil, err
	}
	rows, err := conn.Query(ctx, oursQuery, own)
	if err != nil {
		return nil, fmt.Errorf("list our triggers on blue: %w", err)
	}
	var o object
	if _, err := pgx.ForEachRow(rows, []any{&o.class, &o.oid}, func() error { a.leave[o] = true; return nil }); err != nil {
		return nil, fmt.Errorf("list our triggers on blue: %w", err)
	}
	conninfo, env, err := libpq(dsn)
	if err != nil {
		return nil, fmt.Errorf("blue: %w", err)
	}
	if a.dir, err = newTempDir(); err != nil {
		return nil, err
	}
	a.env = env
	args := []string{"--dbname=" + conninfo, "--format=custom", "--schema-only", "--no-password", "--encoding=UTF8",
		"--snapshot=" + snapshot, "--exclude-schema=" + own, "--lock-wait-timeout=30s",
		"--no-publications", "--no-subscriptions", "--no-tablespaces", "--file=" + a.path()}
	if !privileges {
		args = append(args, "--no-owner", "--no-privileges")
		a.with = []string{"--no-owner", "--no-privileges"} // in this format pg_dump keeps the owners all the same
	}
	if _, err := run(ctx, env, filepath.Join(a.bin, "pg_dump"), args...); err != nil {
		a.remove()
		return nil, fmt.Errorf("dump blue's schema: %w", err)
	}
	return a, nil
}

func (a *archive) path() string { return filepath.Join(a.dir.path, "schema.dump") }

func (a *archive) remove() { a.dir.remove() }

// entries lists what a section has and is to be restored, in the dump's order.
func (a *archive) entries(ctx context.Context, section string) ([]entry, error) {
	out, err := run(ctx, a.env, filepath.Join(a.bin, "pg_restore"), "--list", "--section="+section, a.path())
	if err != nil {
		return nil, fmt.Errorf("list the dump's %s: %w", section, err)
	}
	var list []entry
	for line := range strings.Lines(string(out)) {
		if e, ok := parseEntry(line); ok && !a.leave[e.what] {
			list = append(list, e)
		}
	}
	return list, nil
}

// parseEntry reads "215; 1259 16385 TABLE public oauth_client postgres". A comment is no entry.
func parseEntry(line string) (entry, bool) {
	line = strings.TrimRight(line, "\n")
	id, rest, ok := strings.Cut(line, "; ")
	if !ok || strings.HasPrefix(line, ";") {
		return entry{}, false
	}
	fields := strings.SplitN(rest, " ", 3)
	if len(fields) < 3 {
		return entry{}, false
	}
	number, err1 := strconv.Atoi(id)
	class, err2 := strconv.ParseUint(fields[0], 10, 32)
	oid, err3 := strconv.ParseUint(fields[1], 10, 32)
	if err1 != nil || err2 != nil || err3 != nil {
		return entry{}, false
	}
	return entry{id: number, what: object{uint32(class), uint32(oid)}, desc: describe(fields[2]), line: line}, true
}

// describe takes the description off the front of "FK CONSTRAINT public t t_fk owner": the words in capitals. A name in
// capitals cannot be mistaken for one, because the schema's name or "-" stands between, and what we tell apart is known.
func describe(s string) string {
	if strings.HasPrefix(s, "COMMENT - EVENT TRIGGER ") {
		return "EVENT TRIGGER" // it comes after it
	}
	for _, d := range []string{"FK CONSTRAINT", "CHECK CONSTRAINT", "CONSTRAINT", "INDEX ATTACH", "INDEX", "EVENT TRIGGER", "TRIGGER", "COMMENT", "SECURITY LABEL"} {
		if strings.HasPrefix(s, d+" ") {
			return d
		}
	}
	return ""
}

// sql writes out the SQL of some entries, in the dump's order.
func (a *archive) sql(ctx context.Context, entries []entry) (string, error) {
	if len(entries) == 0 {
		return "", nil
	}
	list, err := os.CreateTemp(a.dir.path, "list-")
	if err != nil {
		return "", err
	}
	defer os.Remove(list.Name())
	var b bytes.Buffer
	for _, e := range entries {
		b.WriteString(e.line + "\n")
	}
	_, err = list.Write(b.Bytes())
	if err := errors.Join(err, list.Close()); err != nil {
		return "", err
	}
	out, err := run(ctx, a.env, filepath.Join(a.bin, "pg_restore"), append(slices.Clone(a.with), "--file=-", "--use-list="+list.Name(), a.path())...)
	if err != nil {
		return "", fmt.Errorf("write out the dump: %w", err)
	}
	return plain(string(out)), nil
}

// plain takes psql's commands out of a script, so that a server can read it: \restrict with a random key at the top
// and \unrestrict with the same key at the end (Postgres' minor releases since August 2025). Only lines with this very
// key go: the text of a function may have a line that starts like them. It also takes out, of the settings at the
// top, the one that servers before 17 do not know.
func plain(script string) string {
	head, rest, _ := strings.Cut(script, "\nSET statement_timeout = 0;\n")
	_, after, ok := strings.Cut(head, "\\restrict ")
	key, _, _ := strings.Cut(after, "\n")
	if ok && key != "" {
		head = strings.Replace(head, "\\restrict "+key, "", 1)
		if i := strings.LastIndex(rest, "\\unrestrict "+key); i >= 0 {
			rest = rest[:i] + rest[i+len("\\unrestrict "+key):]
		}
	}
	settings, body, ok := strings.Cut(rest, "\n\n")
	if ok {
		settings = strings.Replace(settings, "SET transaction_timeout = 0;\n", "", 1)
		rest = settings + "\n\n" + body
	}
	return head + "\nSET statement_timeout = 0;\n" + rest
}
