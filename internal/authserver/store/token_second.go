package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// endSecond ends a chain as 2.0 does: all its rows go.
func endSecond(ctx context.Context, tx pgx.Tx, requestID string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM oauth_refresh WHERE request_id = $1`, requestID); err != nil {
		return err
	}
	return deleteChainAccess(ctx, tx, requestID)
}

func (s *second) Exchange(ctx context.Context, signature string, issue Issue) error {
	return s.exchange(ctx, signature, issue, endSecond)
}

func (s *second) Revoke(ctx context.Context, signature, client string) error {
	return s.revoke(ctx, signature, client, endSecond)
}

// Rotate of 2.0 forgives a second use within the grace period, so that a client whose answer got lost can retry: it gets
// another access token, and the refresh token of the first use, for as long as nobody has used that one. A chain has one
// living refresh token at any time. Whoever has used the next one got the answer, so that an older one is reuse, as it
// is after the grace period and in rows that 1.x made inactive (first_used_at is NULL): the chain is deleted. The
// consent must still have its flow, and the flow must have been completed.
func (s *second) Rotate(ctx context.Context, signature, client string, issue Issue) error {
	const forgiven = `SELECT u.first_used_at IS NOT NULL AND u.first_used_at + make_interval(secs => $2) > now()
		AND EXISTS (SELECT 1 FROM oauth_refresh n WHERE n.signature = u.successor AND n.request_id = u.request_id AND n.active)
		FROM oauth_refresh u WHERE u.signature = $1`
	const follows = `SELECT successor IS NOT DISTINCT FROM $2 FROM oauth_refresh WHERE signature = $1`
	const use = `UPDATE oauth_refresh SET active = false, first_used_at = now(), successor = $2 WHERE signature = $1`
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
			var ok bool
			if err := tx.QueryRow(ctx, forgiven, signature, s.grace.Seconds()).Scan(&ok); err != nil {
				return err
			}
			if !ok {
				answer = ErrReused
				return endSecond(ctx, tx, used.RequestID)
			}
		case used.Expired:
			return ErrExpired
		}
		if err := completed(ctx, tx, used.ConsentChallenge); err != nil {
			return err
		}
		pair, err := issue(used)
		if err != nil {
			return err
		}
		if !used.Active {
			var same bool
			if err := tx.QueryRow(ctx, follows, signature, pair.Refresh.Signature).Scan(&same); err != nil {
				return err
			}
			if !same { // a server with another system secret used it
				return ErrUsed
			}
			return insertPair(ctx, tx, Pair{Access: pair.Access})
		}
		if err := deleteChainAccess(ctx, tx, used.RequestID); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, use, signature, pair.Refresh.Signature); err != nil {
			return err
		}
		return insertPair(ctx, tx, pair)
	})
	if duplicate(err) { // it was used before, and somebody has made it active again
		return ErrUsed
	}
	if err != nil {
		return err
	}
	return answer
}

// completed demands the flow of a token. The key lock holds it until the new tokens refer to it.
func completed(ctx context.Context, tx pgx.Tx, consent *string) error {
	const sql = `SELECT state FROM oauth_flow WHERE consent_challenge = $1 FOR KEY SHARE`
	if consent == nil {
		return ErrNoFlow
	}
	var state int
	err := tx.QueryRow(ctx, sql, *consent).Scan(&state)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && state != consentUsed {
		return ErrNoFlow
	}
	return err
}
