package snapshot

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Code of blue's comes along with its schema and runs on green: a generated column, check, index or domain as soon as rows are
// there, a trigger or rule when a migration writes. Whoever owns it has had it run with the rights of blue's writers, never of a
// superuser. SET ROLE is no way to give rights up: what runs under it can RESET ROLE. So a session of a role that has more than a
// database's owner needs is not to bring code of roles that have less.

// Foreign is something of a role that is no superuser, which runs by itself.
type Foreign struct{ Object, Owner string }

// foreignSQL lists blue's code: functions of ordinary roles that anything depends on (an expression, trigger, operator, cast,
// type, aggregate), or that SQL of a profile or migrations could call, and expressions of theirs that call what the system, or a superuser, has for other ends: query_to_xml runs
// any SQL, lo_export writes the server's files. Harmless are functions that are not volatile, those of extensions that
// anybody may install (trusted), and the few volatile ones that defaults are made of. Names are looked for in the trees of stored
// expressions (pg_node_tree), since there is no record of who depends on the system's own functions.
const foreignSQL = `
WITH ordinary AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE NOT rolsuper),
own AS (
	SELECT f.oid, pg_catalog.format('function %I.%I(%s)', n.nspname, f.proname, pg_catalog.oidvectortypes(f.proargtypes)) AS name, r.rolname,
		(SELECT pg_catalog.min(pg_catalog.pg_describe_object(d.classid, d.objid, 0)) FROM pg_catalog.pg_depend d
			WHERE d.refclassid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refobjid = f.oid AND d.deptype <> 'e') AS caller,
		f.prorettype IN ('pg_catalog.trigger'::pg_catalog.regtype, 'pg_catalog.event_trigger'::pg_catalog.regtype) AS fired
	FROM pg_catalog.pg_proc f JOIN ordinary r ON r.oid = f.proowner JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
	WHERE n.nspname <> $1
),
written AS (
	SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass AS class, d.oid, c.relowner AS owner, d.adbin::text AS tree
		FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
	UNION ALL SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, k.oid, coalesce(c.relowner, t.typowner), k.conbin::text
		FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid LEFT JOIN pg_catalog.pg_type t ON t.oid = k.contypid
	UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relowner, pg_catalog.concat(i.indexprs, ' ', i.indpred)
		FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
	UNION ALL SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, c.relowner, pg_catalog.concat(p.partexprs, ' ', c.relpartbound)
		FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = c.oid
	UNION ALL SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, w.oid, c.relowner, pg_catalog.concat(w.ev_qual, ' ', w.ev_action)
		FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_class c ON c.oid = w.ev_class
	UNION ALL SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, p.oid, c.relowner, pg_catalog.concat(p.polqual, ' ', p.polwithcheck)
		FROM pg_catalog.pg_policy p JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
	UNION ALL SELECT 'pg_catalog.pg_trigger'::pg_catalog.regclass, t.oid, c.relowner,
			pg_catalog.concat(t.tgqual, CASE WHEN NOT t.tgisinternal THEN ' :funcid ' || t.tgfoid END)
		FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
		JOIN pg_catalog.pg_proc f ON f.oid = t.tgfoid JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace WHERE n.nspname <> $1
	UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, s.stxowner, pg_catalog.to_jsonb(s) ->> 'stxexprs'
		FROM pg_catalog.pg_statistic_ext s
	UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner, t.typdefaultbin::text FROM pg_catalog.pg_type t
	UNION ALL SELECT 'pg_catalog.pg_cast'::pg_catalog.regclass, c.oid, t.typowner, ' :funcid ' || c.castfunc
		FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_type t ON t.oid IN (c.castsource, c.casttarget) WHERE c.oid >= 16384
	UNION ALL SELECT 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, o.oprowner, ' :funcid ' || o.oprcode::oid
		FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
	UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, a.aggfnoid, f.proowner,
			pg_catalog.concat(' :funcid ', a.aggtransfn::oid, ' :funcid ', a.aggfinalfn::oid)
		FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc f ON f.oid = a.aggfnoid WHERE a.aggfnoid >= 16384
),
called AS (
	SELECT DISTINCT w.class, w.oid, r.rolname, coalesce(o.oprcode::oid, m[2]::oid) AS function
	FROM written w JOIN ordinary r ON r.oid = w.owner, pg_catalog.regexp_matches(w.tree, ':(opno|funcid|opfuncid|aggfnoid|winfnoid|eqfunction) (\d+)', 'g') m
	LEFT JOIN pg_catalog.pg_operator o ON m[1] = 'opno' AND o.oid = m[2]::oid
)
SELECT name || coalesce(', called by ' || caller, ', which a migration could call'), rolname::text FROM own WHERE caller IS NOT NULL OR NOT fired
UNION ALL
SELECT DISTINCT pg_catalog.pg_describe_object(c.class, c.oid, 0) || pg_catalog.format(', which calls %I.%I', n.nspname, f.proname), c.rolname::text
FROM called c JOIN pg_catalog.pg_proc f ON f.oid = c.function JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE NOT EXISTS (SELECT FROM ordinary r WHERE r.oid = f.proowner)
	AND (f.proname ~ '_to_xml(schema|_and_xmlschema)?$' OR f.provolatile = 'v' AND NOT (n.nspname = 'pg_catalog' AND f.proname IN ('nextval', 'currval', 'lastval',
		'random', 'random_normal', 'gen_random_uuid', 'uuidv4', 'uuidv7', 'clock_timestamp', 'timeofday', 'suppress_redundant_updates_trigger',
		'tsvector_update_trigger', 'tsvector_update_trigger_column')))
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
		JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.extname AND v.version = e.extversion AND v.trusted
		WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = f.oid AND d.deptype = 'e')
ORDER BY 1`

// ForeignCode lists what of blue's ordinary roles would run by itself.
func ForeignCode(ctx context.Context, blue *pgx.Conn) ([]Foreign, error) {
	rows, _ := blue.Query(ctx, foreignSQL, own) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Foreign])
	if err != nil {
		return nil, fmt.Errorf("look for code of ordinary roles: %w", err)
	}
	return found, nil
}

// mightySQL says whether our role has, or by SET ROLE can have, more than a database's owner needs: what would run in its sessions could reach the
// server's files and programs, or other roles (manual 22.5).
const mightySQL = `
SELECT EXISTS (SELECT FROM pg_catalog.pg_roles g
	WHERE (g.rolsuper OR g.rolcreaterole OR g.rolname IN ('pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')) AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER'))
FROM pg_catalog.pg_roles r WHERE r.rolname = SESSION_USER`

// Mighty says whether the role that a session began as has more than a database's owner needs.
func Mighty(ctx context.Context, conn *pgx.Conn) (mighty bool, err error) {
	if err := conn.QueryRow(ctx, mightySQL).Scan(&mighty); err != nil {
		return false, fmt.Errorf("look at our role: %w", err)
	}
	return mighty, nil
}

// Admit returns a [*ForeignCodeError] where blue has code of ordinary roles and our role on a side has more rights than a
// database's owner. green may be nil.
func Admit(ctx context.Context, blue, green *pgx.Conn) error {
	var sides []string
	for _, side := range []struct {
		name string
		conn *pgx.Conn
	}{{"blue", blue}, {"green", green}} {
		if side.conn == nil {
			continue
		}
		mighty, err := Mighty(ctx, side.conn)
		if err != nil {
			return fmt.Errorf("%s: %w", side.name, err)
		}
		if mighty {
			sides = append(sides, side.name)
		}
	}
	if len(sides) == 0 {
		return nil
	}
	found, err := ForeignCode(ctx, blue)
	if err != nil {
		return fmt.Errorf("blue: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	return &ForeignCodeError{Sides: sides, Found: found}
}

// ForeignCodeError says that code of ordinary roles was not let into sessions of a role that has more rights than they.
type ForeignCodeError struct {
	Sides []string
	Found []Foreign
}

// shownForeign is how many objects an error names.
const shownForeign = 10

func (e *ForeignCodeError) Error() string {
	var all []string
	for i, f := range e.Found {
		if i == shownForeign {
			all = append(all, fmt.Sprintf("%d more", len(e.Found)-i))
			break
		}
		all = append(all, fmt.Sprintf("%s (of role %q)", f.Object, f.Owner))
	}
	return fmt.Sprintf("our role on %s has rights that the owners of blue's code have not, and would run it: %s", strings.Join(e.Sides, " and on "), strings.Join(all, "; "))
}

// Hint says what can be done.
func (e *ForeignCodeError) Hint() string {
	ways := map[string]string{"blue": "connect blue as the owner of its tables", "green": "connect green as an ordinary role that owns its database"}
	var all []string
	for _, s := range e.Sides {
		all = append(all, ways[s])
	}
	return strings.Join(all, ", and ") + " (\"tideover grants\" prints the statements); or drop it, or have a superuser read it and own it"
}
