package store

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// A flow's state, in one number (schema 20002).
const (
	loginAsked, loginAnswered     = 1, 2
	consentAsked, consentAnswered = 4, 5
	consentUsed                   = 6
	loginFailed, consentFailed    = 128, 129
)

const loginSecond = `SELECT login_challenge AS challenge, login_verifier AS verifier, client_id, session_id, subject,
	login_skip AS skip, request_url, requested_scope, oidc_context::text AS oidc_context,
	auth_request::text AS auth_request, requested_at, state <> 1 AS handled, login_was_used AS used,
	login_remember AS remember, login_remember_for AS remember_for, acr, login_context::text AS context,
	coalesce(login_error::text, '{}') AS error, login_authenticated_at AS authenticated_at FROM oauth_flow`

const consentSecond = `SELECT consent_challenge AS challenge, consent_verifier AS verifier, login_challenge, session_id,
	client_id, subject, consent_skip AS skip, acr, request_url, requested_scope, oidc_context::text AS oidc_context,
	auth_request::text AS auth_request, login_context::text AS login_context, requested_at,
	state IN (5, 6, 129) AS handled, consent_was_used AS used, granted_scope, consent_remember AS remember,
	consent_remember_for AS remember_for, session_access_token::text AS session_access_token,
	session_id_token::text AS session_id_token, coalesce(consent_error::text, '{}') AS error,
	consent_handled_at AS handled_at FROM oauth_flow`

func (s *second) CreateLogin(ctx context.Context, l Login) error { return insertLogin(ctx, s.pool, l) }

func insertLogin(ctx context.Context, q execer, l Login) error {
	const sql = `INSERT INTO oauth_flow (login_challenge, login_verifier, nid, client_id, session_id, subject, login_skip,
		request_url, requested_scope, oidc_context, auth_request, state)
		SELECT $1, $2, nid, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM oauth_client WHERE id = $3`
	tag, err := q.Exec(ctx, sql, l.Challenge, l.Verifier, l.ClientID, l.SessionID, l.Subject, l.Skip, l.RequestURL,
		l.RequestedScope, string(l.OIDCContext), string(l.AuthRequest), loginAsked)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	return err
}

func (s *second) Login(ctx context.Context, challenge string) (Login, error) {
	return one[Login](ctx, s.pool, loginSecond+` WHERE login_challenge = $1`, challenge)
}

func (s *second) LoginByVerifier(ctx context.Context, verifier string) (Login, error) {
	return one[Login](ctx, s.pool, loginSecond+` WHERE login_verifier = $1`, verifier)
}

func (s *second) AnswerLogin(ctx context.Context, challenge string, a LoginAnswer) error {
	const sql = `UPDATE oauth_flow SET subject = $2, login_remember = $3, login_remember_for = $4, acr = $5,
		login_context = $6, login_error = $7, state = $8, login_authenticated_at = now()
		WHERE login_challenge = $1 AND NOT login_was_used AND state IN (1, 2, 128)`
	failure, state := nullable(a.Error), loginAnswered
	if failure != nil {
		state = loginFailed
	}
	tag, err := s.pool.Exec(ctx, sql, challenge, a.Subject, a.Remember, a.RememberFor, a.ACR, a.Context.or("{}"), failure, state)
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	if _, err := s.Login(ctx, challenge); err != nil {
		return err
	}
	return ErrUsed
}

func nullable(d Document) *string {
	if text := d.or("{}"); text != "{}" {
		return &text
	}
	return nil
}

func (s *second) BeginConsent(ctx context.Context, l Login, session *Session, c Consent) error {
	const sql = `UPDATE oauth_flow SET login_was_used = true, session_id = $2, consent_challenge = $3,
		consent_verifier = $4, consent_skip = $5, auth_request = $6, state = $7
		WHERE login_challenge = $1 AND NOT login_was_used AND state = 2`
	return s.tx(ctx, func(tx pgx.Tx) error {
		id := l.SessionID
		if session != nil {
			if err := insertSession(ctx, tx, *session); err != nil {
				return err
			}
			id = &session.ID
		}
		return once(ctx, tx, sql, l.Challenge, id, c.Challenge, c.Verifier, c.Skip, string(c.AuthRequest), consentAsked)
	})
}

func (s *second) Consent(ctx context.Context, challenge string) (Consent, error) {
	return one[Consent](ctx, s.pool, consentSecond+` WHERE consent_challenge = $1 AND consent_verifier IS NOT NULL`, challenge)
}

func (s *second) ConsentByVerifier(ctx context.Context, verifier string) (Consent, error) {
	return one[Consent](ctx, s.pool, consentSecond+` WHERE consent_verifier = $1 AND consent_challenge IS NOT NULL`, verifier)
}

func (s *second) AnswerConsent(ctx context.Context, challenge string, a ConsentAnswer) error {
	const sql = `UPDATE oauth_flow SET granted_scope = $2, consent_remember = $3, consent_remember_for = $4,
		session_access_token = $5, session_id_token = $6, consent_error = $7, state = $8, consent_handled_at = now(),
		auth_request = coalesce($9, auth_request)
		WHERE consent_challenge = $1 AND NOT consent_was_used AND state IN (4, 5, 129)`
	failure, state := nullable(a.Error), consentAnswered
	if failure != nil {
		state = consentFailed
	}
	tag, err := s.pool.Exec(ctx, sql, challenge, a.GrantedScope, a.Remember, a.RememberFor, a.SessionAccessToken.or("{}"),
		a.SessionIDToken.or("{}"), failure, state, nullable(a.AuthRequest))
	if err != nil || tag.RowsAffected() == 1 {
		return err
	}
	if _, err := s.Consent(ctx, challenge); err != nil {
		return err
	}
	return ErrUsed
}

const useConsent = `UPDATE oauth_flow SET consent_was_used = true, state = $2
	WHERE consent_challenge = $1 AND NOT consent_was_used AND state = 5`

func (s *second) IssueCode(ctx context.Context, c Consent, code Token) error {
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, useConsent, c.Challenge, consentUsed); err != nil {
			return err
		}
		return insertCode(ctx, tx, code)
	})
}

func (s *second) Remembered(ctx context.Context, subject, client string) ([]Memory, error) {
	const sql = `SELECT granted_scope, auth_request::text AS auth_request FROM oauth_flow WHERE subject = $1 AND client_id = $2 AND state = 6
		AND NOT consent_skip AND consent_remember AND consent_error IS NULL
		AND (consent_remember_for = 0 OR consent_handled_at + make_interval(secs => consent_remember_for) > now())`
	return all[Memory](ctx, s.pool, sql, subject, client)
}

func (s *second) Granted(ctx context.Context, subject string) ([]Consent, error) {
	return all[Consent](ctx, s.pool, consentSecond+` WHERE subject = $1 AND state = 6 AND NOT consent_skip
		AND consent_error IS NULL AND consent_challenge IS NOT NULL AND consent_verifier IS NOT NULL
		ORDER BY consent_handled_at DESC, consent_challenge`, subject)
}

func (s *second) RevokeConsents(ctx context.Context, subject, client string) error {
	const sql = `DELETE FROM oauth_flow WHERE subject = $1 AND ($2 = '' OR client_id = $2) AND consent_challenge IS NOT NULL`
	return s.exec(ctx, sql, subject, client)
}
