package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// removeSQL drops what the capture made, and leaves the rest of the schema (fence, journal, ledger) alone.
const removeSQL = `DO $$
DECLARE f regprocedure;
BEGIN
	IF to_regnamespace('tideover') IS NULL THEN
		RETURN;
	END IF;
	DROP TABLE IF EXISTS tideover.change, tideover.capture;
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'tideover'::regnamespace
		AND (p.proname = 'judge' OR p.proname LIKE 'capture\_%') LOOP
		EXECUTE 'DROP FUNCTION ' || f;
	END LOOP;
END $$`

// installFunctions makes the trigger functions, one a table.
//
// They run with the rights of who installs them: the server's role needs none on our schema.
func installFunctions(ctx context.Context, tx pgx.Tx, side Side, all map[string]*relation, found []source) error {
	for _, s := range found {
		if _, err := tx.Exec(ctx, captureFunction(side, all[s.table], s), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("table %q: %w", s.table, err)
		}
	}
	return nil
}

// captureFunction is the trigger function of one table.
//
// A delete, an update and a truncate of a table that the profile judges come without a kind (judge.go). An update that
// changes the key is a delete and an insert: the old identity is gone.
//
// The function has no search_path of its own, which would cost more than what it does: so each name in it is qualified,
// operators too, and it means the same whatever the path of the session that fires it.
func captureFunction(side Side, r *relation, s source) string {
	judged := "'written'"
	if s.judge != "" {
		judged = "NULL"
	}
	record := func(op, row, kept, kind string) string {
		return fmt.Sprintf("INSERT INTO tideover.change (table_name, op, key, kept, kind) VALUES (%s, '%s', %s, %s, %s);",
			literal(s.table), op, object(row, s.key), kept, kind)
	}
	// What a new row was before, nobody asks.
	insert := record("I", "NEW", "'{}'", "'written'")
	moved, old := insert, object("OLD", s.keep)
	if side == Green {
		insert, moved = "NULL;", "NULL;"
	}
	return `CREATE OR REPLACE FUNCTION ` + functionName("capture_", s.table) + `() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $tideover$
BEGIN
	IF pg_catalog.current_setting('tideover.pass', true) OPERATOR(pg_catalog.=) 'on' THEN
		RETURN NULL;
	END IF;
	IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
		` + insert + `
	ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
		` + record("D", "OLD", old, judged) + `
	ELSIF TG_OP OPERATOR(pg_catalog.=) 'UPDATE' THEN
		IF OLD OPERATOR(pg_catalog.*=) NEW THEN
			RETURN NULL;
		ELSIF ` + moves(r, s.key) + ` THEN
			` + record("D", "OLD", old, judged) + `
			` + moved + `
		ELSE
			` + record("U", "OLD", old, judged) + `
		END IF;
	ELSE
		-- A truncate removes rows that an old snapshot doesn't see: those can't be recorded.
		IF NOT (pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) ANY ('{read committed,read uncommitted}'::pg_catalog.text[])) THEN
			RAISE EXCEPTION 'tideover: TRUNCATE of a captured table needs READ COMMITTED' USING ERRCODE = 'feature_not_supported';
		END IF;
		INSERT INTO tideover.change (table_name, op, key, kept, kind)
		SELECT ` + literal(s.table) + `, 'D', ` + object("t", s.key) + `, ` + object("t", s.keep) + `, ` + judged + ` FROM ` + r.ident() + ` t;
	END IF;
	RETURN NULL;
END $tideover$`
}

// moves says whether an update changes the key. Columns of the primary key are never NULL and can be compared as text,
// which is cheaper.
func moves(r *relation, key []string) string {
	var differ []string
	for _, c := range key {
		if !slices.Contains(r.primary, c) {
			return object("OLD", key) + " OPERATOR(pg_catalog.<>) " + object("NEW", key)
		}
		name := pgx.Identifier{c}.Sanitize()
		differ = append(differ, fmt.Sprintf(`OLD.%s::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.<>) NEW.%[1]s::pg_catalog.text`, name))
	}
	return strings.Join(differ, " OR ")
}

// triggersSQL puts both triggers on a table, or neither. They fire for session_replication_role = replica too.
func triggersSQL(side Side, r *relation) string {
	ops := "INSERT OR UPDATE OR DELETE"
	if side == Green {
		ops = "UPDATE OR DELETE"
	}
	function := functionName("capture_", r.name)
	return `CREATE OR REPLACE TRIGGER tideover_capture AFTER ` + ops + ` ON ` + r.ident() + ` FOR EACH ROW EXECUTE FUNCTION ` + function + `();
CREATE OR REPLACE TRIGGER tideover_capture_truncate BEFORE TRUNCATE ON ` + r.ident() + ` FOR EACH STATEMENT EXECUTE FUNCTION ` + function + `();
ALTER TABLE ` + r.ident() + ` ENABLE ALWAYS TRIGGER tideover_capture, ENABLE ALWAYS TRIGGER tideover_capture_truncate`
}

func functionName(prefix, table string) string {
	return pgx.Identifier{"tideover", prefix + table}.Sanitize()
}

// object is the SQL of a JSON object of columns of a row.
func object(row string, columns []string) string {
	var parts []string
	for _, c := range columns {
		parts = append(parts, literal(c)+", "+row+"."+pgx.Identifier{c}.Sanitize())
	}
	return "pg_catalog.jsonb_build_object(" + strings.Join(parts, ", ") + ")"
}

// literal is a SQL string. The backslash form is right whatever standard_conforming_strings says.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// sortedNames are the keys of a set in order.
func sortedNames[V any](set map[string]V) []string {
	names := make([]string, 0, len(set))
	for n := range set {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
