// Package store keeps the bundled OAuth server's state in Postgres, in the schema of one generation.
//
// The server speaks one set of words (client, session, login, consent, token, key); a generation says how they lie in
// its tables. Generation 1.1 has four tables for a login and its consent, 2.0 has one flow. What a revocation or a
// rotation does to rows differs too, and is said at each method, because whoever captures row changes depends on it.
//
// Table names are not schema-qualified on purpose: an operator may put views in front of the tables by the role's
// search_path, so that a server outlives a change of its schema. Every statement names its columns; only those of
// generation 1.0 don't, as old servers will, and need such views.
//
// All statements that take part in one decision run in one transaction, and every operation on a token chain first
// takes the chain's advisory lock. Without it a revocation could miss the token that a concurrent rotation is just
// inserting: at READ COMMITTED an UPDATE does not see rows that were inserted after it began.
package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What an operation can find. They are answers, not faults.
var (
	ErrNotFound = errors.New("no such row")
	ErrExists   = errors.New("the row exists already")
	ErrUsed     = errors.New("used already")
	ErrReused   = errors.New("used before; its whole chain has been revoked")
	ErrExpired  = errors.New("expired")
	ErrNoFlow   = errors.New("the token's consent is gone")
	ErrNotYours = errors.New("belongs to another client")
)

// Store is all that the server keeps, in one generation of the schema.
type Store interface {
	Clients
	Sessions
	Flows
	Tokens
	Keys
}

// Open returns the store of a generation. Grace is how long generation 2.0 lets a used refresh token be used again;
// 1.1 has no such thing.
func Open(pool *pgxpool.Pool, generation string, grace time.Duration) (Store, error) {
	const firstLock = `SELECT challenge FROM oauth_consent_request WHERE challenge = $1 FOR KEY SHARE`
	const secondLock = `SELECT login_challenge FROM oauth_flow WHERE consent_challenge = $1 FOR KEY SHARE`
	switch generation {
	case "1.0":
		return &original{first{base{pool: pool, consentLock: firstLock, tokens: allColumns}}}, nil
	case "1.1":
		return &first{base{pool: pool, clients: clientFirst, consentLock: firstLock, tokens: namedColumns}}, nil
	case "2.0":
		return &second{base: base{pool: pool, clients: clientSecond, consentLock: secondLock, tokens: namedColumns}, grace: grace}, nil
	}
	return nil, fmt.Errorf("generation %q has no server; there are 1.0, 1.1 and 2.0", generation)
}

// original is generation 1.0: the tables of 1.1, but for what 1.1 moved and added.
type original struct{ first }

// first is generation 1.1.
type first struct{ base }

// second is generation 2.0.
type second struct {
	base
	grace time.Duration
}

// base is what all generations have in common.
type base struct {
	pool        *pgxpool.Pool
	clients     string // reads clients
	consentLock string // keeps a chain's consent from being deleted
	tokens      tokenSQL
	note        *Entry // what the next transaction is to be known by; nil in all but 2.0
}

// tx runs f in a transaction and commits it. Serialization failures and deadlocks are tried again a few times, so f
// must be able to run more than once.
func (b base) tx(ctx context.Context, f func(tx pgx.Tx) error) error {
	const tries = 6
	for try := 1; ; try++ {
		err := pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
			if err := f(tx); err != nil || b.note == nil {
				return err
			}
			return b.note.write(ctx, tx)
		})
		if err == nil || try == tries || !collided(err) {
			return err
		}
		wait := time.Duration(rand.Int64N(int64(time.Millisecond) << (2 * try)))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

// exec runs one statement, again after a collision.
func (b base) exec(ctx context.Context, sql string, args ...any) error {
	return b.tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, sql, args...)
		return err
	})
}

// one reads a single row into T by column name.
func one[T any](ctx context.Context, q querier, sql string, args ...any) (T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return v, ErrNotFound
	}
	return v, err
}

// all reads every row into T by column name.
func all[T any](ctx context.Context, q querier, sql string, args ...any) ([]T, error) {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByName[T])
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}
