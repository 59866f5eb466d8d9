package replay

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// removeSQL drops what the capture made, and leaves the rest of the schema (fence, journal, ledger) alone.
const removeSQL = `DO $$
DECLARE f regprocedure;
BEGIN
	IF to_regnamespace('tideover') IS NULL THEN
		RETURN;
	END IF;
	DROP VIEW IF EXISTS tideover.recorded;
	DROP TABLE IF EXISTS tideover.captured, tideover.shape, tideover.change, tideover.capture, tideover.trail, tideover.homebound;
	DROP SEQUENCE IF EXISTS tideover.missed;
	FOR f IN SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'tideover'::regnamespace
		AND (p.proname = 'judge' OR p.proname LIKE 'capture\_%') LOOP
		EXECUTE 'DROP FUNCTION ' || f;
	END LOOP;
END $$;` + postgres.NoPassSQL

// trigger is one of a table's triggers and its function. There is a function for each kind of statement: what happened is
// then known, and does not have to be asked for in every call.
type trigger struct {
	name, function, body string
	form                 string // the function's own settings
	when                 string // such as "AFTER INSERT"
	each                 string // ROW or STATEMENT
}

// passed says whether the session is ours. A session that has never heard of the setting has NULL.
const passed = postgres.Passed

// wholeSQL refuses a truncate that removes rows which an old snapshot doesn't see: those can't be recorded.
const wholeSQL = `IF NOT (pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.=) ANY ('{read committed,read uncommitted}'::pg_catalog.text[])) THEN
		RAISE EXCEPTION 'tideover: TRUNCATE of a captured table needs READ COMMITTED' USING ERRCODE = 'feature_not_supported';
	END IF;
	`

// triggersOf makes the triggers of one table, whose rows in the intake have the number shape: blue's write there, and
// green's, which has few changes to record, into the queue.
//
// Blue's are the price of capture, paid by every write of a server that is at work: for starting, since each expression of
// PL/pgSQL and each statement in it is made ready anew in every transaction, and for what is written. So a function is one
// statement that asks nothing; RETURN names a row that is there, since RETURN NULL would be an expression; and what can be
// worked out later (what an insert is, that an update has changed nothing) is not asked. What we ourselves
// write on blue is recorded too: the replay finds nothing to do.
//
// A delete, an update and a truncate come without a kind (judge.go). An update that changes the key is a delete and an
// insert, since the old identity is gone: on blue the queue makes it so. On green one that changes nothing is none.
//
// A function has no search_path of its own, which would cost more than what it does: so each name in it is qualified,
// operators too, and it means the same whatever the path of the session that fires it.
func triggersOf(side plan.Side, r *relation, s recorded, shape int) []trigger {
	// It is fired by each table that is emptied, a partition by itself too, for its own rows.
	var inserted, updated, deleted, truncated string
	emptied := func(record string) string {
		return wholeSQL + "EXECUTE pg_catalog.concat(" + literal(record+" FROM ONLY ") + ", TG_RELID::pg_catalog.regclass, ' t');"
	}
	if side == plan.Blue {
		record := func(op, row string) string { return captured(r, s, shape, op, row) }
		inserted, updated, deleted = record("I", "NEW")+";", record("U", "OLD")+";", record("D", "OLD")+";"
		truncated = emptied(record("D", "t"))
	} else {
		record := func(op, row string) string { return queued(r, s, op, row) }
		updated = record("U", "OLD") + " WHERE " + passed + " IS NOT TRUE AND NOT OLD OPERATOR(pg_catalog.*=) NEW;"
		deleted = record("D", "OLD") + " WHERE " + passed + " IS NOT TRUE;"
		updated = "IF " + moves(r, s.key) + " THEN " + deleted + " ELSE " + updated + " END IF;"
		truncated = "IF " + passed + " THEN RETURN NULL; END IF;\n\t" + emptied(record("D", "t"))
		if asksInserts(s.judge) {
			inserted = record("I", "NEW") + " WHERE " + passed + " IS NOT TRUE;"
		}
	}

	name := func(op string) string { return functionName("capture_"+op+"_", s.table) }
	form := formSQL(r, s)
	all := []trigger{
		{"tideover_capture_update", name("update"), updated + " RETURN NEW;", form, "AFTER UPDATE", "ROW"},
		{"tideover_capture_delete", name("delete"), deleted + " RETURN OLD;", form, "AFTER DELETE", "ROW"},
		{"tideover_capture_truncate", name("truncate"), truncated + " RETURN NULL;", form, "BEFORE TRUNCATE", "STATEMENT"},
	}
	if inserted != "" {
		all = append(all, trigger{"tideover_capture_insert", name("insert"), inserted + " RETURN NEW;", form, "AFTER INSERT", "ROW"})
	}
	return all
}

// queued is the SQL that records a change of a row in the queue, without its condition.
func queued(r *relation, s recorded, op, row string) string {
	return fmt.Sprintf("INSERT INTO tideover.change (table_name, op, key, kept) SELECT %s, '%s', %s, %s", literal(s.table), op, object(r, row, s.key), kept(r, row, s.keep))
}

// functionsSQL makes the functions of a table's triggers. They run with the rights of who installs them: the server's
// role needs none on our schema. Lenient ones let a change that can't be recorded go through, and count it. A cancelled
// statement is no such change.
func functionsSQL(all []trigger, lenient bool) string {
	or := ""
	if lenient {
		or = `EXCEPTION WHEN OTHERS THEN
	PERFORM pg_catalog.nextval('tideover.missed');
	RAISE LOG 'tideover: a change of table % is not recorded (SQLSTATE %)', TG_TABLE_NAME, SQLSTATE;
	RETURN NULL;
`
	}
	var sql strings.Builder
	for _, t := range all {
		fmt.Fprintf(&sql, "CREATE OR REPLACE FUNCTION %s() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER%s AS $tideover$\nBEGIN\n\t%s\n%sEND $tideover$;\n",
			qualified(t.function), t.form, t.body, or)
	}
	return sql.String()
}

// triggersSQL puts all triggers on a table, or none. They fire for session_replication_role = replica too. Postgres gives
// a partition the triggers of rows by itself, and not that of TRUNCATE.
func triggersSQL(r *relation, all []trigger) string {
	var sql strings.Builder
	on := func(table string, some []trigger) {
		var always []string
		for _, t := range some {
			fmt.Fprintf(&sql, "CREATE OR REPLACE TRIGGER %s %s ON %s FOR EACH %s EXECUTE FUNCTION %s();\n", t.name, t.when, table, t.each, qualified(t.function))
			always = append(always, "ENABLE ALWAYS TRIGGER "+t.name)
		}
		sql.WriteString("ALTER TABLE " + table + " " + strings.Join(always, ", ") + ";\n")
	}
	on(r.ident(), all)
	for _, p := range r.partitions {
		on(p, slices.DeleteFunc(slices.Clone(all), func(t trigger) bool { return t.each != "STATEMENT" }))
	}
	return sql.String()
}

// moves says whether an update changes the key. Columns of the primary key are never NULL and can be compared as text,
// which is cheaper.
func moves(r *relation, key []string) string {
	var differ []string
	for _, c := range key {
		if !slices.Contains(r.primary, c) {
			return object(r, "OLD", key) + " OPERATOR(pg_catalog.<>) " + object(r, "NEW", key)
		}
		name := pgx.Identifier{c}.Sanitize()
		differ = append(differ, fmt.Sprintf(`OLD.%s::pg_catalog.text COLLATE pg_catalog."C" OPERATOR(pg_catalog.<>) NEW.%[1]s::pg_catalog.text`, name))
	}
	return strings.Join(differ, " OR ")
}

// functionName is a name in our schema, no longer than Postgres takes: it would cut a longer one off, and two tables
// would have one function.
func functionName(prefix, table string) string {
	const most = 63 // NAMEDATALEN - 1
	name := prefix + table
	if len(name) <= most {
		return name
	}
	sum := fnv.New64a()
	sum.Write([]byte(table))
	tail := fmt.Sprintf("_%x", sum.Sum64())
	return strings.ToValidUTF8(name[:most-len(tail)], "") + tail
}

func qualified(function string) string { return pgx.Identifier{"tideover", function}.Sanitize() }

// kept is the SQL of the columns that are recorded beside the key; NULL where there are none.
func kept(r *relation, row string, columns []string) string {
	if len(columns) == 0 {
		return "NULL"
	}
	return object(r, row, columns)
}

// object is the SQL of a JSON object of columns of a row, each as [text] writes it.
func object(r *relation, row string, columns []string) string {
	var parts []string
	for _, c := range columns {
		parts = append(parts, literal(c)+", "+text(r, row, c))
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
