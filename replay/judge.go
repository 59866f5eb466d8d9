package replay

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// A change's kind says whether it took authority away. In the middle of a transaction a rotation looks like a
// revocation, so that the profile's judge is asked later, when the transaction is whole:
//
//	on blue    by the replayer, in the snapshot of its claim: a server that serves does not pay for it
//	on green   at COMMIT, by a deferred trigger: only revocations go back, and no replayer runs there that could drop
//	           the rest
//
// A chain that was revoked stays so, and what is not in force any more in the claim's snapshot need not be applied. So
// both come to the same.

// judged is the profile's judgement of a change, an expression of SQL. row names a relation, or NEW, that has the
// change's op (text), key and kept (jsonb); prefix is put before their names.
func judged(r *relation, s recorded, row, prefix string) (string, error) {
	known := map[string]string{"op": row + "." + prefix + "op"}
	for i, columns := range [][]string{s.key, s.keep} {
		from := row + "." + prefix + []string{"key", "kept"}[i]
		for _, name := range columns {
			c, _ := r.column(name)
			known[name] = "(" + from + " ->> " + literal(name) + ")::" + c.typ
		}
	}
	expr, err := postgres.Inline(s.judge, known)
	if err != nil {
		return "", fmt.Errorf("profile: table %q: judge: %w", s.table, err)
	}
	return expr, nil
}

// judgeSQL asks which of some changes of a table are revocations. $1 are their places (bigint[]), $2 to $4 op, key and
// kept (text[]). Names are long, so that a column in the profile's expression never means one of them.
func judgeSQL(r *relation, s recorded) (string, error) {
	expr, err := judged(r, s, "tideover_change", "tideover_")
	if err != nil {
		return "", err
	}
	return `SELECT tideover_change.tideover_place FROM (
	SELECT p, o, k::jsonb, t::jsonb FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) u(p, o, k, t)
) tideover_change(tideover_place, tideover_op, tideover_key, tideover_kept)
WHERE (` + expr + `
) = 'revoked'`, nil
}

// asksInserts says whether a judge wants to be asked about inserts: one that names them. Most authority is taken away by a
// delete or an update; in a deny list or a table of events, the row that comes is what takes it.
func asksInserts(judge string) bool { return strings.Contains(judge, "'I'") }

// judges find the revocations among changes, by table of blue.
type judges map[string]judgement

type judgement struct {
	sql     string // judgeSQL's
	inserts bool   // it is asked about inserts, too
}

// judgesOf makes the judges of captured tables.
func judgesOf(all map[string]*relation, found []recorded) (judges, error) {
	j := make(judges)
	for _, s := range found {
		if s.judge == "" {
			continue
		}
		sql, err := judgeSQL(all[s.table], s)
		if err != nil {
			return nil, err
		}
		j[s.table] = judgement{sql: sql, inserts: asksInserts(s.judge)}
	}
	return j, nil
}

// judge finds the kinds of changes that have none yet, in the snapshot of tx.
func (j judges) judge(ctx context.Context, tx pgx.Tx, claimed []change) error {
	for _, table := range sortedNames(j) {
		var places []int64
		var ops, keys, kept []string
		for i, c := range claimed {
			if c.kind != "" || c.table != table || c.op == "I" && !j[table].inserts {
				continue
			}
			key, err := json.Marshal(c.key)
			if err != nil {
				return err
			}
			rest, err := json.Marshal(c.kept)
			if err != nil {
				return err
			}
			places, ops, keys, kept = append(places, int64(i)), append(ops, c.op), append(keys, string(key)), append(kept, string(rest))
		}
		if len(places) == 0 {
			continue
		}
		rows, err := tx.Query(ctx, j[table].sql, places, ops, keys, kept)
		if err != nil {
			return fmt.Errorf("profile: table %q: judge: %w", table, err)
		}
		revoked, err := pgx.CollectRows(rows, pgx.RowTo[int64])
		if err != nil {
			return fmt.Errorf("profile: table %q: judge: %w", table, err)
		}
		for _, i := range revoked {
			claimed[i].kind = "revoked"
		}
	}
	return nil
}

// try asks each judge about nothing. One that is wrong is found before the run depends on it.
func (j judges) try(ctx context.Context, tx pgx.Tx) error {
	for table := range j {
		one := []change{{table: table, op: "D", key: map[string]any{}, kept: map[string]any{}}}
		if err := j.judge(ctx, tx, one); err != nil {
			return err
		}
	}
	return nil
}

// installJudge has changes judged at COMMIT. What is no revocation counts as applied then.
func installJudge(ctx context.Context, tx pgx.Tx, schema string, all map[string]*relation, found []recorded) error {
	var branches strings.Builder
	for _, s := range found {
		if s.judge == "" {
			continue
		}
		expr, err := judged(all[s.table], s, "NEW", "")
		if err != nil {
			return err
		}
		fmt.Fprintf(&branches, "\tIF NEW.table_name = %s THEN verdict := (%s\n\t); END IF;\n", literal(s.table), expr)
	}
	sql := `CREATE OR REPLACE FUNCTION tideover.judge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, ` + pgx.Identifier{schema}.Sanitize() + `, pg_temp AS $tideover$
#variable_conflict use_column
DECLARE verdict text;
BEGIN
` + branches.String() + `	IF verdict = 'revoked' THEN
		UPDATE tideover.change c SET kind = 'revoked' WHERE c.ctid = NEW.ctid;
	ELSE
		UPDATE tideover.change c SET applied_at = clock_timestamp() WHERE c.ctid = NEW.ctid;
	END IF;
	RETURN NULL;
END $tideover$;
DO $$ BEGIN
	IF NOT EXISTS (SELECT 1 FROM pg_catalog.pg_trigger WHERE tgrelid = 'tideover.change'::regclass AND tgname = 'judge') THEN
		CREATE CONSTRAINT TRIGGER judge AFTER INSERT ON tideover.change DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW EXECUTE FUNCTION tideover.judge();
		ALTER TABLE tideover.change ENABLE ALWAYS TRIGGER judge;
	END IF;
END $$`
	_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)
	return err
}
