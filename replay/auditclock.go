package replay

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// clock tells what the migrations have taken from the clock, such as a trigger's updated_at: a delta's value lies within its own
// migrations, and what green has is of since the run began. Moments are of the clock of green's server.
type clock struct{ since, began, ended time.Time }

// readClock has the clock of a look at green begin.
func (r *Replayer) readClock(ctx context.Context) (c clock, err error) {
	if err := r.Green.Pool().QueryRow(ctx, `SELECT pg_catalog.clock_timestamp()`).Scan(&c.began); err != nil {
		return c, fmt.Errorf("read green's clock: %w", err)
	}
	if !r.Began.IsZero() {
		c.since = c.began.Add(-time.Since(r.Began))
	}
	return c, nil
}

// zones is how far a local time can be from UTC, and quarter what zones differ by.
const (
	zones   = 15 * time.Hour
	quarter = 15 * time.Minute
)

// taken is the condition that a column is another on green (t) than in the delta (n) only because each has it from the clock;
// empty for a column that is no time.
func (c clock) taken(of column) string {
	if c.since.IsZero() {
		return ""
	}
	at := func(when time.Time) string {
		return literal(when.UTC().Format("2006-01-02 15:04:05.999999-07")) + "::pg_catalog.timestamptz"
	}
	name := pgx.Identifier{of.name}.Sanitize()
	switch of.typ {
	case "timestamp with time zone":
		return fmt.Sprintf("(n.%[1]s BETWEEN %[2]s AND %[3]s AND t.%[1]s >= %[4]s)", name, at(c.began), at(c.ended), at(c.since))
	case "timestamp without time zone", "date":
		utc := func(side string) string {
			return "(" + side + "." + name + "::pg_catalog.timestamp AT TIME ZONE 'UTC')"
		}
		within := fmt.Sprintf("%s BETWEEN %s AND %s AND %s >= %s", utc("n"), at(c.began.Add(-zones-day(of))), at(c.ended.Add(zones)), utc("t"), at(c.since.Add(-zones-day(of))))
		if of.typ == "date" {
			return "(" + within + ")"
		}
		return fmt.Sprintf("(%s AND pg_catalog.mod(extract(epoch FROM %s - %s)::pg_catalog.numeric, %d) <= %d)", within, utc("n"), at(c.began.Add(-zones)),
			int(quarter.Seconds()), int(c.ended.Sub(c.began).Seconds())+1)
	}
	return ""
}

// day is how much earlier than its moment a column says it is.
func day(of column) time.Duration {
	if of.typ == "date" {
		return 24 * time.Hour
	}
	return 0
}
