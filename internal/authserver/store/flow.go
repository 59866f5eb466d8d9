package store

import (
	"context"
	"time"
)

// Login is a request that a person log in, and its answer once there is one.
type Login struct {
	Challenge       string     `db:"challenge"`
	Verifier        string     `db:"verifier"`
	ClientID        string     `db:"client_id"`
	SessionID       *string    `db:"session_id"` // the session that it goes on, nil for a new one
	Subject         string     `db:"subject"`    // known before the answer only where Skip is set
	Skip            bool       `db:"skip"`
	RequestURL      string     `db:"request_url"`
	RequestedScope  string     `db:"requested_scope"`
	OIDCContext     Document   `db:"oidc_context"`
	AuthRequest     Document   `db:"auth_request"`
	RequestedAt     time.Time  `db:"requested_at"`
	Handled         bool       `db:"handled"`
	Used            bool       `db:"used"`
	Remember        bool       `db:"remember"`
	RememberFor     int32      `db:"remember_for"` // seconds; 0 is for ever
	ACR             string     `db:"acr"`
	Context         Document   `db:"context"`
	Error           Document   `db:"error"` // {} where accepted
	AuthenticatedAt *time.Time `db:"authenticated_at"`
}

// LoginAnswer is what the login app says. Error is set where it refuses.
type LoginAnswer struct {
	Subject     string
	Remember    bool
	RememberFor int32
	ACR         string
	Context     Document
	Error       Document
}

// Consent is a request that a person let an app in, and its answer once there is one.
type Consent struct {
	Challenge          string     `db:"challenge"`
	Verifier           string     `db:"verifier"`
	LoginChallenge     *string    `db:"login_challenge"`
	SessionID          *string    `db:"session_id"`
	ClientID           string     `db:"client_id"`
	Subject            string     `db:"subject"`
	Skip               bool       `db:"skip"`
	ACR                string     `db:"acr"`
	RequestURL         string     `db:"request_url"`
	RequestedScope     string     `db:"requested_scope"`
	OIDCContext        Document   `db:"oidc_context"`
	AuthRequest        Document   `db:"auth_request"`
	LoginContext       Document   `db:"login_context"`
	RequestedAt        time.Time  `db:"requested_at"`
	Handled            bool       `db:"handled"`
	Used               bool       `db:"used"`
	GrantedScope       string     `db:"granted_scope"`
	Remember           bool       `db:"remember"`
	RememberFor        int32      `db:"remember_for"`
	SessionAccessToken Document   `db:"session_access_token"`
	SessionIDToken     Document   `db:"session_id_token"`
	Error              Document   `db:"error"`
	HandledAt          *time.Time `db:"handled_at"`
}

// ConsentAnswer is what the consent app says. Error is set where it refuses. AuthRequest, where it is set, takes the
// place of the request's: what of it was granted has no column.
type ConsentAnswer struct {
	AuthRequest        Document
	GrantedScope       string
	Remember           bool
	RememberFor        int32
	SessionAccessToken Document
	SessionIDToken     Document
	Error              Document
}

// Memory is a consent that holds for later requests.
type Memory struct {
	GrantedScope string   `db:"granted_scope"`
	AuthRequest  Document `db:"auth_request"`
}

// Flows keeps logins and consents. Every use of a verifier happens at most once, however many requests race for it:
// the second finds ErrUsed.
type Flows interface {
	CreateLogin(ctx context.Context, l Login) error
	Login(ctx context.Context, challenge string) (Login, error)
	LoginByVerifier(ctx context.Context, verifier string) (Login, error)
	// AnswerLogin may be called again until the answer is used; then it returns ErrUsed.
	AnswerLogin(ctx context.Context, challenge string, a LoginAnswer) error

	// BeginConsent uses the login's answer and asks for consent, in one transaction. A session that is not nil is new
	// and becomes the login's; its time of authentication is the server's.
	BeginConsent(ctx context.Context, l Login, s *Session, c Consent) error
	Consent(ctx context.Context, challenge string) (Consent, error)
	ConsentByVerifier(ctx context.Context, verifier string) (Consent, error)
	AnswerConsent(ctx context.Context, challenge string, a ConsentAnswer) error
	// IssueCode uses the consent's answer and stores the code, in one transaction.
	IssueCode(ctx context.Context, c Consent, code Token) error

	// Remembered returns what a person has granted a client for good.
	Remembered(ctx context.Context, subject, client string) ([]Memory, error)
	// Granted returns a person's consents, the newest first.
	Granted(ctx context.Context, subject string) ([]Consent, error)
	// RevokeConsents deletes a person's consents to a client, or to all clients where client is empty. Codes and
	// tokens go along by foreign key.
	RevokeConsents(ctx context.Context, subject, client string) error
}
