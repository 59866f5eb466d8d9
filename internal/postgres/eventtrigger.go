package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// watchersSQL lists the event triggers that fire, and run a function of a role that our session does not trust. Only a superuser makes
// an event trigger; the function may be anybody's.
const watchersSQL = `
WITH ` + foreignRolesSQL + `
SELECT pg_catalog.format('event trigger %I, which calls function %I.%I', e.evtname, n.nspname, f.proname), r.rolname::pg_catalog.text
FROM pg_catalog.pg_event_trigger e JOIN pg_catalog.pg_proc f ON f.oid OPERATOR(pg_catalog.=) e.evtfoid
JOIN foreign_roles r ON r.oid OPERATOR(pg_catalog.=) f.proowner JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) f.pronamespace
WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'D' ORDER BY 1`

// Unwatched returns a [*WatchedError] where making something in a database would run code of a role that our session does not trust.
func Unwatched(ctx context.Context, q Queryer, side string) error {
	rows, _ := q.Query(ctx, watchersSQL) // its error comes up in the rows
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Shadow])
	if err != nil {
		return fmt.Errorf("%s: look for event triggers of other roles: %w", side, err)
	}
	if len(found) == 0 {
		return nil
	}
	return &WatchedError{Side: side, Found: found}
}

// WatchedError says that nothing was made in a database, since code of others would have run with our rights.
type WatchedError struct {
	Side  string
	Found []Shadow
}

func (e *WatchedError) Error() string {
	var all []string
	for _, s := range e.Found {
		all = append(all, fmt.Sprintf("%s of role %q", s.Object, s.Owner))
	}
	return fmt.Sprintf("%s: %s would run with our rights when something is made there", e.Side, strings.Join(all, ", "))
}

// Hint says what can be done.
func (e *WatchedError) Hint() string {
	return "connect as a role that has no more rights than the function's owner (\"tideover grants\" prints the statements); or ALTER EVENT TRIGGER … DISABLE, or have a superuser read the function and own it"
}
