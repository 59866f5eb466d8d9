package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// BlockedProbe watches how long other sessions of a database wait for locks of ours. A wait shorter than Every can be
// missed; a longer one is measured from its own start (pg_locks.waitstart), so what is seen is right to within Every.
type BlockedProbe struct {
	Conn  *pgx.Conn                // a connection of the probe's own
	Every time.Duration            // default 20ms
	Seen  func(wait time.Duration) // each look's longest wait, as it is seen; may be nil
}

// A session of ours has an application_name that begins with tideover/. Only waits that one of ours causes are counted,
// and only those of sessions that are not ours. pg_blocking_pids (Postgres manual 9.26) also names who waits in front in
// the lock's queue: a query behind our ALTER TABLE that itself waits for somebody waits for us.
const blockedSQL = `
SELECT coalesce(max(extract(epoch FROM pg_catalog.clock_timestamp() - l.waitstart) * 1000), 0)::float8
FROM pg_catalog.pg_locks l
JOIN pg_catalog.pg_stat_activity waiting ON waiting.pid = l.pid
WHERE NOT l.granted AND l.waitstart IS NOT NULL
  AND waiting.datname = pg_catalog.current_database() AND waiting.application_name NOT LIKE 'tideover/%'
  AND EXISTS (
      SELECT 1 FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(l.pid)) AS b(pid)
      JOIN pg_catalog.pg_stat_activity holder ON holder.pid = b.pid
      WHERE holder.application_name LIKE 'tideover/%')`

// Run watches until ctx ends and returns the longest wait that it saw.
func (p BlockedProbe) Run(ctx context.Context) (time.Duration, error) {
	every := p.Every
	if every <= 0 {
		every = 20 * time.Millisecond
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	var longest float64
	for {
		var ms float64
		if err := p.Conn.QueryRow(ctx, blockedSQL).Scan(&ms); err != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return time.Duration(longest * float64(time.Millisecond)), nil
			}
			return time.Duration(longest * float64(time.Millisecond)), fmt.Errorf("lock probe: %w", err)
		}
		longest = max(longest, ms)
		if p.Seen != nil {
			p.Seen(time.Duration(ms * float64(time.Millisecond)))
		}
		select {
		case <-ctx.Done():
			return time.Duration(longest * float64(time.Millisecond)), nil
		case <-tick.C:
		}
	}
}
