package migrate

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/sqlrewrite"
)

// readingSettings say how a migration's text and its values are read. A migration has those of the database and the role, as the
// vendor's own tool would: a change of a type from timestamp to timestamptz reads the database's time zone.
var readingSettings = []string{"TimeZone", "timezone_abbreviations", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "lc_monetary",
	"xmlbinary", "xmloption", "array_nulls", "transform_null_equals", "check_function_bodies"}

var resetReading = "RESET " + strings.Join(readingSettings, "; RESET ")

// asTheDatabase gives a session of a migration what the database and the role set, and says along which schemas names are looked
// up: those that they set, if the first is that of the migrations. Where it is another one, or text is read in a way that the scripts
// were not read in, the migration is refused: the vendor's own tool would have made other things than we.
func (g *Goose) asTheDatabase(ctx context.Context, conn *pgx.Conn) (schemas []string, err error) {
	const look = `SELECT p.source, p.setting, ARRAY(SELECT s::text FROM pg_catalog.unnest(pg_catalog.current_schemas(false)) s WHERE s::text NOT LIKE 'tideover%'),
			s.reset_val = 'off', pg_catalog.quote_ident(pg_catalog.current_database())
		FROM pg_catalog.pg_settings p, pg_catalog.pg_settings s WHERE p.name = 'search_path' AND s.name = 'standard_conforming_strings'`
	if _, err := conn.Exec(ctx, resetReading+"; RESET search_path", pgx.QueryExecModeSimpleProtocol); err != nil {
		return nil, fmt.Errorf("prepare a session: %w", err)
	}
	var source, path, database string
	var escapes bool
	if err := conn.QueryRow(ctx, look).Scan(&source, &path, &schemas, &escapes, &database); err != nil {
		return nil, fmt.Errorf("ask what the database sets: %w", err)
	}
	switch {
	case escapes && g.hasBackslash():
		return nil, &FolderError{Text: "the database, the role or the server turns standard_conforming_strings off: text of the migrations would mean something else than it was read as",
			Way: "ALTER DATABASE " + database + " SET standard_conforming_strings = on"}
	case source == "default":
		return []string{g.schema}, nil
	case len(schemas) == 0 && g.budget == nil: // a name that is not qualified means nothing there
		return []string{g.schema}, nil
	case len(schemas) == 0:
		return nil, &FolderError{Text: fmt.Sprintf("the %s sets search_path to %q: the vendor's own tool has no schema to work in", source, path),
			Way: fmt.Sprintf("give the connection string the path that the tool has: options=-csearch_path=%s", g.schema)}
	case schemas[0] != g.schema:
		return nil, &FolderError{Text: fmt.Sprintf("the %s sets search_path to %s: the vendor's own tool would work in schema %q, and the profile says %q", source, path, schemas[0], g.schema),
			Way: "name that schema in the profile, or connect as a role, and to a database, whose search_path begins with the profile's"}
	}
	return schemas, nil
}

// hasBackslash says whether text in one of the files may mean something else where standard_conforming_strings is off.
func (g *Goose) hasBackslash() bool {
	names, err := fs.Glob(g.fsys, "*")
	for _, name := range names {
		text, bad := fs.ReadFile(g.fsys, name)
		if info, none := fs.Stat(g.fsys, name); none == nil && info.IsDir() {
			continue
		}
		if bad != nil || bytes.IndexByte(text, '\\') >= 0 {
			return true
		}
	}
	return err != nil
}

// lasting refuses files one of which sets a parameter that a later one would find set, if both are run by one process: how it ends
// would depend on whether that process is stopped in between.
func (g *Goose) lasting(files []file) error {
	s := g.scripts
	if s == nil {
		var err error
		if s, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return nil // what can't be read, goose runs as it is, each file in a session of its own
		}
	}
	var set []sqlrewrite.Setting
	var by file
	for _, script := range s.Scripts {
		v, err := sqlrewrite.Version(script.Target())
		if err != nil {
			return err
		}
		i := slices.IndexFunc(files, func(f file) bool { return f.version == v })
		if i < 0 || len(script.Up) == 0 {
			continue
		}
		begins := script.Begins()
		for _, left := range set {
			if left.Later && g.budget == nil && !reads(left.Name) {
				continue // sessions of ours have their own
			}
			if left.Later && !slices.Contains(begins, left.Name) {
				return &FolderError{File: by.name, Text: fmt.Sprintf("line %d sets %s for sessions to come: whether it holds in %s depends on whether one process runs both", left.Line, called(left.Name), files[i].name),
					Way: fmt.Sprintf("stop behind it with `to: %d`, and go on with another runbook", by.version)}
			}
			if !slices.Contains(begins, left.Name) && !slices.Contains(begins, "*") {
				return &FolderError{File: by.name, Text: fmt.Sprintf("line %d sets %s for the rest of the session: whether it holds in %s depends on whether one process runs both", left.Line, called(left.Name), files[i].name),
					Way: fmt.Sprintf("write SET LOCAL, or take it back at the end of the file (RESET); or stop behind it with `to: %d`, and go on with another runbook", by.version)}
			}
		}
		set, by = script.Leaves(g.schema), files[i]
	}
	return nil
}

// reads says whether a parameter is among those that the database and the role give a session of a migration.
func reads(parameter string) bool {
	return parameter == "" || parameter == "*" || slices.ContainsFunc(append(slices.Clone(readingSettings), "search_path"), func(name string) bool { return strings.EqualFold(name, parameter) })
}

func called(parameter string) string {
	if parameter == "" || parameter == "*" {
		return "parameters"
	}
	return parameter
}

// session is what a session has before a file that may set parameters is run.
type session struct {
	user, role string
	settings   map[string]string
}

func sessionOf(ctx context.Context, conn *pgx.Conn) (s session, err error) {
	const look = `SELECT session_user::text, pg_catalog.current_setting('role'), (SELECT pg_catalog.jsonb_object_agg(name, pg_catalog.current_setting(name))
		FROM pg_catalog.pg_settings WHERE context IN ('user', 'superuser'))`
	if err := conn.QueryRow(ctx, look).Scan(&s.user, &s.role, &s.settings); err != nil {
		return s, fmt.Errorf("note the session's settings: %w", err)
	}
	return s, nil
}

// act takes the role back to the end of a transaction.
func (s session) act(ctx context.Context, tx postgres.Execer) error {
	const user = `SELECT pg_catalog.set_config('session_authorization', $1, true) WHERE session_user OPERATOR(pg_catalog.<>) $1::pg_catalog.name`
	const role = `SELECT pg_catalog.set_config('role', $1, true) WHERE pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) $1`
	_, err := tx.Exec(ctx, user, s.user)
	if err == nil {
		_, err = tx.Exec(ctx, role, s.role)
	}
	if err != nil {
		return fmt.Errorf("take the role back: %w", err)
	}
	return nil
}

// restore ends what a file has set: each file begins as the first one, whether a process runs one or all of them.
func (s session) restore(ctx context.Context, conn *pgx.Conn) error {
	const back = `SELECT pg_catalog.set_config(s.key, s.value, false) FROM pg_catalog.jsonb_each_text($1::pg_catalog.jsonb) s
		WHERE pg_catalog.current_setting(s.key, true) IS DISTINCT FROM s.value`
	now, err := sessionOf(ctx, conn)
	if err == nil && now.user != s.user {
		_, err = conn.Exec(ctx, `RESET SESSION AUTHORIZATION`)
	}
	if err == nil && now.role != s.role {
		_, err = conn.Exec(ctx, `SELECT pg_catalog.set_config('role', $1, false)`, s.role)
	}
	if err == nil {
		_, err = conn.Exec(ctx, back, s.settings)
	}
	if err != nil {
		return fmt.Errorf("put the session's settings back: %w", err)
	}
	return nil
}

// again sets what the steps of a file before one have set for their session, which another process has had.
func (e *Executor) again(ctx context.Context, steps []sqlrewrite.Step) error {
	for _, step := range steps {
		for _, st := range step.Statements {
			if !st.SetsSession() {
				continue
			}
			if _, err := e.Conn.PgConn().Exec(ctx, st.SQL).ReadAll(); err != nil {
				return &statementError{file: st.File, line: st.Line, shape: sqlrewrite.Shape(st.SQL), err: err}
			}
		}
	}
	return nil
}

// searchPath is the path of a session in which migrations make things.
func searchPath(schemas []string) string {
	var all []string
	for _, s := range schemas[1:] {
		all = append(all, pgx.Identifier{s}.Sanitize())
	}
	return strings.Replace(postgres.CreatingPath(schemas[0]), ", pg_temp", strings.Join(append([]string{""}, all...), ", ")+", pg_temp", 1)
}
