package hydra

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/lab/seed"
)

// archived is how many of the mass the result's Archive has at most, about.
const archived = 1000

// mass copies the rows of one session as often as is wanted, under other names: sessions that nobody holds the tokens of,
// but that migrate, list and revoke as others do.
func (g *generator) mass(ctx context.Context) error {
	if g.options.Sessions == 0 {
		return nil
	}
	m, err := g.session(ctx, plain, wish{})
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, g.conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		for _, c := range copies {
			// Columns that are not named keep the template's value.
			sql := fmt.Sprintf(`WITH template AS MATERIALIZED (SELECT t AS row FROM %[1]s t WHERE %[3]s = $1)
INSERT INTO %[1]s
SELECT copy.* FROM generate_series(1, $2::int) i, template, LATERAL (SELECT ($3::text[])[1 + i %% cardinality($3::text[])] AS client) c,
	LATERAL jsonb_populate_record(template.row, jsonb_build_object(%[2]s)) copy`,
				c.table, c.columns, c.where)
			of := m.consent
			if c.login {
				of = m.login
			}
			if _, err := tx.Exec(ctx, sql, of, g.options.Sessions, g.ids); err != nil {
				return fmt.Errorf("table %q: %w", c.table, err)
			}
		}
		for i := 1; i <= g.options.Sessions; i += max(1, g.options.Sessions/archived) {
			g.result.Archive = append(g.result.Archive, seed.Credential{Kind: "mass", Client: g.ids[i%len(g.ids)], Subject: fmt.Sprintf("mass-%d", i)})
		}
		g.result.Sessions += g.options.Sessions
		g.result.Living += g.options.Sessions
		g.result.Tokens += 3 * g.options.Sessions
		return nil
	})
}

// copies are the tables of a session, parents first, and what must differ in a copy.
var copies = []struct {
	table, where string
	login        bool
	columns      string
}{
	{"hydra_oauth2_authentication_session", "(SELECT r.challenge FROM hydra_oauth2_authentication_request r WHERE r.login_session_id = t.id)", true,
		`'id', md5('session ' || i), 'subject', 'mass-' || i`},
	{"hydra_oauth2_authentication_request", "t.challenge", true,
		`'challenge', md5('login ' || i), 'verifier', md5('login verifier ' || i), 'login_session_id', md5('session ' || i),
		'client_id', client, 'requested_at', now() - i % 400 * interval '1 day'`},
	{"hydra_oauth2_authentication_request_handled", "t.challenge", true,
		`'challenge', md5('login ' || i), 'subject', 'mass-' || i`},
	{"hydra_oauth2_consent_request", "t.challenge", false,
		`'challenge', md5('consent ' || i), 'verifier', md5('consent verifier ' || i), 'login_challenge', md5('login ' || i),
		'login_session_id', md5('session ' || i), 'client_id', client, 'subject', 'mass-' || i, 'requested_at', now() - i % 400 * interval '1 day'`},
	{"hydra_oauth2_consent_request_handled", "t.challenge", false,
		`'challenge', md5('consent ' || i), 'requested_at', now() - i % 400 * interval '1 day'`},
	{"hydra_oauth2_code", "t.request_id", false, token},
	{"hydra_oauth2_oidc", "t.request_id", false, token},
	{"hydra_oauth2_access", "t.request_id", false, token},
	{"hydra_oauth2_refresh", "t.request_id", false, token},
}

// token names a copied token after the one that it is a copy of: a session has several.
const token = `'signature', md5((template.row).signature || i), 'request_id', md5('consent ' || i), 'challenge_id', md5('consent ' || i),
		'client_id', client, 'subject', 'mass-' || i`
