package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgerrcode"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// revocations takes authority away on blue and sees green refuse it.
func (p *proof) revocations(ctx context.Context, _ *pgx.Conn) error {
	for i := range p.Profile.Revocations {
		if err := p.revoke(ctx, i); err != nil || len(p.report.Objections) > 0 {
			return err
		}
	}
	return nil
}

// revocationsBack takes authority away on green and sees blue refuse it after a way back.
func (p *proof) revocationsBack(ctx context.Context) error {
	if err := replay.NewCapture(p.new, p.Profile, plan.Green).Install(ctx, postgres.DefaultBudget()); err != nil {
		p.object("revoke on green", fmt.Sprintf("green's revocations can't be captured for the way back: %v", err), hintOf(err))
		return ctx.Err()
	}
	for i := range p.Profile.Revocations {
		if err := p.revokeBack(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// revoke applies one kind on blue.
func (p *proof) revoke(ctx context.Context, i int) error {
	rev := &p.Profile.Revocations[i]
	if rev.Blue.Apply == "" || rev.Blue.Living == "" || rev.Green.Living == "" {
		p.untried("revocation %s: it has no apply or no living to try it by", rev.Kind)
		return nil
	}
	var before int64
	if err := p.old.Pool().QueryRow(ctx, `SELECT coalesce(max(id), 0) FROM tideover.change`).Scan(&before); err != nil {
		return err
	}
	args, err := p.alive(ctx, i, p.old, rev.Blue, p.keepOf(rev.Blue), func(args map[string]any) (bool, error) {
		return p.apply(ctx, i, "blue", p.old, rev.Blue.Apply, args)
	})
	if err != nil || args == nil || len(p.report.Objections) > 0 {
		return err
	}
	if left, err := p.living(ctx, i, "blue", p.old, rev.Blue.Living, args); err != nil || left > 0 {
		if err == nil {
			p.object("revoke", fmt.Sprintf("revocation %q: blue.living still counts %d after blue.apply", rev.Kind, left), "the two statements must mean the same authority")
		}
		return err
	}
	if err := p.drain(ctx, "revoke", fmt.Sprintf("revocation %q: ", rev.Kind)); err != nil || len(p.report.Objections) > 0 {
		return err
	}
	var known, touched bool
	const recorded = `SELECT EXISTS (SELECT 1 FROM tideover.change WHERE kind = 'revoked' AND table_name = $1),
		EXISTS (SELECT 1 FROM tideover.change WHERE id > $2 AND table_name = $1)`
	if err := p.old.Pool().QueryRow(ctx, recorded, rev.Blue.Table, before).Scan(&known, &touched); err != nil {
		return err
	}
	if !known && !touched { // the authority was in rows of other tables, such as access tokens of a chain whose refresh tokens are used up
		p.untried("revocation %s: what was taken had no authority in %s", rev.Kind, rev.Blue.Table)
	} else if !known {
		p.object("revoke", fmt.Sprintf("revocation %q: blue.apply takes authority away, and no change of table %q is judged as revoked", rev.Kind, rev.Blue.Table), "mend the judge of the table; one that is to be asked about inserts must name 'I'")
		return nil
	}
	left, err := p.living(ctx, i, "green", p.new, rev.Green.Living, args)
	if err == nil && left > 0 {
		p.object("revoke", fmt.Sprintf("revocation %q: it is in force on blue, and green.living still counts %d on green", rev.Kind, left), "mend revocations: green.apply, green.living or green.key")
	}
	return err
}

// revokeBack applies one kind on green, as a client of green would, and expects it on blue.
func (p *proof) revokeBack(ctx context.Context, i int) error {
	rev := &p.Profile.Revocations[i]
	if rev.Green.Apply == "" || rev.Green.Living == "" || rev.Blue.Living == "" || rev.Green.Table == "" {
		return nil
	}
	args, err := p.alive(ctx, i, p.new, rev.Green, rev.Green.Keep, func(args map[string]any) (bool, error) {
		if ok, err := p.wouldApply(ctx, i, "blue", p.old, rev.Blue.Apply, args); err != nil || !ok {
			return false, err
		}
		return p.apply(ctx, i, "green", p.new, rev.Green.Apply, args)
	})
	if err != nil || args == nil || len(p.report.Objections) > 0 {
		return err
	}
	if _, err := replay.NewReverse(p.old, p.new, p.Profile).Drain(ctx); err != nil {
		p.object("revoke on green", fmt.Sprintf("revocation %q: the way back stops: %v", rev.Kind, err), hintOf(err))
		return ctx.Err()
	}
	left, err := p.living(ctx, i, "blue", p.old, rev.Blue.Living, args)
	if err == nil && left > 0 {
		p.object("revoke on green", fmt.Sprintf("revocation %q: it is in force on green, and after the way back blue.living still counts %d on blue", rev.Kind, left), "mend revocations: green.judge, blue.apply or the keys")
	}
	return err
}

// keepOf are the columns that are recorded with a change of a side's table of blue.
func (p *proof) keepOf(side plan.RevocationSide) []string {
	if t := p.Profile.Table(side.Table); t != nil {
		return slices.Concat(t.Key, t.Keep)
	}
	return nil
}

// alive looks for a row by which both sides accept something and which take revokes, and gives its columns under the names
// of both sides. Rows that take can't revoke are passed over.
func (p *proof) alive(ctx context.Context, i int, on *postgres.DB, here plan.RevocationSide, keep []string, take func(args map[string]any) (bool, error)) (map[string]any, error) {
	rev := &p.Profile.Revocations[i]
	there := rev.Green
	if here.Table == rev.Green.Table && on == p.new {
		there = rev.Blue
	}
	key := here.Key
	if len(key) == 0 {
		var err error
		if key, err = primaryKey(ctx, on, p.qualified(here.Table)); err != nil {
			return nil, err
		}
	}
	columns := slices.Concat(key, keep)
	slices.Sort(columns)
	columns = slices.Compact(columns)
	texts := make([]string, len(columns))
	for j, c := range columns {
		texts[j] = "pg_catalog.to_jsonb(" + list([]string{c}, "t.") + ") #>> '{}'"
	}
	sql := fmt.Sprintf("SELECT ARRAY[%s]::pg_catalog.text[] FROM %s t LIMIT 100", strings.Join(texts, ", "), p.qualified(here.Table))
	rows, err := on.Pool().Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[[]*string])
	if err != nil {
		p.object("revoke", fmt.Sprintf("revocation %q: its columns can't be read from table %q of %s: %v", rev.Kind, here.Table, on.Name(), err), "mend key and keep")
		return nil, ctx.Err()
	}
	var onlyHere, refused bool
	for _, values := range found {
		args := make(map[string]any, 2*len(columns)+1)
		for j, c := range columns {
			if values[j] != nil {
				args[c] = *values[j]
			} else {
				args[c] = nil
			}
		}
		for j, c := range key {
			if j < len(there.Key) {
				args[there.Key[j]] = args[c]
			}
		}
		args["op"] = "D"
		blue, err := p.living(ctx, i, "blue", p.old, rev.Blue.Living, args)
		if err != nil || len(p.report.Objections) > 0 {
			return nil, err
		}
		green, err := p.living(ctx, i, "green", p.new, rev.Green.Living, args)
		if err != nil || len(p.report.Objections) > 0 {
			return nil, err
		}
		if blue > 0 && green > 0 {
			if ok, err := take(args); ok || err != nil || len(p.report.Objections) > 0 {
				return args, err
			}
			refused = true
			continue
		}
		onlyHere = onlyHere || blue > 0
	}
	if refused {
		p.untried("revocation %s: constraints of %s refuse it for the sampled rows, as they would refuse it to a client", rev.Kind, on.Name())
		return nil, nil
	}
	if onlyHere && on == p.old {
		aside, err := p.setAside(ctx)
		if err != nil {
			return nil, err
		}
		if aside {
			p.untried("revocation %s: what the sampled rows give access to on blue is nothing on green, where rules have set rows aside", rev.Kind)
			return nil, nil
		}
		p.object("revoke", fmt.Sprintf("revocation %q: blue.living counts what a row gives access to, and green.living nothing of it", rev.Kind), "mend green.living, or the key on either side")
		return nil, nil
	}
	p.untried("revocation %s: no sampled row on %s gives access to anything", rev.Kind, on.Name())
	return nil, nil
}

// setAside says whether rules have moved rows of the sample to green's quarantine: these give access on blue alone.
func (p *proof) setAside(ctx context.Context) (some bool, err error) {
	if err := p.new.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass('tideover.quarantine') IS NOT NULL`).Scan(&some); err != nil || !some {
		return false, err
	}
	err = p.new.Pool().QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM tideover.quarantine)`).Scan(&some)
	return some, err
}

// living asks a side's statement. A mistake in it is an objection.
func (p *proof) living(ctx context.Context, i int, side string, on *postgres.DB, sql string, args map[string]any) (n int64, err error) {
	rev := &p.Profile.Revocations[i]
	err = p.within(ctx, on, func(tx pgx.Tx) error {
		text, values, err := postgres.Named(sql, args)
		if err != nil {
			return err
		}
		return tx.QueryRow(ctx, text, values...).Scan(&n)
	})
	return n, p.mistake(ctx, rev, side+".living", err)
}

// apply runs a side's statement as the server would. It says no where the rows break a constraint once they are touched, as
// those do that were there before the constraint or came past it: the server could not revoke them either.
func (p *proof) apply(ctx context.Context, i int, side string, on *postgres.DB, sql string, args map[string]any) (bool, error) {
	return p.applied(ctx, i, side, on, sql, args, nil)
}

// wouldApply is apply, undone.
func (p *proof) wouldApply(ctx context.Context, i int, side string, on *postgres.DB, sql string, args map[string]any) (bool, error) {
	return p.applied(ctx, i, side, on, sql, args, errUndo)
}

var errUndo = errors.New("undo")

func (p *proof) applied(ctx context.Context, i int, side string, on *postgres.DB, sql string, args map[string]any, end error) (bool, error) {
	err := p.within(ctx, on, func(tx pgx.Tx) error {
		text, values, err := postgres.Named(sql, args)
		if err != nil {
			return err
		}
		if _, err = tx.Exec(ctx, text, values...); err != nil {
			return err
		}
		return end
	})
	var answer *pgconn.PgError
	switch {
	case end != nil && errors.Is(err, end):
		return true, nil
	case asAnswer(err, &answer) && pgerrcode.IsIntegrityConstraintViolation(answer.Code):
		return false, ctx.Err()
	}
	err = p.mistake(ctx, &p.Profile.Revocations[i], side+".apply", err)
	return err == nil && len(p.report.Objections) == 0, err
}

func (p *proof) mistake(ctx context.Context, rev *plan.Revocation, field string, err error) error {
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p.object("revoke", fmt.Sprintf("revocation %q: %s: %v", rev.Kind, field, err), "mend the statement")
	return nil
}

// within runs f in a transaction in which unqualified names mean the server's tables, and whose writes are taken for the
// server's: those of our own sessions are not captured on green.
func (p *proof) within(ctx context.Context, on *postgres.DB, f func(tx pgx.Tx) error) error {
	conn, err := on.Connect(ctx)
	if err != nil {
		return err
	}
	defer hang(ctx, conn)
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := postgres.UseSchema(ctx, tx, on.Name(), p.schema()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SET LOCAL tideover.pass = 'off'`); err != nil {
			return err
		}
		return f(tx)
	})
}

func (p *proof) schema() string {
	if p.Profile.Schema == "" {
		return "public"
	}
	return p.Profile.Schema
}

func (p *proof) qualified(table string) string { return p.Profile.Schemas().Ident(table) }

func asAnswer(err error, into **pgconn.PgError) bool { return errors.As(err, into) }
