package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Generation 1.0 reads as servers of its time did: SELECT *, into structs that know the columns of 1.0 and no other. A
// column that somebody adds to one of its tables is an error at the next read.

var allColumns = tokenSQL{
	code:    `SELECT *, '[]' AS audience, expires_at <= now() AS expired FROM oauth_code WHERE signature = $1`,
	access:  `SELECT *, true AS active, expires_at <= now() AS expired FROM oauth_access WHERE signature = $1`,
	refresh: `SELECT *, expires_at <= now() AS expired FROM oauth_refresh WHERE signature = $1`,
}

// originalClient is a row of 1.0's oauth_client: what an app says of itself stands in it.
type originalClient struct {
	ID                     string    `db:"id"`
	Name                   string    `db:"name"`
	Owner                  string    `db:"owner"`
	SecretHash             string    `db:"secret_hash"`
	RedirectURIs           Document  `db:"redirect_uris"`
	PostLogoutRedirectURIs Document  `db:"post_logout_redirect_uris"`
	GrantTypes             Document  `db:"grant_types"`
	ResponseTypes          Document  `db:"response_types"`
	Scope                  string    `db:"scope"`
	Audience               Document  `db:"audience"`
	Contacts               Document  `db:"contacts"`
	Metadata               Document  `db:"metadata"`
	AuthMethod             string    `db:"token_endpoint_auth_method"`
	CreatedAt              time.Time `db:"created_at"`
	UpdatedAt              time.Time `db:"updated_at"`
}

func (c originalClient) client() Client {
	return Client{ID: c.ID, Name: c.Name, Owner: c.Owner, SecretHash: c.SecretHash, RedirectURIs: c.RedirectURIs,
		PostLogoutRedirectURIs: c.PostLogoutRedirectURIs, GrantTypes: c.GrantTypes, ResponseTypes: c.ResponseTypes, Scope: c.Scope,
		Audience: c.Audience, Contacts: c.Contacts, Metadata: c.Metadata, AuthMethod: c.AuthMethod, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt}
}

func (s *original) Client(ctx context.Context, id string) (Client, error) {
	c, err := one[originalClient](ctx, s.pool, `SELECT * FROM oauth_client WHERE id = $1`, id)
	return c.client(), err
}

func (s *original) ListClients(ctx context.Context, owner string, limit, offset int) ([]Client, error) {
	const sql = `SELECT * FROM oauth_client WHERE $1 = '' OR owner = $1 ORDER BY id LIMIT $2 OFFSET $3`
	rows, err := all[originalClient](ctx, s.pool, sql, owner, limit, offset)
	list := make([]Client, len(rows))
	for i, c := range rows {
		list[i] = c.client()
	}
	return list, err
}

// originalValues leaves out the lifetime of a client's own, which 1.0 doesn't have.
func (c Client) originalValues() []any {
	values := c.values()
	return append(values[:len(values)-1], c.Contacts.or("[]"), c.Metadata.or("{}"))
}

func (s *original) CreateClient(ctx context.Context, c Client) error {
	const sql = `INSERT INTO oauth_client (id, name, owner, secret_hash, redirect_uris, post_logout_redirect_uris, grant_types,
		response_types, scope, audience, token_endpoint_auth_method, contacts, metadata)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`
	err := s.exec(ctx, sql, c.originalValues()...)
	if duplicate(err) {
		return ErrExists
	}
	return err
}

func (s *original) UpdateClient(ctx context.Context, c Client) error {
	const sql = `UPDATE oauth_client SET name = $2, owner = $3,
		secret_hash = CASE WHEN $4 = '' AND $11 <> 'none' THEN secret_hash ELSE $4 END,
		redirect_uris = $5, post_logout_redirect_uris = $6, grant_types = $7, response_types = $8, scope = $9, audience = $10,
		token_endpoint_auth_method = $11, contacts = $12, metadata = $13, updated_at = now() WHERE id = $1`
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, sql, c.originalValues()...)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return err
	})
}

func (s *original) Session(ctx context.Context, id string) (Session, error) {
	return one[Session](ctx, s.pool, `SELECT * FROM oauth_session WHERE id = $1`, id)
}

// Rotate of 1.0 detects no reuse: a second use is refused, and harms nobody. Of many at once one succeeds.
func (s *original) Rotate(ctx context.Context, signature, client string, issue Issue) error {
	again := func(context.Context, pgx.Tx, Token) (answer, err error) { return ErrUsed, nil }
	return s.rotate(ctx, signature, client, issue, again)
}

// optional is a row that need not be there.
func optional[T any](ctx context.Context, q querier, sql string, args ...any) (*T, error) {
	v, err := one[T](ctx, q, sql, args...)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &v, err
}
