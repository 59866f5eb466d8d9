package preflight

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Limit is something that a database can have and a run can't bring over, or not surely so. It is refused before anything is
// changed. docs/limits.md is made of these.
type Limit struct {
	ID     string // the finding's check
	Reason string // behind the object's name
	Hint   string // the way on
	green  bool   // asked on green; else on blue
	// query lists what stands in the way: (object text, need text). $1 is the profile's schema, $2 the names of its tables whose
	// changes are captured, $3 the key columns that the profile names, by table (jsonb).
	query string
	// present lists what green has of the needs; an object whose need is there is none. "": every object is one.
	present string
	// only says of which runs it is asked; nil: of all.
	only func(Options) bool
}

// replica asks whether sessions of our role begin as those of a subscription's workers (manual 20.11): what is written in them is
// held against no foreign key.
const replica = `SELECT 'session_replication_role', '' WHERE pg_catalog.current_setting('session_replication_role') <> 'origin'`

const replicaWay = "find out who has set that, and take it back: ALTER DATABASE … or ALTER ROLE … RESET session_replication_role"

// Limits are all of them, in the order of the docs.
func Limits() []Limit {
	return []Limit{
		{
			ID: "standby", Reason: "is a standby, which nobody can write to", Hint: "name the primary in the connection string (target_session_attrs=read-write finds it)",
			query: `SELECT 'blue', '' WHERE pg_catalog.pg_is_in_recovery()`,
		},
		{
			ID: "green-standby", Reason: "is a standby, which nobody can write to", Hint: "name the primary in the connection string (target_session_attrs=read-write finds it)",
			green: true, query: `SELECT 'green', '' WHERE pg_catalog.pg_is_in_recovery()`,
		},
		{
			ID: "read-only", Reason: "is set to be read only (default_transaction_read_only)", Hint: "find out who has set that, and take it back: ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only",
			query: readOnly("blue"),
		},
		{
			ID: "green-read-only", Reason: "is set to be read only (default_transaction_read_only)", Hint: "find out who has set that, and take it back: ALTER DATABASE … or ALTER ROLE … RESET default_transaction_read_only",
			green: true, query: readOnly("green"),
		},
		{
			ID: "replica", Reason: "is set for our role so that foreign keys and triggers do not fire in its sessions on blue", Hint: replicaWay,
			query: replica,
		},
		{
			ID: "green-replica", Reason: "is set for our role so that foreign keys and triggers do not fire in its sessions on green", Hint: replicaWay,
			green: true, query: replica,
		},
		{
			ID: "green-locked", Reason: "is not for our role to create anything in", Hint: "GRANT CREATE ON DATABASE … and GRANT CREATE ON SCHEMA public TO our role on green, or make it the database's owner",
			green: true, query: `
SELECT 'green''s database', '' WHERE NOT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
UNION ALL SELECT 'green''s schema "public"', '' FROM pg_catalog.pg_namespace WHERE nspname = 'public' AND NOT pg_catalog.has_schema_privilege(oid, 'CREATE')`,
		},
		{
			ID: "prepared-transactions", Reason: "is prepared on blue: what it has written comes to light when it is committed, behind the copy and perhaps behind the fence", Hint: "COMMIT PREPARED or ROLLBACK PREPARED it (pg_prepared_xacts)",
			query: `SELECT pg_catalog.format('transaction %L of %s', gid, owner), '' FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database() ORDER BY 1`,
		},
		{
			ID: "row-security", Reason: "has policies that hide rows from our role on blue", Hint: "ALTER ROLE … BYPASSRLS for our role on blue, or ALTER TABLE … NO FORCE ROW LEVEL SECURITY where our role owns it",
			query: `
SELECT pg_catalog.format('table "%s.%s"', n.nspname, c.relname), '' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid) AND ` + theirs + ` ORDER BY 1`,
		},
		{
			ID: "deferrable-key", Reason: "has no key that holds at each moment: all of them are DEFERRABLE, and rows cannot be merged by such a key", Hint: "give it a unique index over the key's columns beside it (CREATE UNIQUE INDEX CONCURRENTLY), or make the key NOT DEFERRABLE",
			query: `
SELECT pg_catalog.format('table %I', c.relname), '' FROM ` + captured + `
WHERE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND NOT i.indimmediate)
AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
	AND NOT EXISTS (SELECT FROM pg_catalog.unnest(i.indkey::int2[]) k JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k WHERE NOT a.attnotnull))
ORDER BY 1`,
		},
		{
			ID: "generated-key", Reason: "is part of the key by which changes are recorded, and is generated: a row cannot be written by it", Hint: "name another key in the profile, or give the table one of columns that are written",
			query: `
SELECT DISTINCT pg_catalog.format('column %I of table %I', a.attname, c.relname), '' FROM ` + captured + `
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated <> ''
WHERE CASE WHEN $3::jsonb ? c.relname::text THEN ($3::jsonb -> c.relname::text) ? a.attname::text
	ELSE EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[])) END
ORDER BY 1`,
		},
		{
			ID: "rule", Reason: "rewrites what is written to a table that is captured; a merge into green would run it once more, or is refused by Postgres", Hint: "write it as a trigger, or drop it on blue before the run",
			query: `
SELECT pg_catalog.format('rule %I on table %I', r.rulename, c.relname), '' FROM ` + captured + ` JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid AND r.ev_type <> '1' ORDER BY 1`,
		},
		{
			ID: "foreign-partition", Reason: "is a foreign table: its rows are on another server, and are neither copied nor captured", Hint: "detach it on blue for the time of the run, and attach it on green afterwards",
			query: `
SELECT pg_catalog.format('partition "%s.%s"', n.nspname, c.relname), '' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'f' AND c.relispartition ORDER BY 1`,
		},
		{
			ID: "large-objects", Reason: "are on blue: no trigger can capture what is changed in them during the run", Hint: "move them into bytea columns, or take away those that nothing names (vacuumlo, lo_unlink)",
			query: `SELECT pg_catalog.count(*) || ' large objects', '' FROM pg_catalog.pg_largeobject_metadata HAVING pg_catalog.count(*) > 0`,
		},
		{
			ID: "extension-missing", Reason: "is not to be had on green's server", Hint: "install its package there, or drop the extension on blue if nothing needs it",
			query:   `SELECT pg_catalog.format('extension %I', extname), extname::text FROM pg_catalog.pg_extension ORDER BY 1`,
			present: `SELECT name::text FROM pg_catalog.pg_available_extensions`,
		},
		{
			ID: "role-missing", Reason: "names a role that green's server has not got", Hint: "CREATE ROLE … on green's server (NOLOGIN will do)",
			query: `
SELECT pg_catalog.format('policy %I on table %s (role %s)', p.polname, p.polrelid::pg_catalog.regclass, r.rolname), r.rolname::text
FROM pg_catalog.pg_policy p, pg_catalog.unnest(p.polroles) u JOIN pg_catalog.pg_roles r ON r.oid = u
UNION ALL SELECT pg_catalog.format('user mapping for server %I (role %s)', srvname, usename), usename::text FROM pg_catalog.pg_user_mappings WHERE umuser <> 0
ORDER BY 1`,
			present: `SELECT rolname::text FROM pg_catalog.pg_roles`,
		},
		{
			ID: "owner-missing", Reason: "belongs or is granted to a role that green's server has not got, and owners and grants are to come along (privileges: true)", Hint: "CREATE ROLE … on green's server (NOLOGIN will do), or leave privileges out of the step snapshot",
			query: `
SELECT pg_catalog.format('%s%s (role %s)', pg_catalog.min(pg_catalog.pg_describe_object(d.classid, d.objid, 0)),
	CASE WHEN pg_catalog.count(DISTINCT (d.classid, d.objid)) > 1 THEN pg_catalog.format(' and %s more', pg_catalog.count(DISTINCT (d.classid, d.objid)) - 1) END, r.rolname), r.rolname::text
FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_roles r ON r.oid = d.refobjid, LATERAL pg_catalog.pg_identify_object(d.classid, d.objid, 0) o
WHERE o.schema IS DISTINCT FROM 'tideover' AND (o.type, o.name) IS DISTINCT FROM ('schema', 'tideover') AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.deptype IN ('o', 'a') AND d.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
GROUP BY r.rolname ORDER BY 1`,
			present: `SELECT rolname::text FROM pg_catalog.pg_roles`,
			only:    func(o Options) bool { return o.Privileges },
		},
		{
			ID: "definer-function", Reason: "runs with its owner's rights (SECURITY DEFINER) and is not for everybody on blue; on green, where grants don't come along, everybody could call it", Hint: "privileges: true on the step snapshot; or GRANT EXECUTE ON FUNCTION … TO PUBLIC on blue, if it is for everybody",
			query: `
SELECT pg_catalog.format('function %s', f.oid::pg_catalog.regprocedure), '' FROM pg_catalog.pg_proc f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE f.prosecdef AND f.prorettype NOT IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype) AND ` + theirs + `
	AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(coalesce(f.proacl, pg_catalog.acldefault('f', f.proowner))) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid AND d.deptype = 'e') ORDER BY 1`,
			only: func(o Options) bool { return !o.Privileges },
		},
		{
			ID: "unlogged-table", Reason: "is UNLOGGED: the log, from which changes are to be read, does not have them", Hint: "capture with triggers (source: triggers), or ALTER TABLE … SET LOGGED",
			query: `SELECT pg_catalog.format('table %s', c.oid::pg_catalog.regclass), '' FROM ` + captured + ` WHERE c.relpersistence = 'u' ORDER BY 1`,
			only:  func(o Options) bool { return o.FromLog },
		},
	}
}

// captured is the profile's tables whose changes are recorded.
const captured = `pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND CASE WHEN n.nspname = $1 THEN c.relname::pg_catalog.text ELSE n.nspname || '.' || c.relname END = ANY ($2::text[]) AND c.relkind IN ('r', 'p')`

// theirs leaves out the system's schemas and ours.
const theirs = `n.nspname NOT LIKE 'pg\_%' AND n.nspname NOT IN ('information_schema', 'tideover')`

// readOnly asks for what new sessions get: our own looks are read only by our own setting.
func readOnly(side string) string {
	return `SELECT '` + side + `', '' FROM pg_catalog.pg_settings WHERE name = 'default_transaction_read_only' AND reset_val = 'on'`
}

// limits refuses what a run can't bring over, each by its name.
func (c *check) limits(ctx context.Context) error {
	names, keys := []string{}, map[string][]string{}
	for _, t := range c.Profile.Tables {
		if t.Captured() {
			names = append(names, t.Name)
		}
		if len(t.Key) > 0 {
			keys[t.Name] = t.Key
		}
	}
	for _, l := range Limits() {
		if l.only != nil && !l.only(c.Options) {
			continue
		}
		conn, side := c.blue, "blue"
		if l.green {
			conn, side = c.green, "green"
		}
		found, err := l.look(ctx, conn, c.schema, names, keys)
		if err != nil {
			return fmt.Errorf("%s: look for %s: %w", side, l.ID, err)
		}
		var present []string
		if l.present != "" {
			rows, err := c.green.Query(ctx, l.present)
			if err == nil {
				present, err = pgx.CollectRows(rows, pgx.RowTo[string])
			}
			if err != nil {
				return fmt.Errorf("green: look for %s: %w", l.ID, err)
			}
		}
		for _, o := range found {
			if !slices.Contains(present, o.Need) {
				c.add(Fail, l.ID, o.Object+" "+l.Reason, l.Hint, 0)
			}
		}
	}
	return nil
}

// obstacle is an object of blue or green that a limit is about, and what it needs.
type obstacle struct{ Object, Need string }

// look takes the parameters that the query has: a query without them is refused them.
func (l Limit) look(ctx context.Context, conn *pgx.Conn, schema string, tables []string, keys map[string][]string) ([]obstacle, error) {
	sql := `WITH given AS (SELECT $1::text, $2::text[], $3::jsonb) ` + l.query
	rows, err := conn.Query(ctx, sql, schema, tables, keys)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[obstacle])
}
