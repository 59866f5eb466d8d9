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

// fault is an answer that is not the wanted one: an HTTP status and an OAuth error code (RFC 6749, section 5.2).
type fault struct {
	Status      int    `json:"-"`
	Code        string `json:"error"`
	Description string `json:"error_description,omitempty"`
	cause       error
}

func (f *fault) Error() string {
	if f.cause != nil {
		return f.Code + ": " + f.cause.Error()
	}
	return f.Code + ": " + f.Description
}

func (f *fault) Unwrap() error { return f.cause }

var errNotReady = &fault{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
	Description: "the database does not have this generation's schema yet"}

func invalid(description string) *fault {
	return &fault{Status: http.StatusBadRequest, Code: "invalid_request", Description: description}
}

// faultOf turns any error into an answer. What passes by itself is 503, what the request brought about is 4xx; only what
// nobody expected is 500.
func faultOf(err error) *fault {
	var f *fault
	switch {
	case errors.As(err, &f):
		return f
	case store.Unavailable(err):
		return &fault{Status: http.StatusServiceUnavailable, Code: "temporarily_unavailable",
			Description: "the server cannot answer at the moment; try again", cause: err}
	case errors.Is(err, store.ErrNotFound), store.Dangling(err):
		return &fault{Status: http.StatusNotFound, Code: "not_found", Description: "there is no such thing", cause: err}
	case errors.Is(err, store.ErrExists):
		return &fault{Status: http.StatusConflict, Code: "conflict", Description: "the id is taken", cause: err}
	case errors.Is(err, store.ErrUsed):
		return &fault{Status: http.StatusConflict, Code: "conflict", Description: "the request has been used already", cause: err}
	case store.Invalid(err):
		return &fault{Status: http.StatusBadRequest, Code: "invalid_request", Description: "a value cannot be stored", cause: err}
	}
	return &fault{Status: http.StatusInternalServerError, Code: "server_error", Description: "unexpected error", cause: err}
}

// grantFault is faultOf for the token endpoint, where a code or token that does not serve is an invalid grant.
func grantFault(err error) *fault {
	for _, e := range []error{store.ErrNotFound, store.ErrReused, store.ErrExpired, store.ErrNoFlow, store.ErrNotYours, store.ErrUsed} {
		if errors.Is(err, e) {
			return invalidGrant(err)
		}
	}
	if store.Dangling(err) {
		return invalidGrant(err)
	}
	return faultOf(err)
}

func invalidGrant(err error) *fault {
	return &fault{Status: http.StatusBadRequest, Code: "invalid_grant", Description: "the grant is invalid, expired or revoked", cause: err}
}

// refuse turns an error into one that package op answers with our status.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return refusal(faultOf(err))
}

// refusal is a fault as package op takes it. Its error codes are of a type that has no name outside, but JSON fills it.
func refusal(f *fault) error {
	f.log()
	e := &oidc.Error{}
	if err := json.Unmarshal([]byte(store.NewDocument(f)), e); err != nil {
		return err
	}
	return op.NewStatusError(e, f.Status)
}

func (f *fault) log() {
	if f.Status == http.StatusInternalServerError {
		slog.Error("unexpected error", "cause", f.cause)
	}
}

// writeFault answers with a fault as JSON.
func writeFault(w http.ResponseWriter, err error) {
	f := faultOf(err)
	f.log()
	writeJSON(w, f.Status, f)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client may have gone
}
