package snapshot

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// NotCapturedError says that a copy cannot go on, because of a table that it had copied nobody has recorded the changes
// since.
type NotCapturedError struct{ Table string }

func (e *NotCapturedError) Error() string {
	return fmt.Sprintf("table %s was copied before, and its changes since then were not captured: the rest of the copy would not fit to it", e.Table)
}

// Hint says what is left.
func (e *NotCapturedError) Hint() string {
	return "roll back, which empties green, and start again; the capture step must stand before the snapshot and stay in force"
}

// catchUp brings the relations that an earlier snapshot of blue was copied of to the moment of this one, so that green has
// one moment again: unique indexes and foreign keys that hold on blue hold there.
//
// The keys that changed since are known, because capture was on before the first snapshot. Their rows are taken off green, and
// read again from this snapshot. A relation that no trigger records is emptied, to be copied again, unless one
// should: then the capture was lost, and the run with it.
func (c *copying) catchUp(ctx context.Context, blue, green *session, all []relation) error {
	for _, r := range all {
		parts := c.marks.parts[r.String()]
		if len(parts) == 0 || !slices.ContainsFunc(parts, func(p markedPart) bool { return p.taken != c.taken }) {
			continue
		}
		c.meter.say("what changed in " + r.String() + " since it was copied")
		switch {
		case !recorded(r, parts) && c.Triggers && captures(c.Profile, r):
			return &NotCapturedError{r.String()}
		case !recorded(r, parts), !r.root && slices.ContainsFunc(parts, func(p markedPart) bool { return p.file != r.file }):
			if err := forget(ctx, green.Conn, r); err != nil {
				return fmt.Errorf("table %s: empty it on green: %w", r, err)
			}
			delete(c.marks.parts, r.String())
		default:
			if err := c.catchUpWith(ctx, blue, green, r, parts); err != nil {
				return fmt.Errorf("table %s: bring it to blue's state of now: %w", r, err)
			}
		}
	}
	return nil
}

// recorded says whether all changes of r were recorded since its parts were copied: by the very triggers of then.
func recorded(r relation, parts []markedPart) bool {
	return r.capture != 0 && !slices.ContainsFunc(parts, func(p markedPart) bool { return p.capture != r.capture })
}

func captures(p *plan.Profile, r relation) bool {
	return p != nil && slices.ContainsFunc(p.Tables, func(t plan.Table) bool { return t.Captured() && t.Name == r.captured })
}

func forget(ctx context.Context, green *pgx.Conn, r relation) error {
	return pgx.BeginFunc(ctx, green, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, r.emptying()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM tideover.snapshot WHERE relation = $1`, r.String())
		return err
	})
}

func (c *copying) catchUpWith(ctx context.Context, blue, green *session, r relation, parts []markedPart) error {
	var since []string
	for _, p := range parts {
		if !slices.Contains(since, p.taken) {
			since = append(since, p.taken)
		}
	}
	return pgx.BeginFunc(ctx, green.Conn, func(tx pgx.Tx) error {
		key, keys, err := recordedKeys(ctx, blue.Conn, r, since)
		if err != nil {
			return err
		}
		var grown int64
		if len(key) > 0 {
			if grown, err = replace(ctx, blue, green, r, parts, key, keys); err != nil {
				return err
			}
		}
		if parts[0].pieces {
			n, err := replace(ctx, blue, green, r, parts, r.primary, rewrittenKeys(r, since))
			if err != nil {
				return err
			}
			grown += n
		}
		const bring = `UPDATE tideover.snapshot SET taken = $2, rows = rows + CASE WHEN first = $3 THEN $4 ELSE 0 END WHERE relation = $1`
		_, err = tx.Exec(ctx, bring, r.String(), c.taken, parts[0].from, grown)
		return err
	})
}

// recordedKeys is the SQL of the keys of r's rows that changed after some snapshots, and the columns it returns: none
// where nothing did. Whatever a snapshot may not have seen counts: a change may have the number of a savepoint, of which
// a snapshot does not say whether it sees it.
func recordedKeys(ctx context.Context, blue *pgx.Conn, r relation, since []string) (key []string, sql string, err error) {
	var late []string
	for _, s := range since {
		late = append(late, "h.txid >= "+postgres.Literal(oldest(s))+"::pg_catalog.xid8")
	}
	from := fmt.Sprintf("tideover.recorded h WHERE h.table_name = %s AND (%s)", postgres.Literal(r.captured), strings.Join(late, " OR "))
	rows, err := blue.Query(ctx, "SELECT k FROM (SELECT h.key FROM "+from+" LIMIT 1) one, pg_catalog.jsonb_object_keys(one.key) k ORDER BY 1")
	if err != nil {
		return nil, "", err
	}
	if key, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		return nil, "", err
	}
	return key, fmt.Sprintf("SELECT DISTINCT %s FROM (SELECT h.key FROM %s) h, pg_catalog.jsonb_populate_record(NULL::%s, h.key) r",
		list("r", key), from, r.identifier().Sanitize()), nil
}

// rewrittenKeys is the SQL of the primary keys of r's rows that have another version than in some snapshots. An
// UPDATE that changes nothing is not recorded, and yet it moves a row to another page: out of a piece that is copied into
// one that is not, or the other way. (A row version keeps the number of its transaction when it is frozen.)
func rewrittenKeys(r relation, since []string) string {
	var late []string
	for _, s := range since {
		late = append(late, fmt.Sprintf("pg_catalog.age(t.xmin) <= pg_catalog.age(%s::pg_catalog.xid8::pg_catalog.xid)", postgres.Literal(oldest(s))))
	}
	return fmt.Sprintf("SELECT %s FROM ONLY %s t WHERE %s", list("t", r.primary), r.identifier().Sanitize(), strings.Join(late, " OR "))
}

// oldest is the lowest number of a transaction that a snapshot (xmin:xmax:…, in 64 bits of which a row has the lower 32)
// may not have seen.
func oldest(snapshot string) string {
	xmin, _, _ := strings.Cut(snapshot, ":")
	return xmin
}

// replace takes the rows with some keys off green's r, and reads those of them that the parts have from blue again. It
// returns how many rows more there are.
func replace(ctx context.Context, blue, green *session, r relation, parts []markedPart, key []string, keys string) (int64, error) {
	table, columns := r.identifier().Sanitize(), list("", key)
	const changed = "pg_temp.tideover_changed"
	create := fmt.Sprintf("DROP TABLE IF EXISTS %s; CREATE TEMPORARY TABLE tideover_changed ON COMMIT DROP AS SELECT %s FROM %s LIMIT 0", changed, columns, table)
	if err := script(ctx, green.Conn, create); err != nil {
		return 0, err
	}
	n, err := stream(ctx, blue, green, transfer{name: "the keys that changed", out: "COPY (" + keys + ") TO STDOUT", in: "COPY " + changed + " FROM STDIN"})
	if err != nil || n == 0 {
		return 0, err
	}
	var same []string
	for _, k := range key {
		name := pgx.Identifier{k}.Sanitize()
		same = append(same, fmt.Sprintf("t.%s = k.%[1]s", name))
	}
	if _, err := green.Exec(ctx, "ANALYZE "+changed); err != nil {
		return 0, err
	}
	gone, err := green.Exec(ctx, fmt.Sprintf("DELETE FROM %s%s t USING %s k WHERE %s", r.only(), table, changed, strings.Join(same, " AND ")))
	if err != nil {
		return 0, err
	}
	condition := fmt.Sprintf("(%s) IN (%s)", list("t", key), keys)
	if pages := anyOf(partsOf(r, parts)); pages != "" {
		condition += " AND " + pages
	}
	back, err := stream(ctx, blue, green, r.transfer(condition, false))
	return back - gone.RowsAffected(), err
}

func partsOf(r relation, marked []markedPart) []part {
	parts := make([]part, len(marked))
	for i, m := range marked {
		parts[i] = part{relation: r, pieces: m.pieces, from: m.from, to: m.to}
	}
	return parts
}
