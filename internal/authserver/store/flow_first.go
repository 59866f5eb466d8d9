package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

const loginFirst = `SELECT r.challenge, r.verifier, r.client_id, r.session_id,
	coalesce(h.subject, r.subject) AS subject, r.skip, r.request_url, r.requested_scope, r.oidc_context, r.auth_request,
	r.requested_at, h.challenge IS NOT NULL AS handled, coalesce(h.was_used, false) AS used,
	coalesce(h.remember, false) AS remember, coalesce(h.remember_for, 0) AS remember_for, coalesce(h.acr, '') AS acr,
	coalesce(h.context, '{}') AS context, coalesce(h.error, '{}') AS error, h.authenticated_at
	FROM oauth_login_request r LEFT JOIN oauth_login_handled h ON h.challenge = r.challenge`

const consentFirst = `SELECT r.challenge, r.verifier, r.login_challenge, l.session_id, r.client_id, r.subject, r.skip,
	r.acr, r.request_url, r.requested_scope, r.oidc_context, r.auth_request, coalesce(lh.context, '{}') AS login_context,
	r.requested_at, h.challenge IS NOT NULL AS handled, coalesce(h.was_used, false) AS used,
	coalesce(h.granted_scope, '') AS granted_scope, coalesce(h.remember, false) AS remember,
	coalesce(h.remember_for, 0) AS remember_for, coalesce(h.session_access_token, '{}') AS session_access_token,
	coalesce(h.session_id_token, '{}') AS session_id_token, coalesce(h.error, '{}') AS error, h.handled_at
	FROM oauth_consent_request r LEFT JOIN oauth_consent_handled h ON h.challenge = r.challenge
	LEFT JOIN oauth_login_request l ON l.challenge = r.login_challenge
	LEFT JOIN oauth_login_handled lh ON lh.challenge = l.challenge`

func (s *first) CreateLogin(ctx context.Context, l Login) error {
	const sql = `INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, subject, skip, request_url,
		requested_scope, oidc_context, auth_request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	_, err := s.pool.Exec(ctx, sql, l.Challenge, l.Verifier, l.ClientID, l.SessionID, l.Subject, l.Skip, l.RequestURL,
		l.RequestedScope, string(l.OIDCContext), string(l.AuthRequest))
	return err
}

func (s *first) Login(ctx context.Context, challenge string) (Login, error) {
	return one[Login](ctx, s.pool, loginFirst+` WHERE r.challenge = $1`, challenge)
}

func (s *first) LoginByVerifier(ctx context.Context, verifier string) (Login, error) {
	return one[Login](ctx, s.pool, loginFirst+` WHERE r.verifier = $1`, verifier)
}

// AnswerLogin leaves the request's subject as it was and keeps the real one in the answer.
func (s *first) AnswerLogin(ctx context.Context, challenge string, a LoginAnswer) error {
	const sql = `INSERT INTO oauth_login_handled (challenge, subject, remember, remember_for, acr, context, error,
		authenticated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, now())
		ON CONFLICT (challenge) DO UPDATE SET subject = excluded.subject, remember = excluded.remember,
		remember_for = excluded.remember_for, acr = excluded.acr, context = excluded.context, error = excluded.error,
		authenticated_at = excluded.authenticated_at, handled_at = now() WHERE NOT oauth_login_handled.was_used`
	return s.answer(ctx, sql, challenge, a.Subject, a.Remember, a.RememberFor, a.ACR, a.Context.or("{}"), a.Error.or("{}"))
}

func (s *first) answer(ctx context.Context, sql string, args ...any) error {
	tag, err := s.pool.Exec(ctx, sql, args...)
	if Dangling(err) {
		return ErrNotFound
	}
	if err == nil && tag.RowsAffected() == 0 {
		return ErrUsed
	}
	return err
}

func (s *first) BeginConsent(ctx context.Context, l Login, session *Session, c Consent) error {
	const ask = `INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject, skip,
		requested_scope, oidc_context, request_url, auth_request, acr) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	return s.beginConsent(ctx, l, session, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, ask, append(c.values(l), c.ACR)...)
		return err
	})
}

func (c Consent) values(l Login) []any {
	return []any{c.Challenge, c.Verifier, l.Challenge, c.ClientID, c.Subject, c.Skip, c.RequestedScope,
		string(c.OIDCContext), c.RequestURL, string(c.AuthRequest)}
}

// beginConsent uses the login's answer, keeps a new session, and lets ask store the request for consent.
func (s *first) beginConsent(ctx context.Context, l Login, session *Session, ask func(pgx.Tx) error) error {
	const use = `UPDATE oauth_login_handled SET was_used = true WHERE challenge = $1 AND NOT was_used`
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, use, l.Challenge); err != nil {
			return err
		}
		if session != nil {
			if err := insertSession(ctx, tx, *session); err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, `UPDATE oauth_login_request SET session_id = $2 WHERE challenge = $1`,
				l.Challenge, session.ID); err != nil {
				return err
			}
		}
		return ask(tx)
	})
}

func (s *first) Consent(ctx context.Context, challenge string) (Consent, error) {
	return one[Consent](ctx, s.pool, consentFirst+` WHERE r.challenge = $1`, challenge)
}

func (s *first) ConsentByVerifier(ctx context.Context, verifier string) (Consent, error) {
	return one[Consent](ctx, s.pool, consentFirst+` WHERE r.verifier = $1`, verifier)
}

func (s *first) AnswerConsent(ctx context.Context, challenge string, a ConsentAnswer) error {
	const sql = `INSERT INTO oauth_consent_handled (challenge, granted_scope, remember, remember_for,
		session_access_token, session_id_token, error) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (challenge) DO UPDATE SET granted_scope = excluded.granted_scope, remember = excluded.remember,
		remember_for = excluded.remember_for, session_access_token = excluded.session_access_token,
		session_id_token = excluded.session_id_token, error = excluded.error, handled_at = now()
		WHERE NOT oauth_consent_handled.was_used`
	args := []any{challenge, a.GrantedScope, a.Remember, a.RememberFor, a.SessionAccessToken.or("{}"), a.SessionIDToken.or("{}"),
		a.Error.or("{}")}
	if a.AuthRequest == "" {
		return s.answer(ctx, sql, args...)
	}
	err := s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, sql, args...); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE oauth_consent_request SET auth_request = $2 WHERE challenge = $1`, challenge, string(a.AuthRequest))
		return err
	})
	if Dangling(err) {
		return ErrNotFound
	}
	return err
}

func (s *first) IssueCode(ctx context.Context, c Consent, code Token) error {
	const use = `UPDATE oauth_consent_handled SET was_used = true WHERE challenge = $1 AND NOT was_used`
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, use, c.Challenge); err != nil {
			return err
		}
		return insertCode(ctx, tx, code)
	})
}

func (s *first) Remembered(ctx context.Context, subject, client string) ([]Memory, error) {
	const sql = `SELECT h.granted_scope, r.auth_request FROM oauth_consent_request r
		JOIN oauth_consent_handled h ON h.challenge = r.challenge
		WHERE r.subject = $1 AND r.client_id = $2 AND NOT r.skip AND h.remember AND h.was_used AND h.error = '{}'
		AND (h.remember_for = 0 OR h.handled_at + make_interval(secs => h.remember_for) > now())`
	return all[Memory](ctx, s.pool, sql, subject, client)
}

func (s *first) Granted(ctx context.Context, subject string) ([]Consent, error) {
	return all[Consent](ctx, s.pool, consentFirst+` WHERE r.subject = $1 AND NOT r.skip AND h.was_used AND h.error = '{}'
		ORDER BY h.handled_at DESC, r.challenge`, subject)
}

func (s *first) RevokeConsents(ctx context.Context, subject, client string) error {
	const sql = `DELETE FROM oauth_consent_request WHERE subject = $1 AND ($2 = '' OR client_id = $2)`
	return s.exec(ctx, sql, subject, client)
}

// once runs a statement that must change a row; where it changes none somebody was quicker.
func once(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	tag, err := tx.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrUsed
	}
	return err
}

func insertSession(ctx context.Context, tx pgx.Tx, s Session) error {
	_, err := tx.Exec(ctx, `INSERT INTO oauth_session (id, subject, remember) VALUES ($1, $2, $3)`,
		s.ID, s.Subject, s.Remember)
	return err
}
