package migrate

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/sqlrewrite"
)

// InFormat says how the folder is named and annotated; "" finds out whether it is goose's or pop's.
func InFormat(format string) Option {
	return func(g *Goose) { g.format = sqlrewrite.Format(format) }
}

// Placeholders are the values of Flyway's ${name}.
func Placeholders(values map[string]string) Option {
	return func(g *Goose) { g.placeholders = values }
}

// source reads the folder, and gives it as goose would want it.
func (g *Goose) source() (*sqlrewrite.Migrations, fs.FS, error) {
	format := g.format
	if format == "" && g.fsys != nil {
		var err error
		if format, err = sqlrewrite.Detect(g.fsys); err != nil {
			return nil, nil, err
		}
	}
	if format == "" {
		format = sqlrewrite.GooseFormat
	}
	if format == sqlrewrite.GooseFormat && len(g.placeholders) == 0 {
		return nil, g.fsys, nil
	}
	s, err := sqlrewrite.Source{Format: format, Placeholders: g.placeholders}.Folder(g.fsys)
	if err != nil {
		return nil, nil, err
	}
	if why := s.OnlyRead(); why != "" {
		return nil, nil, &FolderError{Text: fmt.Sprintf("a folder of %s's isn't run: %s", s.Format, why), Way: "use the vendor's own command (command: …)"}
	}
	asGoose := fstest.MapFS{}
	for _, script := range s.Scripts {
		r, err := sqlrewrite.Offline(script)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range r.Files {
			asGoose[f.Name] = &fstest.MapFile{Data: []byte(f.SQL)}
		}
	}
	return s, asGoose, nil
}

// Summary says what the folder was read as: "dbmate: 41 up, 40 down".
func (g *Goose) Summary() (string, error) {
	if g.readErr != nil {
		return "", g.readErr
	}
	s := g.scripts
	if s == nil {
		var err error
		if s, err = sqlrewrite.ReadFolder(sqlOnly{g.fsys}, sqlrewrite.GooseFormat); err != nil {
			return "", err
		}
	}
	return s.Summary(), nil
}

// Files are the names of the files that count, in their order: those above the baseline, up to the wanted version. Which of them a
// database has, it alone can tell.
func (g *Goose) Files() ([]string, error) {
	files, err := g.wanted()
	if err != nil {
		return nil, err
	}
	base, err := g.baseline()
	if err != nil {
		return nil, err
	}
	own := map[string]string{}
	if g.scripts != nil {
		for _, s := range g.scripts.Scripts {
			own[s.Target()] = s.Name
		}
	}
	var names []string
	for _, f := range files {
		if slices.Contains(base, f.version) {
			continue
		}
		if n := own[f.name]; n != "" {
			f.name = n
		}
		names = append(names, f.name)
	}
	return names, nil
}

// From is a baseline: the database has this version and all below it, whether a table says so or not. 0: what a table says.
func From(version int64) Option { return func(g *Goose) { g.from = version } }

// FromVersion is From with a version as the vendor writes it; "": none.
func FromVersion(version string) Option { return func(g *Goose) { g.fromText = version } }

// ToVersion is the version to stop at, as the vendor writes it; "" is the newest.
func ToVersion(version string) Option { return func(g *Goose) { g.toText = version } }

// numbered is goose's number of a version as the vendor writes it.
func (g *Goose) numbered(version string) (int64, error) {
	if g.scripts != nil {
		if s := g.scripts.Find(version); s != nil {
			return sqlrewrite.Version(s.Target())
		}
	}
	// pop's versions have 14 or 20 digits: a smaller number is a place, as runbooks have had it.
	if v, err := strconv.ParseInt(version, 10, 64); err == nil && v >= 0 && (!g.scripts.Places() || g.scripts.Format == sqlrewrite.PopFormat) {
		return v, nil // what has none of it, says so later
	}
	return 0, &FolderError{Text: fmt.Sprintf("no file has version %s", version), Way: "name the version as the files do"}
}

// baseline lists the files that From says are in place.
func (g *Goose) baseline() ([]int64, error) {
	if g.from == 0 {
		return nil, nil
	}
	if g.readErr != nil {
		return nil, g.readErr
	}
	files, err := folder(g.fsys)
	if err != nil {
		return nil, err
	}
	var list []int64
	known := false
	for _, f := range files {
		known = known || f.version == g.from
		if f.version <= g.from {
			list = append(list, f.version)
		}
	}
	if !known {
		return nil, &FolderError{Text: fmt.Sprintf("no file has version %d, which the database is said to have (from)", g.from), Way: "name the version of the last file that it has"}
	}
	return list, nil
}

// others are tables of tools that keep what they have migrated, and which of our formats reads them.
var others = []struct{ table, column, tool, way string }{
	{"schema_migrations", "dirty", "golang-migrate", "say format: golang-migrate"},
	{"schema_migrations", "inserted_at", "Ecto", "use the vendor's own command (command: …)"},
	{"schema_migrations", "version", "dbmate or Rails", "say format: dbmate if it is dbmate's"},
	{"gorp_migrations", "id", "sql-migrate", "say format: sql-migrate"},
	{"schema_migration", "version", "pop", "say format: pop"},
	{"flyway_schema_history", "installed_rank", "Flyway", "say format: flyway"},
	{"refinery_schema_history", "version", "refinery", "use the vendor's own command (command: …)"},
	{"sqitch.changes", "change_id", "sqitch", "use the vendor's own command (command: …)"},
	{"databasechangelog", "id", "Liquibase", "say format: liquibase for formatted SQL, else use the vendor's own command (command: …)"},
	{"_sqlx_migrations", "version", "sqlx", "say format: sqlx"},
	{"__diesel_schema_migrations", "version", "diesel", "say format: diesel"},
	{"hdb_catalog.hdb_version", "hasura_uuid", "Hasura", "use the vendor's own command (command: …)"},
	{"_prisma_migrations", "migration_name", "Prisma", "say format: prisma"},
	{"schema_version", "version", "tern", "say format: tern"},
	{"pgmigrations", "name", "node-pg-migrate", "say format: node-pg-migrate"},
	{"drizzle.__drizzle_migrations", "hash", "Drizzle", "say format: drizzle"},
	{"atlas_schema_revisions", "version", "Atlas", "say format: atlas"},
	{"atlas_schema_revisions.atlas_schema_revisions", "version", "Atlas, called without a search_path in its URL,", "use the vendor's own command (command: …)"},
	{"goose_db_version", "version_id", "goose", "say format: goose"},
	{"alembic_version", "version_num", "Alembic", "use the vendor's own command (command: …)"},
	{"django_migrations", "name", "Django", "use the vendor's own command (command: …)"},
	{"knex_migrations", "name", "Knex", "use the vendor's own command (command: …)"},
}

// otherTool refuses a database that another tool migrates, whose table would not be read: every file would run again.
func (g *Goose) otherTool(ctx context.Context, conn *pgx.Conn) error {
	const look = `SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped)`
	if g.from != 0 || g.scripts == nil {
		return nil
	}
	for _, o := range others {
		if o.tool == "goose" && !g.vendorRecords() {
			continue
		}
		var is bool
		if err := conn.QueryRow(ctx, look, o.table, o.column).Scan(&is); err != nil {
			return err
		}
		if is {
			text := fmt.Sprintf("the table %s is that of %s, and plain files don't say which of them it has noted", o.table, o.tool)
			if g.vendorRecords() {
				text = fmt.Sprintf("the table %s is that of %s, and the folder is read as %s's, whose table is not there", o.table, o.tool, g.scripts.Format)
			}
			return &FolderError{Text: text, Way: o.way + ", or say which version the database has (from)"}
		}
	}
	return nil
}

// unbegun refuses a database in which the vendor's table isn't there, where that can't mean that nothing has run: another tool's is, or the
// vendor's own would refuse it, since it has tables. What is ours counts for nothing.
func (g *Goose) unbegun(ctx context.Context, conn *pgx.Conn) error {
	const look = `SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname NOT LIKE 'tideover%'
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
		ORDER BY c.relname LIMIT 1`
	if err := g.otherTool(ctx, conn); err != nil || g.from != 0 || !g.scripts.Records().Fresh {
		return err
	}
	rows, err := conn.Query(ctx, look, g.schema)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(names) == 0 {
		return err
	}
	return &FolderError{Text: fmt.Sprintf("the database has tables (%s), and not %s's own (%s): %[2]s would refuse it", names[0], g.scripts.Format, g.scripts.Records().Table),
		Way: "say which version the database has (from)"}
}
