package replay

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
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
		AND (p.proname = 'judge' OR p.proname LIKE 'judge\_%' OR p.proname LIKE 'capture\_%') LOOP
		EXECUTE 'DROP FUNCTION ' || f;
	END LOOP;
END $$`

// installFunctions makes the trigger functions, one a table, and the judges.
//
// They run with the rights of who installs them: the server's role needs none on our schema.
func installFunctions(ctx context.Context, tx pgx.Tx, side Side, all map[string]*relation, found []source) error {
	for _, s := range found {
		if _, err := tx.Exec(ctx, captureFunction(side, all[s.table], s), pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("table %q: %w", s.table, err)
		}
	}
	var branches strings.Builder
	for _, s := range found {
		if s.judge == "" {
			continue
		}
		function, call, try, err := judgeFunction(all[s.table], s)
		if err != nil {
			return fmt.Errorf("profile: table %q: judge: %w", s.table, err)
		}
		if _, err := tx.Exec(ctx, function, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("profile: table %q: judge: %w", s.table, err)
		}
		// A judge that is wrong would fail every COMMIT of the server: better here.
		if _, err := tx.Exec(ctx, try, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("profile: table %q: judge: %w", s.table, err)
		}
		fmt.Fprintf(&branches, "\tIF NEW.table_name = %s THEN verdict := %s; END IF;\n", literal(s.table), call)
	}
	done := ""
	if side == Green { // only revocations go back
		done = ", applied_at = CASE WHEN verdict = 'revoked' THEN NULL ELSE clock_timestamp() END"
	}
	sql := `CREATE OR REPLACE FUNCTION tideover.judge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $tideover$
DECLARE verdict text;
BEGIN
` + branches.String() + `	verdict := coalesce(verdict, 'written');
	UPDATE tideover.change SET kind = verdict` + done + ` WHERE id = NEW.id;
	RETURN NULL;
END $tideover$;
DO $$ BEGIN
	IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = 'tideover.change'::regclass AND tgname = 'judge') THEN
		CREATE CONSTRAINT TRIGGER judge AFTER INSERT ON tideover.change DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.kind IS NULL) EXECUTE FUNCTION tideover.judge();
		ALTER TABLE tideover.change ENABLE ALWAYS TRIGGER judge;
	END IF;
END $$`
	_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}

// captureFunction is the trigger function of one table.
//
// A delete, an update and a truncate get their kind at COMMIT (NULL until then): in the middle of a transaction a
// rotation looks like a revocation. An update that changes the key is a delete and an insert: the old identity is gone.
func captureFunction(side Side, r *relation, s source) string {
	judged := "'written'"
	if s.judge != "" {
		judged = "NULL"
	}
	record := func(op, row, kind string) string {
		return fmt.Sprintf("INSERT INTO tideover.change (table_name, op, key, kept, kind) VALUES (%s, '%s', %s, %s, %s);",
			literal(s.table), op, object(row, s.key), object(row, s.keep), kind)
	}
	insert, moved := record("I", "NEW", "'written'"), record("I", "NEW", "'written'")
	if side == Green {
		insert, moved = "NULL;", "NULL;"
	}
	return `CREATE OR REPLACE FUNCTION ` + functionName("capture_", s.table) + `() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $tideover$
BEGIN
	IF current_setting('tideover.pass', true) = 'on' THEN
		RETURN NULL;
	END IF;
	IF TG_OP = 'INSERT' THEN
		` + insert + `
	ELSIF TG_OP = 'DELETE' THEN
		` + record("D", "OLD", judged) + `
	ELSIF TG_OP = 'UPDATE' THEN
		IF OLD *= NEW THEN
			RETURN NULL;
		ELSIF ` + object("OLD", s.key) + ` <> ` + object("NEW", s.key) + ` THEN
			` + record("D", "OLD", judged) + `
			` + moved + `
		ELSE
			` + record("U", "OLD", judged) + `
		END IF;
	ELSE
		-- A truncate removes rows that an old snapshot doesn't see: those can't be recorded.
		IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
			RAISE EXCEPTION 'tideover: TRUNCATE of a captured table needs READ COMMITTED' USING ERRCODE = 'feature_not_supported';
		END IF;
		INSERT INTO tideover.change (table_name, op, key, kept, kind)
		SELECT ` + literal(s.table) + `, 'D', ` + object("t", s.key) + `, ` + object("t", s.keep) + `, ` + judged + ` FROM ` + r.ident() + ` t;
	END IF;
	RETURN NULL;
END $tideover$`
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

// judgeFunction gives the function that judges a table's changes, its call from a change, and a trial call.
func judgeFunction(r *relation, s source) (function, call, try string, err error) {
	known := map[string]any{"op": "NEW.op"}
	types := map[string]string{"NEW.op": "text"}
	for i, columns := range [][]string{s.key, s.keep} {
		from := []string{"key", "kept"}[i]
		for _, name := range columns {
			c, _ := r.column(name)
			value := fmt.Sprintf("(NEW.%s ->> %s)::%s", from, literal(name), c.typ)
			known[name], types[value] = value, c.typ
		}
	}
	expr, values, err := postgres.Named(s.judge, known)
	if err != nil {
		return "", "", "", err
	}
	var params, args, nulls []string
	for _, v := range values {
		params = append(params, types[v.(string)])
		args = append(args, v.(string))
		nulls = append(nulls, "NULL::"+types[v.(string)])
	}
	name := functionName("judge_", s.table)
	function = `CREATE OR REPLACE FUNCTION ` + name + `(` + strings.Join(params, ", ") + `) RETURNS text LANGUAGE plpgsql
SET search_path = pg_catalog, ` + pgx.Identifier{r.schema}.Sanitize() + `, pg_temp AS $tideover$
BEGIN
	RETURN (` + expr + `
	);
END $tideover$`
	return function, name + "(" + strings.Join(args, ", ") + ")", "SELECT " + name + "(" + strings.Join(nulls, ", ") + ")", nil
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
	return "jsonb_build_object(" + strings.Join(parts, ", ") + ")"
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
