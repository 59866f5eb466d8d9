package authserver

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// answer is a handler of the admin API: what it returns is the JSON answer, or an error.
type answer func(r *http.Request) (status int, body any, err error)

// Admin is the handler of the listener that operators and the login and consent pages reach. Without
// [Config.AdminToken] it asks for no credentials: whoever reaches the port is trusted, as with Hydra. Keep it on a
// private address.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	handle := func(method, path string, h answer) {
		mux.HandleFunc(method+" "+s.generation.admin+path, func(w http.ResponseWriter, r *http.Request) {
			status, body, err := h(r)
			switch {
			case err != nil:
				writeError(w, err)
			case status == http.StatusNoContent:
				w.WriteHeader(status)
			default:
				writeJSON(w, status, body)
			}
		})
	}
	handle("GET", "/clients", s.listClients)
	handle("POST", "/clients", s.createClient)
	handle("GET", "/clients/{id}", s.getClient)
	handle("PUT", "/clients/{id}", s.updateClient)
	handle("DELETE", "/clients/{id}", s.deleteClient)
	handle("POST", "/clients/{id}/secrets/rotate", s.rotateClientSecret)
	handle("DELETE", "/clients/{id}/secrets/rotate", s.endClientSecret)
	handle("GET", "/audit", s.listAudit)
	handle("GET", "/oauth2/auth/requests/login", s.getLogin)
	handle("PUT", "/oauth2/auth/requests/login/accept", s.acceptLogin)
	handle("PUT", "/oauth2/auth/requests/login/reject", s.rejectLogin)
	handle("GET", "/oauth2/auth/requests/consent", s.getConsent)
	handle("PUT", "/oauth2/auth/requests/consent/accept", s.acceptConsent)
	handle("PUT", "/oauth2/auth/requests/consent/reject", s.rejectConsent)
	handle("PUT", "/oauth2/auth/requests/device/accept", s.acceptDevice)
	handle("GET", "/oauth2/auth/sessions/consent", s.listConsents)
	handle("DELETE", "/oauth2/auth/sessions/consent", s.revokeConsents)
	handle("DELETE", "/oauth2/auth/sessions/login", s.endSessions)
	handle("POST", "/oauth2/introspect", s.introspect)
	handle("DELETE", "/oauth2/tokens", s.deleteTokens)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"version": s.config.Generation})
	})
	mux.Handle("GET /metrics/prometheus", s.metrics.handler())
	if s.generation.admin != "" {
		mux.Handle("GET "+s.generation.admin+"/metrics/prometheus", s.metrics.handler())
	}
	front := s.front("admin", s.guard(mux))
	early := s.guard(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Figures and version are asked for before the server is ready, too.
		if r.URL.Path == "/version" || strings.HasSuffix(r.URL.Path, "/metrics/prometheus") {
			early.ServeHTTP(w, r)
			return
		}
		front.ServeHTTP(w, r)
	})
}

// read decodes a JSON body into v; an empty body leaves v as it is.
func read(r *http.Request, v any) error {
	err := json.NewDecoder(r.Body).Decode(v)
	if err == nil || errors.Is(err, io.EOF) {
		return nil
	}
	return invalid("the body is no JSON of the right shape")
}

// need returns a query parameter that must be there.
func need(r *http.Request, name string) (string, error) {
	if v := r.URL.Query().Get(name); v != "" {
		return v, nil
	}
	return "", invalid("query parameter " + name + " is missing")
}

// deleteTokens deletes a client's access tokens, as Hydra's DELETE /oauth2/tokens does: its refresh tokens live on.
func (s *Server) deleteTokens(r *http.Request) (int, any, error) {
	client, err := need(r, "client_id")
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.audited(r, "end access tokens", client, "", nil).DeleteAccess(r.Context(), client)
}

func (s *Server) endSessions(r *http.Request) (int, any, error) {
	subject, err := need(r, "subject")
	if err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, s.audited(r, "end sessions", "", subject, nil).EndSessions(r.Context(), subject)
}
