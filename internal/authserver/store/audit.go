package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// Entry is something that was done by the admin API. It has no secret, token or challenge.
type Entry struct {
	ID      int64     `db:"id" json:"id"`
	At      time.Time `db:"happened_at" json:"at"`
	Actor   string    `db:"actor" json:"actor"`     // as the caller of the API says
	Address string    `db:"address" json:"address"` // of the actor, as the caller says, or the caller's own
	Action  string    `db:"action" json:"action"`
	Client  string    `db:"client_id" json:"client_id,omitempty"`
	Subject string    `db:"subject" json:"subject,omitempty"` // whose consents or sessions
	Detail  Document  `db:"detail" json:"detail"`
}

// Audits keeps what was done. Only generation 2.0 has a table for it.
type Audits interface {
	// Audited is the same store, whose next transaction writes the entry, too: there is one where it was done, and only
	// there.
	Audited(e Entry) Store
	// Entries are the newest before an id (0: of all), of one client or, for "", of any.
	Entries(ctx context.Context, client string, before int64, limit int) ([]Entry, error)
}

func (s *second) Audited(e Entry) Store {
	out := *s
	out.note = &e
	return &out
}

func (e Entry) write(ctx context.Context, tx pgx.Tx) error {
	const sql = `INSERT INTO oauth_audit (actor, address, action, client_id, subject, detail) VALUES ($1, $2, $3, $4, $5, $6)`
	_, err := tx.Exec(ctx, sql, e.Actor, e.Address, e.Action, e.Client, e.Subject, e.Detail.or("{}"))
	return err
}

func (s *second) Entries(ctx context.Context, client string, before int64, limit int) ([]Entry, error) {
	const sql = `SELECT id, happened_at, actor, address, action, client_id, subject, detail::text AS detail FROM oauth_audit
		WHERE ($1 = '' OR client_id = $1) AND ($2 = 0 OR id < $2) ORDER BY id DESC LIMIT $3`
	return all[Entry](ctx, s.pool, sql, client, before, limit)
}
