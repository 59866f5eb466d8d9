package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// Client is a registered app. Lists and metadata are JSON.
type Client struct {
	ID                     string    `db:"id"`
	Name                   string    `db:"name"`
	Owner                  string    `db:"owner"`
	SecretHash             string    `db:"secret_hash"` // of one secret or two; empty for a client that has none
	RedirectURIs           Document  `db:"redirect_uris"`
	PostLogoutRedirectURIs Document  `db:"post_logout_redirect_uris"`
	GrantTypes             Document  `db:"grant_types"`
	ResponseTypes          Document  `db:"response_types"`
	Scope                  string    `db:"scope"`
	Audience               Document  `db:"audience"`
	Contacts               Document  `db:"contacts"`
	Metadata               Document  `db:"metadata"`
	AuthMethod             string    `db:"token_endpoint_auth_method"`
	AccessSeconds          *int32    `db:"access_token_seconds"` // nil: the server's own lifetime
	JWKS                   Document  `db:"jwks"`                 // 2.0: public keys of a client that signs who it is, or
	JWKSURI                string    `db:"jwks_uri"`             // where they are
	CreatedAt              time.Time `db:"created_at"`
	UpdatedAt              time.Time `db:"updated_at"`
}

// Clients keeps apps.
type Clients interface {
	// Client returns ErrNotFound for an unknown id.
	Client(ctx context.Context, id string) (Client, error)
	// ListClients returns a page, by id; an empty owner means every owner's.
	ListClients(ctx context.Context, owner string, limit, offset int) ([]Client, error)
	// CreateClient returns ErrExists where the id is taken.
	CreateClient(ctx context.Context, c Client) error
	// UpdateClient replaces all but the secret, and that too where SecretHash is set.
	UpdateClient(ctx context.Context, c Client) error
	// SetSecret replaces what is stored of the secret; ErrUsed where that is not as it was any more.
	SetSecret(ctx context.Context, id, was, is string) error
	// DeleteClient takes the client's consents, codes and tokens along, in one transaction.
	DeleteClient(ctx context.Context, id string) error
}

// clientSQL reads clients, with a column or two more.
const clientSQL = `SELECT c.id, c.name, c.owner, c.secret_hash, c.redirect_uris::text AS redirect_uris,
	c.post_logout_redirect_uris::text AS post_logout_redirect_uris, c.grant_types::text AS grant_types,
	c.response_types::text AS response_types, c.scope, c.audience::text AS audience,
	coalesce(d.contacts::text, '[]') AS contacts, coalesce(d.metadata::text, '{}') AS metadata,
	c.token_endpoint_auth_method, c.access_token_seconds, c.created_at, c.updated_at, `

const (
	clientFirst  = clientSQL + `'' AS jwks, '' AS jwks_uri FROM oauth_client c LEFT JOIN oauth_client_details d ON d.client_id = c.id`
	clientSecond = clientSQL + `coalesce(CASE WHEN k.jwks_uri = '' THEN k.jwks::text END, '') AS jwks, coalesce(k.jwks_uri, '') AS jwks_uri
	FROM oauth_client c LEFT JOIN oauth_client_details d ON d.client_id = c.id LEFT JOIN oauth_client_keys k ON k.client_id = c.id`
)

func (b base) Client(ctx context.Context, id string) (Client, error) {
	return one[Client](ctx, b.pool, b.clients+` WHERE c.id = $1`, id)
}

func (b base) ListClients(ctx context.Context, owner string, limit, offset int) ([]Client, error) {
	return all[Client](ctx, b.pool, b.clients+` WHERE $1 = '' OR c.owner = $1 ORDER BY c.id LIMIT $2 OFFSET $3`,
		owner, limit, offset)
}

const insertClientFirst = `INSERT INTO oauth_client (id, name, owner, secret_hash, redirect_uris, post_logout_redirect_uris,
	grant_types, response_types, scope, audience, token_endpoint_auth_method, access_token_seconds)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`

// A database has one network until somebody adds more; the oldest is the server's own.
const insertClientSecond = `INSERT INTO oauth_client (id, name, owner, secret_hash, redirect_uris, post_logout_redirect_uris,
	grant_types, response_types, scope, audience, token_endpoint_auth_method, access_token_seconds, nid)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
	(SELECT id FROM oauth_network ORDER BY created_at, id LIMIT 1))`

const insertDetails = `INSERT INTO oauth_client_details (client_id, contacts, metadata) VALUES ($1, $2, $3)
	ON CONFLICT (client_id) DO UPDATE SET contacts = excluded.contacts, metadata = excluded.metadata`

func (c Client) values() []any {
	return []any{c.ID, c.Name, c.Owner, c.SecretHash, c.RedirectURIs.or("[]"), c.PostLogoutRedirectURIs.or("[]"),
		c.GrantTypes.or("[]"), c.ResponseTypes.or("[]"), c.Scope, c.Audience.or("[]"), c.AuthMethod, c.AccessSeconds}
}

func (b base) createClient(ctx context.Context, sql string, c Client, more ...func(context.Context, pgx.Tx, Client) error) error {
	err := b.tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, sql, c.values()...); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertDetails, c.ID, c.Contacts.or("[]"), c.Metadata.or("{}")); err != nil {
			return err
		}
		for _, f := range more {
			if err := f(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if duplicate(err) {
		return ErrExists
	}
	return err
}

func (s *first) CreateClient(ctx context.Context, c Client) error {
	return s.createClient(ctx, insertClientFirst, c)
}

// CreateClient of 2.0 has no client without an owner.
func (s *second) CreateClient(ctx context.Context, c Client) error {
	return s.createClient(ctx, insertClientSecond, owned(c), keepKeys)
}

func owned(c Client) Client {
	if c.Owner == "" {
		c.Owner = "unknown"
	}
	return c
}

const updateClient = `UPDATE oauth_client SET name = $2, owner = $3,
	secret_hash = CASE WHEN $4 = '' AND $11 NOT IN ('none', 'private_key_jwt') THEN secret_hash ELSE $4 END,
	redirect_uris = $5, post_logout_redirect_uris = $6, grant_types = $7, response_types = $8, scope = $9, audience = $10,
	token_endpoint_auth_method = $11, access_token_seconds = $12, updated_at = now() WHERE id = $1`

func (b base) UpdateClient(ctx context.Context, c Client) error { return b.updateClient(ctx, c) }

func (b base) updateClient(ctx context.Context, c Client, more ...func(context.Context, pgx.Tx, Client) error) error {
	return b.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, updateClient, c.values()...)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		if _, err = tx.Exec(ctx, insertDetails, c.ID, c.Contacts.or("[]"), c.Metadata.or("{}")); err != nil {
			return err
		}
		for _, f := range more {
			if err := f(ctx, tx, c); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *second) UpdateClient(ctx context.Context, c Client) error {
	return s.updateClient(ctx, owned(c), keepKeys)
}

func (b base) SetSecret(ctx context.Context, id, was, is string) error {
	const sql = `UPDATE oauth_client SET secret_hash = $3, updated_at = now() WHERE id = $1 AND secret_hash = $2`
	return b.tx(ctx, func(tx pgx.Tx) error { return once(ctx, tx, sql, id, was, is) })
}

// DeleteClient of 1.1 deletes the tokens itself, for they have no foreign key to the client. The row lock comes first:
// whoever issues a token holds a key lock on the client, so that none is inserted behind our back.
func (s *first) DeleteClient(ctx context.Context, id string) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := lockClient(ctx, tx, `SELECT id FROM oauth_client WHERE id = $1 FOR UPDATE`, id); err != nil {
			return err
		}
		for _, sql := range []string{
			`DELETE FROM oauth_consent_request WHERE client_id = $1`, `DELETE FROM oauth_code WHERE client_id = $1`, `DELETE FROM oauth_refresh WHERE client_id = $1`,
			`DELETE FROM oauth_access WHERE client_id = $1`, `DELETE FROM oauth_client WHERE id = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// DeleteClient of 2.0 leaves everything to foreign keys.
func (s *second) DeleteClient(ctx context.Context, id string) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `DELETE FROM oauth_client WHERE id = $1`, id)
		if err == nil && tag.RowsAffected() == 0 {
			return ErrNotFound
		}
		return err
	})
}

func lockClient(ctx context.Context, tx pgx.Tx, sql, id string) error {
	var found string
	err := tx.QueryRow(ctx, sql, id).Scan(&found)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
