package authserver

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/authserver/store"
)

// loginRequest is Hydra's login request.
type loginRequest struct {
	Challenge      string         `json:"challenge"`
	RequestedScope []string       `json:"requested_scope"`
	Audience       []string       `json:"requested_access_token_audience"`
	Skip           bool           `json:"skip"`
	Subject        string         `json:"subject"`
	OIDCContext    store.Document `json:"oidc_context"`
	Client         clientJSON     `json:"client"`
	RequestURL     string         `json:"request_url"`
	SessionID      string         `json:"session_id,omitempty"`
	RequestedAt    time.Time      `json:"requested_at"`
}

// redirectTo is where the browser goes on after an answer.
type redirectTo struct {
	RedirectTo string `json:"redirect_to"`
}

// gone answers for a request that has been used up, as Hydra does: with the way to begin again.
func gone(to string) (int, any, error) { return http.StatusGone, redirectTo{to}, nil }

func (s *Server) login(r *http.Request) (store.Login, error) {
	challenge, err := need(r, "login_challenge")
	if err != nil {
		return store.Login{}, err
	}
	return s.store.Login(r.Context(), challenge)
}

func (s *Server) getLogin(r *http.Request) (int, any, error) {
	l, err := s.login(r)
	if err != nil {
		return 0, nil, err
	}
	if l.Used {
		return gone(l.RequestURL)
	}
	client, err := s.store.Client(r.Context(), l.ClientID)
	if err != nil {
		return 0, nil, err
	}
	var q request
	l.AuthRequest.Decode(&q)
	out := loginRequest{Challenge: l.Challenge, RequestedScope: strings.Fields(l.RequestedScope), Audience: some(q.Audience),
		Skip: l.Skip, Subject: l.Subject, OIDCContext: l.OIDCContext, Client: toJSON(client), RequestURL: l.RequestURL,
		RequestedAt: l.RequestedAt}
	if l.SessionID != nil {
		out.SessionID = *l.SessionID
	}
	return http.StatusOK, out, nil
}

func (s *Server) acceptLogin(r *http.Request) (int, any, error) {
	var body struct {
		Subject     string         `json:"subject"`
		Remember    bool           `json:"remember"`
		RememberFor int32          `json:"remember_for"`
		ACR         string         `json:"acr"`
		Context     store.Document `json:"context"`
	}
	if err := read(r, &body); err != nil {
		return 0, nil, err
	}
	l, err := s.login(r)
	if err != nil {
		return 0, nil, err
	}
	if body.Subject == "" {
		return 0, nil, invalid("field subject is missing")
	}
	if body.RememberFor < 0 {
		return 0, nil, invalid("field remember_for is negative")
	}
	if l.Skip && body.Subject != l.Subject {
		return 0, nil, invalid("field subject differs from that of the login session")
	}
	return s.answerLogin(r, l, store.LoginAnswer{Subject: body.Subject, Remember: body.Remember,
		RememberFor: body.RememberFor, ACR: body.ACR, Context: body.Context})
}

func (s *Server) rejectLogin(r *http.Request) (int, any, error) {
	l, err := s.login(r)
	if err != nil {
		return 0, nil, err
	}
	refused, err := readRejection(r)
	if err != nil {
		return 0, nil, err
	}
	return s.answerLogin(r, l, store.LoginAnswer{Subject: l.Subject, Error: refused})
}

func (s *Server) answerLogin(r *http.Request, l store.Login, a store.LoginAnswer) (int, any, error) {
	if err := s.store.AnswerLogin(r.Context(), l.Challenge, a); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, redirectTo{s.back(l.RequestURL, "login_verifier", l.Verifier)}, nil
}

// back is the authorization request again, with a verifier.
func (s *Server) back(requestURL, key, verifier string) string {
	u, err := url.Parse(requestURL)
	if err != nil {
		u = &url.URL{}
	}
	q, path := u.Query(), pathAuth
	if strings.HasSuffix(u.Path, pathDeviceVerify) {
		path = pathDeviceVerify
	}
	q.Set(key, verifier)
	return s.config.Issuer + path + "?" + q.Encode()
}

// readRejection reads {"error", "error_description"} and keeps it as the document that lies in the database.
func readRejection(r *http.Request) (store.Document, error) {
	body := map[string]any{}
	if err := read(r, &body); err != nil {
		return "", err
	}
	if code, _ := body["error"].(string); code == "" {
		body["error"] = "access_denied"
	}
	return store.NewDocument(body), nil
}

func some(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
