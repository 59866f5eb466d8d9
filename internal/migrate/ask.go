package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/sqlrewrite"
)

// querier is a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Unproved asks the database's catalog which of the statements can't be done in batches: by their jobs, why not.
func Unproved(ctx context.Context, db querier, asks []sqlrewrite.Ask) (map[string]string, error) {
	var all map[string]string
	for _, a := range asks {
		why, err := unproved(ctx, db, a)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: look whether it can be done in batches: %w", a.File, a.Line, err)
		}
		if why != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[a.Job] = why
		}
	}
	return all, nil
}

func unproved(ctx context.Context, db querier, a sqlrewrite.Ask) (string, error) {
	const there = `SELECT coalesce(pg_catalog.to_regclass($1)::text, '')`
	var why *string
	if err := db.QueryRow(ctx, a.SQL()).Scan(&why); err != nil {
		return "", err
	}
	if why != nil {
		return *why, nil
	}
	var table string
	if err := db.QueryRow(ctx, there, a.Table).Scan(&table); err != nil || table == "" {
		return "", err // a migration before it makes the table
	}
	var names, types []string
	switch err := db.QueryRow(ctx, a.KeySQL()).Scan(&names, &types); {
	case err == nil:
		return "", nil
	case !errors.Is(err, pgx.ErrNoRows):
		return "", err
	}
	var rows int64
	if err := db.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM (SELECT FROM %s LIMIT %d) few", a.Table, sqlrewrite.MostWithoutKey+1)).Scan(&rows); err != nil {
		return "", err
	}
	if rows > sqlrewrite.MostWithoutKey {
		return fmt.Sprintf("%s has more than %d rows, and no key that is never NULL, isn't written, and is of a plain type", table, sqlrewrite.MostWithoutKey), nil
	}
	return "", nil
}

// noDefaults says of which columns the database has no default, though rows may lack a value in them.
func noDefaults(ctx context.Context, db querier, columns []sqlrewrite.Column) (map[sqlrewrite.Column]string, error) {
	const look = `SELECT a.attnotnull, a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL
		FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
		WHERE a.attrelid = pg_catalog.to_regclass($1) AND a.attname = $2 AND NOT a.attisdropped`
	var bare map[sqlrewrite.Column]string
	for _, c := range columns {
		why := ""
		var notNull, has bool
		switch err := db.QueryRow(ctx, look, c.Table, c.Column).Scan(&notNull, &has); {
		case errors.Is(err, pgx.ErrNoRows):
			why = "it isn't there yet, and no script shows one"
		case err != nil:
			return nil, fmt.Errorf("look whether %s.%s has a default: %w", c.Table, c.Column, err)
		case !notNull && !has:
			why = "as the catalog shows"
		}
		if why != "" {
			if bare == nil {
				bare = map[sqlrewrite.Column]string{}
			}
			bare[c] = why
		}
	}
	return bare, nil
}

// partitioned says which tables and indexes have partitions.
func partitioned(ctx context.Context, db querier, relations []string) (map[string]bool, error) {
	const look = `SELECT coalesce((SELECT c.relkind IN ('p', 'I') FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1)), false)`
	var parts map[string]bool
	for _, r := range relations {
		var is bool
		if err := db.QueryRow(ctx, look, r).Scan(&is); err != nil {
			return nil, fmt.Errorf("look whether %s has partitions: %w", r, err)
		}
		if is {
			if parts == nil {
				parts = map[string]bool{}
			}
			parts[r] = true
		}
	}
	return parts, nil
}

// domains are the types that are domains, with what they or those that they are made of say of values.
func domains(ctx context.Context, db querier, types []string) (map[string]sqlrewrite.Domain, error) {
	const look = `WITH RECURSIVE chain AS (SELECT t.oid, t.typnotnull, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype($1) AND t.typtype = 'd'
			UNION ALL SELECT b.oid, b.typnotnull, b.typbasetype FROM chain c JOIN pg_catalog.pg_type b ON b.oid = c.typbasetype AND b.typtype = 'd')
		SELECT bool_or(c.typnotnull), bool_or(EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.contypid = c.oid AND k.contype = 'c')),
			(SELECT coalesce(pg_catalog.pg_get_expr(t.typdefaultbin, 0), t.typdefault, '') FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype($1))
		FROM chain c HAVING count(*) > 0`
	var found map[string]sqlrewrite.Domain
	for _, t := range types {
		var d sqlrewrite.Domain
		switch err := db.QueryRow(ctx, look, t).Scan(&d.NotNull, &d.Checks, &d.Default); {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return nil, fmt.Errorf("look whether the type %s is a domain: %w", t, err)
		default:
			if found == nil {
				found = map[string]sqlrewrite.Domain{}
			}
			found[t] = d
		}
	}
	return found, nil
}

// deferred says what in tables sets a constraint or a trigger off that is looked at when a transaction ends; what is ours is none.
func deferred(ctx context.Context, db querier, tables []string) (map[string]sqlrewrite.Writes, error) {
	const look = `SELECT coalesce(bit_or(t.tgtype::integer), 0) FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
		WHERE t.tgrelid = pg_catalog.to_regclass($1) AND t.tginitdeferred AND t.tgenabled <> 'D' AND t.tgname NOT LIKE 'tideover\_%'
			AND p.pronamespace <> coalesce(pg_catalog.to_regnamespace('tideover')::oid, 0)`
	found := map[string]sqlrewrite.Writes{}
	for _, t := range tables {
		var writes int32
		if err := db.QueryRow(ctx, look, t).Scan(&writes); err != nil {
			return nil, fmt.Errorf("look whether %s has a deferred constraint: %w", t, err)
		}
		found[t] = sqlrewrite.Writes(writes)
	}
	return found, nil
}

// owners are the roles that tables belong to, where that isn't ours.
func owners(ctx context.Context, db querier, tables []string) (map[string]string, error) {
	const look = `SELECT pg_catalog.pg_get_userbyid(c.relowner)::text FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass($1) AND pg_catalog.pg_get_userbyid(c.relowner) <> CURRENT_USER`
	var found map[string]string
	for _, t := range tables {
		var owner string
		switch err := db.QueryRow(ctx, look, t).Scan(&owner); {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return nil, fmt.Errorf("look whose %s is: %w", t, err)
		default:
			if found == nil {
				found = map[string]string{}
			}
			found[t] = owner
		}
	}
	return found, nil
}

// takenNames are the names of a database's relations and constraints outside the system's schemas.
func takenNames(ctx context.Context, db querier) (sqlrewrite.Taken, error) {
	const columns = `ARRAY(SELECT a.attname::text FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
		WHERE d.classid = %s AND d.objid = c.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = t.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
		UNION SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = ANY (%s))`
	look := `SELECT n.nspname::text, c.relname::text, false, coalesce(t.relname::text, ''), ` + fmt.Sprintf(columns, "'pg_catalog.pg_class'::pg_catalog.regclass", "x.conkey") + `
		FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid LEFT JOIN pg_catalog.pg_constraint x ON x.conindid = c.oid AND x.contype IN ('p', 'u', 'x')
		LEFT JOIN pg_catalog.pg_depend s ON c.relkind = 'S' AND s.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND s.objid = c.oid
			AND s.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND s.refobjsubid > 0
		LEFT JOIN pg_catalog.pg_class t ON t.oid = coalesce(i.indrelid, s.refobjid) AND t.relnamespace = c.relnamespace
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
		UNION ALL SELECT n.nspname::text, c.conname::text, true, coalesce(t.relname::text, ''), ` + fmt.Sprintf(columns, "'pg_catalog.pg_constraint'::pg_catalog.regclass", "c.conkey") + `
		FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace LEFT JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
		WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'`
	var taken sqlrewrite.Taken
	if err := db.QueryRow(ctx, `SELECT coalesce(pg_catalog.current_schema()::text, '')`).Scan(&taken.Schema); err != nil {
		return taken, fmt.Errorf("look which names are taken: %w", err)
	}
	rows, err := db.Query(ctx, look)
	if err == nil {
		taken.Names, err = pgx.CollectRows(rows, pgx.RowToStructByPos[sqlrewrite.TakenName])
	}
	if err != nil {
		return taken, fmt.Errorf("look which names are taken: %w", err)
	}
	return taken, nil
}

// named is what the migrations before a statement do to names.
type named struct {
	freed   map[string]bool // that they may give free; "" is any
	made    map[string]bool // of the indexes that they build, quoted as SQL
	may     map[string]bool // that an index may have, quoted, without its schema
	dropped map[string]bool // of the indexes that they drop, quoted
}

// taken refuses a script that builds an index whose name something else has. As written it would fail, or, with IF NOT EXISTS, be
// passed over without a word; ours would fail half way, or keep an index that isn't the one. And one that drops an index that isn't
// there, which ours would pass over.
func taken(ctx context.Context, db querier, s *sqlrewrite.Script, named named) error {
	freed, made := named.freed, named.made
	const look = `SELECT pg_catalog.to_regclass($1) IS NOT NULL, EXISTS (SELECT FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)
		AND indrelid = pg_catalog.to_regclass($2) AND indisunique = $3 AND indisvalid)`
	for _, b := range s.Names() {
		for _, n := range b.Frees {
			freed[n] = true
		}
		for _, d := range b.Drops {
			var there bool
			if err := db.QueryRow(ctx, `SELECT pg_catalog.to_regclass($1) IS NOT NULL`, d).Scan(&there); err != nil {
				return fmt.Errorf("%s:%d: look whether %s is there: %w", s.Name, b.Line, d, err)
			}
			if may := named.may[d[strings.LastIndex(d, ".\"")+1:]] || named.may[`""`]; !may && (!there || named.dropped[d]) {
				return &FolderError{File: s.Name, Text: fmt.Sprintf("line %d fails as written: there is no index %s", b.Line, d), Way: "take the statement out, or write IF EXISTS"}
			}
			named.dropped[d], made[d] = true, false
			delete(named.may, d[strings.LastIndex(d, ".\"")+1:])
		}
		for _, n := range b.Makes {
			named.may[pgx.Identifier{n}.Sanitize()] = true
		}
		if b.Index == "" || freed[""] || freed[b.Name] {
			continue
		}
		if made[b.Index] && !b.IfNotExists {
			return &FolderError{File: s.Name, Text: fmt.Sprintf("line %d fails as written: the name %s is taken by an index that the migrations have built before", b.Line, b.Index), Way: "give the index another name"}
		}
		made[b.Index] = true
		var there, same bool
		if err := db.QueryRow(ctx, look, b.Index, b.Table, b.Unique).Scan(&there, &same); err != nil {
			return fmt.Errorf("%s:%d: look whether the name %s is free: %w", s.Name, b.Line, b.Index, err)
		}
		switch {
		case !there || b.IfNotExists && same:
		case b.IfNotExists:
			return &FolderError{File: s.Name, Text: fmt.Sprintf("line %d builds no index, since something else has the name %s, or an index of that name is not valid", b.Line, b.Index),
				Way: "give the index another name, or take the statement out"}
		default:
			return &FolderError{File: s.Name, Text: fmt.Sprintf("line %d fails as written: the name %s is taken", b.Line, b.Index), Way: "give the index another name, or take away what has this one"}
		}
	}
	return nil
}

// LiveOn rewrites a script for the database at hand: what its catalog doesn't let be done in batches stays whole, and is a hazard.
func LiveOn(ctx context.Context, db querier, s *sqlrewrite.Script, allowed []string) (sqlrewrite.Rewritten, error) {
	r, err := sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed})
	if err != nil {
		return r, err
	}
	// What stays whole may bring other statements into one file, but asks nothing new.
	found, err := Unproved(ctx, db, r.Asks())
	if err != nil {
		return r, err
	}
	bare, err := noDefaults(ctx, db, r.NotNulls())
	if err != nil {
		return r, err
	}
	parts, err := partitioned(ctx, db, r.Relations())
	if err != nil {
		return r, err
	}
	types, err := domains(ctx, db, r.Types())
	if err != nil {
		return r, err
	}
	ends, err := deferred(ctx, db, r.Written())
	if err != nil {
		return r, err
	}
	whose, err := owners(ctx, db, r.Serials())
	if err != nil {
		return r, err
	}
	names, err := takenNames(ctx, db)
	if err != nil {
		return r, err
	}
	return sqlrewrite.LiveWith(s, sqlrewrite.Given{Allowed: allowed, Unproved: found, NoDefault: bare, Partitioned: parts, Taken: names, Domains: types, Deferred: ends, Owners: whose})
}
