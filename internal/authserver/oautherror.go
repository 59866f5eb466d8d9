package authserver

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// oauthError is an answer that is not the wanted one: an HTTP status and an OAuth error code (RFC 6749, section 5.2).
type oauthError struct {
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	cause       error
}

func (f *oauthError) Error() string {
	if f.cause != nil {
		return f.Code + ": " + f.cause.Error()
	}
	return f.Code + ": " + f.Description
}

func (f *oauthError) Unwrap() error { return f.cause }

var errNotReady = &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
	Description: "the database does not have this generation's schema yet"}

func invalid(description string) *oauthError {
	return &oauthError{Status: http.StatusBadRequest, Code: "invalid_request", Description: description}
}

// oauthErrorOf turns any error into an answer. What passes by itself is 503, what the request brought about is 4xx; only what
// nobody expected is 500.
func oauthErrorOf(err error) *oauthError {
	var f *oauthError
	switch {
	case errors.As(err, &f):
		return f
	case store.Unavailable(err):
		return &oauthError{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "the server cannot answer at the moment; try again", cause: err}
	case errors.Is(err, store.ErrNotFound), store.Dangling(err):
		return &oauthError{Status: http.StatusNotFound, Code: "not_found", Description: "there is no such thing", cause: err}
	case errors.Is(err, store.ErrExists):
		return &oauthError{Status: http.StatusConflict, Code: "conflict", Description: "the id is taken", cause: err}
	case errors.Is(err, store.ErrUsed):
		return &oauthError{Status: http.StatusConflict, Code: "conflict", Description: "the request has been used already", cause: err}
	case store.Invalid(err):
		return &oauthError{Status: http.StatusBadRequest, Code: "invalid_request", Description: "a value cannot be stored", cause: err}
	}
	return &oauthError{Status: http.StatusInternalServerError, Code: "server_error", Description: "unexpected error", cause: err}
}

// grantError is oauthErrorOf for the token endpoint, where a code or token that does not serve is an invalid grant.
func grantError(err error) *oauthError {
	for _, e := range []error{store.ErrNotFound, store.ErrReused, store.ErrExpired, store.ErrNoFlow, store.ErrNotYours, store.ErrUsed} {
		if errors.Is(err, e) {
			return invalidGrant(err)
		}
	}
	if store.Dangling(err) {
		return invalidGrant(err)
	}
	return oauthErrorOf(err)
}

func invalidGrant(err error) *oauthError {
	return &oauthError{Status: http.StatusBadRequest, Code: "invalid_grant", Description: "the grant is invalid, expired or revoked", cause: err}
}

// refuse turns an error into one that package op answers with our status.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return refusal(oauthErrorOf(err))
}

// refusal is an error as package op takes it. Its error codes are of a type that has no name outside, but JSON fills it.
func refusal(f *oauthError) error {
	f.log()
	e := &oidc.Error{}
	if err := json.Unmarshal([]byte(store.NewDocument(f)), e); err != nil {
		return err
	}
	return op.NewStatusError(e, f.Status)
}

func (f *oauthError) log() {
	if f.Status == http.StatusInternalServerError {
		slog.Error("unexpected error", "cause", f.cause)
	}
}

// writeError answers with an error as JSON.
func writeError(w http.ResponseWriter, err error) {
	f := oauthErrorOf(err)
	f.log()
	writeJSON(w, f.Status, f)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
