package rehearsal

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// lifetimes are those of tokens that a server keeps with each client, by client and column; nil is the server's own.
type lifetimes map[string]*string

// lifetimesOf reads them from what the servers call their table of clients, of which a database has one. The profile says how a run
// reads and writes them, and is not asked.
func lifetimesOf(ctx context.Context, db *postgres.DB) (lifetimes, error) {
	found := lifetimes{}
	for _, table := range []string{"oauth_client", "hydra_client"} {
		var there bool
		if err := db.Pool().QueryRow(ctx, `SELECT pg_catalog.to_regclass($1) IS NOT NULL`, "public."+table).Scan(&there); err != nil {
			return nil, fmt.Errorf("look for the clients of %s: %w", db.Name(), err)
		}
		if !there {
			continue
		}
		rows, err := db.Pool().Query(ctx, `SELECT t.id || ': ' || e.key, e.value FROM public.`+table+` t, jsonb_each_text(to_jsonb(t)) e
WHERE e.key ~ '(lifetime|lifespan|token_seconds)$'`)
		if err != nil {
			return nil, fmt.Errorf("read the lifetimes of %s: %w", db.Name(), err)
		}
		var name string
		var value *string
		if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error {
			found[name] = value
			value = nil
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read the lifetimes of %s: %w", db.Name(), err)
		}
	}
	return found, nil
}

// kept compares what clients had before the run with what they have after it.
func (l lifetimes) kept(after lifetimes) (findings []string) {
	said := func(v *string) string {
		if v == nil {
			return "the server's own"
		}
		return *v
	}
	for _, name := range slices.Sorted(maps.Keys(l)) {
		if now, there := after[name]; there && said(now) != said(l[name]) {
			findings = append(findings, fmt.Sprintf("operator: the lifetime of client %s was %s before the run, and is %s after it", name, said(l[name]), said(now)))
		}
	}
	return findings
}
