package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

type originalLogin struct {
	Challenge      string    `db:"challenge"`
	Verifier       string    `db:"verifier"`
	ClientID       string    `db:"client_id"`
	SessionID      *string   `db:"session_id"`
	Subject        string    `db:"subject"`
	Skip           bool      `db:"skip"`
	RequestURL     string    `db:"request_url"`
	RequestedScope string    `db:"requested_scope"`
	OIDCContext    Document  `db:"oidc_context"`
	AuthRequest    Document  `db:"auth_request"`
	RequestedAt    time.Time `db:"requested_at"`
}

type originalLoginHandled struct {
	Challenge       string     `db:"challenge"`
	Subject         string     `db:"subject"`
	Remember        bool       `db:"remember"`
	RememberFor     int32      `db:"remember_for"`
	ACR             string     `db:"acr"`
	Context         Document   `db:"context"`
	Error           Document   `db:"error"`
	Used            bool       `db:"was_used"`
	AuthenticatedAt *time.Time `db:"authenticated_at"`
	HandledAt       time.Time  `db:"handled_at"`
}

type originalConsent struct {
	Challenge      string    `db:"challenge"`
	Verifier       string    `db:"verifier"`
	LoginChallenge *string   `db:"login_challenge"`
	ClientID       string    `db:"client_id"`
	Subject        string    `db:"subject"`
	Skip           bool      `db:"skip"`
	RequestedScope string    `db:"requested_scope"`
	OIDCContext    Document  `db:"oidc_context"`
	RequestURL     string    `db:"request_url"`
	AuthRequest    Document  `db:"auth_request"`
	RequestedAt    time.Time `db:"requested_at"`
}

type originalConsentHandled struct {
	Challenge          string    `db:"challenge"`
	GrantedScope       string    `db:"granted_scope"`
	Remember           bool      `db:"remember"`
	RememberFor        int32     `db:"remember_for"`
	SessionAccessToken Document  `db:"session_access_token"`
	SessionIDToken     Document  `db:"session_id_token"`
	Error              Document  `db:"error"`
	Used               bool      `db:"was_used"`
	HandledAt          time.Time `db:"handled_at"`
}

const (
	originalLoginHandledSQL   = `SELECT * FROM oauth_login_handled WHERE challenge = $1`
	originalConsentHandledSQL = `SELECT * FROM oauth_consent_handled WHERE challenge = $1`
)

func (s *original) Login(ctx context.Context, challenge string) (Login, error) {
	return s.login(ctx, `SELECT * FROM oauth_login_request WHERE challenge = $1`, challenge)
}

func (s *original) LoginByVerifier(ctx context.Context, verifier string) (Login, error) {
	return s.login(ctx, `SELECT * FROM oauth_login_request WHERE verifier = $1`, verifier)
}

func (s *original) login(ctx context.Context, sql, key string) (Login, error) {
	r, err := one[originalLogin](ctx, s.pool, sql, key)
	if err != nil {
		return Login{}, err
	}
	l := Login{Challenge: r.Challenge, Verifier: r.Verifier, ClientID: r.ClientID, SessionID: r.SessionID, Subject: r.Subject, Skip: r.Skip,
		RequestURL: r.RequestURL, RequestedScope: r.RequestedScope, OIDCContext: r.OIDCContext, AuthRequest: r.AuthRequest,
		RequestedAt: r.RequestedAt, Context: "{}", Error: "{}"}
	h, err := optional[originalLoginHandled](ctx, s.pool, originalLoginHandledSQL, r.Challenge)
	if err != nil || h == nil {
		return l, err
	}
	l.Handled, l.Subject, l.Used, l.Remember, l.RememberFor = true, h.Subject, h.Used, h.Remember, h.RememberFor
	l.ACR, l.Context, l.Error, l.AuthenticatedAt = h.ACR, h.Context, h.Error, h.AuthenticatedAt
	return l, nil
}

// BeginConsent of 1.0 leaves the ACR where the login has it.
func (s *original) BeginConsent(ctx context.Context, l Login, session *Session, c Consent) error {
	const ask = `INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject, skip,
		requested_scope, oidc_context, request_url, auth_request) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
	return s.beginConsent(ctx, l, session, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, ask, c.values(l)...)
		return err
	})
}

func (s *original) Consent(ctx context.Context, challenge string) (Consent, error) {
	return s.consent(ctx, `SELECT * FROM oauth_consent_request WHERE challenge = $1`, challenge)
}

func (s *original) ConsentByVerifier(ctx context.Context, verifier string) (Consent, error) {
	return s.consent(ctx, `SELECT * FROM oauth_consent_request WHERE verifier = $1`, verifier)
}

func (s *original) consent(ctx context.Context, sql, key string) (Consent, error) {
	r, err := one[originalConsent](ctx, s.pool, sql, key)
	if err != nil {
		return Consent{}, err
	}
	return s.whole(ctx, r)
}

// whole adds to a consent request its answer and its login.
func (s *original) whole(ctx context.Context, r originalConsent) (Consent, error) {
	c := Consent{Challenge: r.Challenge, Verifier: r.Verifier, LoginChallenge: r.LoginChallenge, ClientID: r.ClientID, Subject: r.Subject,
		Skip: r.Skip, RequestURL: r.RequestURL, RequestedScope: r.RequestedScope, OIDCContext: r.OIDCContext, AuthRequest: r.AuthRequest,
		RequestedAt: r.RequestedAt, LoginContext: "{}", SessionAccessToken: "{}", SessionIDToken: "{}", Error: "{}"}
	if r.LoginChallenge != nil {
		l, err := optional[originalLogin](ctx, s.pool, `SELECT * FROM oauth_login_request WHERE challenge = $1`, *r.LoginChallenge)
		if err != nil {
			return c, err
		}
		lh, err := optional[originalLoginHandled](ctx, s.pool, originalLoginHandledSQL, *r.LoginChallenge)
		if err != nil {
			return c, err
		}
		if l != nil {
			c.SessionID = l.SessionID
		}
		if lh != nil {
			c.ACR, c.LoginContext = lh.ACR, lh.Context
		}
	}
	h, err := optional[originalConsentHandled](ctx, s.pool, originalConsentHandledSQL, r.Challenge)
	if err != nil || h == nil {
		return c, err
	}
	c.Handled, c.Used, c.GrantedScope, c.Remember, c.RememberFor = true, h.Used, h.GrantedScope, h.Remember, h.RememberFor
	c.SessionAccessToken, c.SessionIDToken, c.Error, c.HandledAt = h.SessionAccessToken, h.SessionIDToken, h.Error, &h.HandledAt
	return c, nil
}

func (s *original) Granted(ctx context.Context, subject string) ([]Consent, error) {
	const sql = `SELECT r.* FROM oauth_consent_request r JOIN oauth_consent_handled h ON h.challenge = r.challenge
		WHERE r.subject = $1 AND NOT r.skip AND h.was_used AND h.error = '{}' ORDER BY h.handled_at DESC, r.challenge`
	rows, err := all[originalConsent](ctx, s.pool, sql, subject)
	if err != nil {
		return nil, err
	}
	list := make([]Consent, len(rows))
	for i, r := range rows {
		if list[i], err = s.whole(ctx, r); err != nil {
			return nil, err
		}
	}
	return list, nil
}
