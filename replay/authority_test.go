package replay

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
)

// fact is something that a transaction did to authority, as the database answered. It counts if the transaction commits.
type fact struct {
	kind string // "token", "end", "consent", "no consent", "client", "no client"
	id   string
	token
}

// token is an access or refresh token.
type token struct {
	chain, consent, client string
	living                 bool // not expired, and a refresh token is active
}

// authorities is the reference model: what was given, and what was taken away. It knows nothing of tables, replay or
// migrations: a token lives from the commit that made it to the commit that ended it, and no longer than its consent
// and its client.
type authorities struct {
	tokens   map[string]token
	ended    map[string]bool
	consents map[string]bool // false: revoked
	clients  map[string]bool // false: deleted
}

func newAuthorities() *authorities {
	return &authorities{map[string]token{}, map[string]bool{}, map[string]bool{}, map[string]bool{}}
}

func (m *authorities) commit(facts []fact) {
	for _, f := range facts {
		switch f.kind {
		case "token":
			m.tokens[f.id] = f.token
		case "end":
			m.ended[f.id] = true
		case "consent", "no consent":
			m.consents[f.id] = f.kind == "consent"
		case "client", "no client":
			m.clients[f.id] = f.kind == "client"
		}
	}
}

func (m *authorities) lives(signature string) bool {
	t := m.tokens[signature]
	if !t.living || m.ended[signature] || !m.clients[t.client] {
		return false
	}
	return t.consent == "" || m.consents[t.consent]
}

// living are the tokens that are accepted, and of them those of each chain.
func (m *authorities) living() []string {
	var all []string
	for s := range m.tokens {
		if m.lives(s) {
			all = append(all, s)
		}
	}
	slices.Sort(all)
	return all
}

// acceptedSQL reads alike on both generations. In 1.1 a token outlives its client's row, and is refused all the same.
const acceptedSQL = `
SELECT signature FROM oauth_access t WHERE expires_at > now() AND EXISTS (SELECT 1 FROM oauth_client c WHERE c.id = t.client_id)
UNION ALL
SELECT signature FROM oauth_refresh t WHERE active AND expires_at > now() AND EXISTS (SELECT 1 FROM oauth_client c WHERE c.id = t.client_id)
ORDER BY 1`

// hold says where a database accepts something else than it should.
func hold(ctx context.Context, db *postgres.DB, want []string) error {
	have := texts1(ctx, db, acceptedSQL)
	for _, s := range have {
		if !slices.Contains(want, s) {
			return fmt.Errorf("authority: %s accepts %s, which was taken away", db.Name(), s)
		}
	}
	for _, s := range want {
		if !slices.Contains(have, s) {
			return fmt.Errorf("authority: %s refuses %s, which lives", db.Name(), s)
		}
	}
	return nil
}

// texts1 is a query's only column.
func texts1(ctx context.Context, db *postgres.DB, sql string, args ...any) (all []string) {
	must(db.InSchema(ctx, "", func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, sql, args...)
		if err == nil {
			all, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		return err
	}))
	return all
}
