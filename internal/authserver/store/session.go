package store

import (
	"context"
	"time"
)

// Session is a person's login in one browser. ID is the hash of the browser's cookie, never the cookie itself.
type Session struct {
	ID              string    `db:"id"`
	Subject         string    `db:"subject"`
	Remember        bool      `db:"remember"`
	AuthenticatedAt time.Time `db:"authenticated_at"`
}

// Sessions keeps logins. Ending one deletes its row: in 1.1 its login requests go along and its consents lose their
// login challenge, in 2.0 its flows lose their session. Tokens live on in both.
type Sessions interface {
	Session(ctx context.Context, id string) (Session, error)
	// EndSession ends one session; one that is gone already is no error.
	EndSession(ctx context.Context, id string) error
	// EndSessions ends all sessions of a person.
	EndSessions(ctx context.Context, subject string) error
}

func (b base) Session(ctx context.Context, id string) (Session, error) {
	return one[Session](ctx, b.pool, `SELECT id, subject, remember, authenticated_at FROM oauth_session WHERE id = $1`, id)
}

func (b base) EndSession(ctx context.Context, id string) error {
	return b.exec(ctx, `DELETE FROM oauth_session WHERE id = $1`, id)
}

func (b base) EndSessions(ctx context.Context, subject string) error {
	return b.exec(ctx, `DELETE FROM oauth_session WHERE subject = $1`, subject)
}
