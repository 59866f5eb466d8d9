package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// endFirst ends a chain as 1.x does: refresh tokens become inactive and stay, access tokens go.
func endFirst(ctx context.Context, tx pgx.Tx, requestID string) error {
	if _, err := tx.Exec(ctx, `UPDATE oauth_refresh SET active = false WHERE request_id = $1 AND active`, requestID); err != nil {
		return err
	}
	return deleteChainAccess(ctx, tx, requestID)
}

func (s *first) Exchange(ctx context.Context, signature string, issue Issue) error {
	return s.exchange(ctx, signature, issue, endFirst)
}

func (s *first) Revoke(ctx context.Context, signature, client string) error {
	return s.revoke(ctx, signature, client, endFirst)
}

// Rotate of 1.1 is strict: whoever uses a refresh token a second time, be it a thief or a client that retries, ends the
// whole chain. Of many at once exactly one succeeds, and the others end what it got.
func (s *first) Rotate(ctx context.Context, signature, client string, issue Issue) error {
	return s.rotate(ctx, signature, client, issue, func(ctx context.Context, tx pgx.Tx, used Token) (answer, err error) {
		return ErrReused, endFirst(ctx, tx, used.RequestID)
	})
}

// rotate is the same in 1.0 and 1.1 but for what a token that was used already does. That answer is given once everything
// is committed.
func (s *first) rotate(ctx context.Context, signature, client string, issue Issue, again func(context.Context, pgx.Tx, Token) (answer, err error)) error {
	var answer error
	err := s.tx(ctx, func(tx pgx.Tx) error {
		answer = nil
		used, err := s.held(ctx, tx, s.tokens.refresh, signature)
		switch {
		case err != nil:
			return err
		case used.ClientID != client:
			return ErrNotYours
		case !used.Active:
			answer, err = again(ctx, tx, used)
			return err
		case used.Expired:
			return ErrExpired
		}
		pair, err := issue(used)
		if err != nil {
			return err
		}
		if err := deleteChainAccess(ctx, tx, used.RequestID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE oauth_refresh SET active = false WHERE signature = $1`, signature); err != nil {
			return err
		}
		return insertPair(ctx, tx, pair)
	})
	if err != nil {
		return err
	}
	return answer
}
