package store

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// What a device that asks for its tokens can be told, beside what codes are.
var (
	ErrPending = errors.New("nobody has answered yet")
	ErrTooFast = errors.New("asked again too soon")
	ErrRefused = errors.New("the person has refused")
)

// Device is a request of a device that has no browser (RFC 8628). Neither of its codes is kept.
type Device struct {
	Signature     string        `db:"signature"`
	UserSignature string        `db:"user_signature"`
	ClientID      string        `db:"client_id"`
	Scope         string        `db:"scope"`
	Audience      Document      `db:"audience"`
	Lifetime      time.Duration `db:"-"`
	Interval      time.Duration `db:"-"` // the device waits so long between two questions
}

// Devices keeps devices. Only generation 2.0 has them.
type Devices interface {
	// AskDevice returns ErrExists where the code for the person is taken.
	AskDevice(ctx context.Context, d Device) error
	// DeviceOf finds the device that waits for a person's code, by any of the signatures that the code may have;
	// ErrNotFound where none does.
	DeviceOf(ctx context.Context, userSignatures []string) (Device, error)
	// Device returns ErrNotFound for one that no longer waits for a person's code.
	Device(ctx context.Context, signature string) (Device, error)
	// BeginDevice stores the login of the person who typed the code, and uses the code: a second one finds ErrUsed.
	BeginDevice(ctx context.Context, signature string, l Login) error
	// GrantDevice uses the consent's answer and lets the device have what code says, in one transaction.
	GrantDevice(ctx context.Context, c Consent, signature string, code Token) error
	// RefuseDevice has the device learn that the person said no.
	RefuseDevice(ctx context.Context, signature, loginChallenge string) error
	// Collect gives the device its tokens once. A code that was used before ends its chain (ErrReused).
	Collect(ctx context.Context, signature, client string, issue Issue) error
}

// A device's state (schema 20007).
const (
	deviceAsked, deviceTyped, deviceGranted, deviceRefused, deviceUsed = 1, 2, 3, 4, 5
	// slowDown is how much longer a device that asks too often has to wait from then on (RFC 8628, section 3.5).
	slowDown = 5
)

func (s *second) AskDevice(ctx context.Context, d Device) error {
	const sql = `INSERT INTO oauth_device (signature, user_signature, client_id, scope, audience, poll_seconds, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))`
	err := s.exec(ctx, sql, d.Signature, d.UserSignature, d.ClientID, d.Scope, d.Audience.or("[]"), int(d.Interval.Seconds()), d.Lifetime.Seconds())
	if duplicate(err) {
		return ErrExists
	}
	return err
}

const waitingDevice = `SELECT signature, user_signature, client_id, scope, audience::text AS audience FROM oauth_device
	WHERE state = 1 AND expires_at > now() AND `

func (s *second) DeviceOf(ctx context.Context, userSignatures []string) (Device, error) {
	return one[Device](ctx, s.pool, waitingDevice+`user_signature = ANY ($1)`, userSignatures)
}

func (s *second) Device(ctx context.Context, signature string) (Device, error) {
	return one[Device](ctx, s.pool, waitingDevice+`signature = $1`, signature)
}

func (s *second) BeginDevice(ctx context.Context, signature string, l Login) error {
	const sql = `UPDATE oauth_device SET state = 2, login_challenge = $2 WHERE signature = $1 AND state = 1 AND expires_at > now()`
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, sql, signature, l.Challenge); err != nil {
			return err
		}
		return insertLogin(ctx, tx, l)
	})
}

func (s *second) GrantDevice(ctx context.Context, c Consent, signature string, code Token) error {
	const sql = `UPDATE oauth_device SET state = 3, consent_challenge = $3, subject = $4, granted_scope = $5, session_data = $6, audience = $7
		WHERE signature = $1 AND login_challenge = $2 AND state = 2 AND expires_at > now()`
	return s.tx(ctx, func(tx pgx.Tx) error {
		if err := once(ctx, tx, useConsent, c.Challenge, consentUsed); err != nil {
			return err
		}
		return once(ctx, tx, sql, signature, c.LoginChallenge, c.Challenge, code.Subject, code.Scope, string(code.SessionData), code.Audience.or("[]"))
	})
}

func (s *second) RefuseDevice(ctx context.Context, signature, loginChallenge string) error {
	return s.exec(ctx, `UPDATE oauth_device SET state = 4 WHERE signature = $1 AND login_challenge = $2 AND state = 2`, signature, loginChallenge)
}

// asking is a device as Collect finds it.
type asking struct {
	Token
	State int  `db:"state"`
	Early bool `db:"early"`
}

func (s *second) Collect(ctx context.Context, signature, client string, issue Issue) error {
	const find = `SELECT signature, coalesce(consent_challenge, '') AS request_id, client_id, subject, consent_challenge, granted_scope AS scope,
		audience::text AS audience, session_data::text AS session_data, true AS active, expires_at <= now() AS expired,
		requested_at, expires_at, state, coalesce(polled_at + make_interval(secs => poll_seconds) > now(), false) AS early
		FROM oauth_device WHERE signature = $1`
	const poll = `UPDATE oauth_device SET polled_at = now(), poll_seconds = poll_seconds + $2 WHERE signature = $1`
	var answer error
	err := s.tx(ctx, func(tx pgx.Tx) error {
		answer = nil
		d, err := one[asking](ctx, tx, find, signature)
		if err != nil {
			return err
		}
		if d.ClientID != client {
			return ErrNotYours
		}
		held := d.ConsentChallenge != nil
		if held { // the order of locks is that of every chain
			if err := s.hold(ctx, tx, d.Token); err != nil {
				return err
			}
		}
		if d, err = one[asking](ctx, tx, find+` FOR UPDATE`, signature); err != nil {
			return err
		}
		waiting := d.State != deviceGranted || !held // granted just now, it is found at the next question
		switch {
		case d.State == deviceUsed && held:
			answer = ErrReused
			return endSecond(ctx, tx, d.RequestID)
		case d.Expired:
			return ErrExpired
		case d.State == deviceRefused:
			return ErrRefused
		case waiting && d.Early:
			answer = ErrTooFast
			_, err := tx.Exec(ctx, poll, signature, slowDown)
			return err
		case waiting:
			answer = ErrPending
			_, err := tx.Exec(ctx, poll, signature, 0)
			return err
		}
		if err := completed(ctx, tx, d.ConsentChallenge); err != nil { // it may have been taken back since
			return err
		}
		pair, err := issue(d.Token)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE oauth_device SET state = 5 WHERE signature = $1`, signature); err != nil {
			return err
		}
		return insertPair(ctx, tx, pair)
	})
	if err != nil {
		return err
	}
	return answer
}
