package authserver

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/authserver/store"
)

// consentRequest is Hydra's consent request.
type consentRequest struct {
	Challenge      string         `json:"challenge"`
	RequestedScope []string       `json:"requested_scope"`
	Audience       []string       `json:"requested_access_token_audience"`
	Skip           bool           `json:"skip"`
	Subject        string         `json:"subject"`
	OIDCContext    store.Document `json:"oidc_context"`
	Client         clientJSON     `json:"client"`
	RequestURL     string         `json:"request_url"`
	LoginChallenge string         `json:"login_challenge,omitempty"`
	LoginSessionID string         `json:"login_session_id,omitempty"`
	ACR            string         `json:"acr"`
	Context        store.Document `json:"context"`
	RequestedAt    time.Time      `json:"requested_at"`
}

// consentSession is Hydra's previous consent: a consent request with its answer.
type consentSession struct {
	Request     consentRequest `json:"consent_request"`
	GrantScope  []string       `json:"grant_scope"`
	Audience    []string       `json:"grant_access_token_audience"`
	Session     sessionData    `json:"session"`
	Remember    bool           `json:"remember"`
	RememberFor int32          `json:"remember_for"`
	HandledAt   *time.Time     `json:"handled_at"`
}

type sessionData struct {
	AccessToken store.Document `json:"access_token"`
	IDToken     store.Document `json:"id_token"`
}

func (s *Server) consent(r *http.Request) (store.Consent, error) {
	challenge, err := need(r, "consent_challenge")
	if err != nil {
		return store.Consent{}, err
	}
	return s.store.Consent(r.Context(), challenge)
}

func (s *Server) getConsent(r *http.Request) (int, any, error) {
	c, err := s.consent(r)
	if err != nil {
		return 0, nil, err
	}
	if c.Used {
		return gone(c.RequestURL)
	}
	client, err := s.store.Client(r.Context(), c.ClientID)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, consentJSON(c, client), nil
}

func consentJSON(c store.Consent, client store.Client) consentRequest {
	var q request
	c.AuthRequest.Decode(&q)
	out := consentRequest{Challenge: c.Challenge, RequestedScope: strings.Fields(c.RequestedScope), Audience: some(q.Audience),
		Skip: c.Skip, Subject: c.Subject, OIDCContext: c.OIDCContext, Client: toJSON(client), RequestURL: c.RequestURL,
		ACR: c.ACR, Context: c.LoginContext, RequestedAt: c.RequestedAt}
	if c.LoginChallenge != nil {
		out.LoginChallenge = *c.LoginChallenge
	}
	if c.SessionID != nil {
		out.LoginSessionID = *c.SessionID
	}
	return out
}

func (s *Server) acceptConsent(r *http.Request) (int, any, error) {
	var body struct {
		GrantScope  []string    `json:"grant_scope"`
		Audience    []string    `json:"grant_access_token_audience"`
		Remember    bool        `json:"remember"`
		RememberFor int32       `json:"remember_for"`
		Session     sessionData `json:"session"`
	}
	if err := read(r, &body); err != nil {
		return 0, nil, err
	}
	c, err := s.consent(r)
	if err != nil {
		return 0, nil, err
	}
	granted := strings.Join(body.GrantScope, " ")
	if !store.Covers(c.RequestedScope, granted) {
		return 0, nil, invalid("field grant_scope has a scope that was not asked for")
	}
	if body.RememberFor < 0 {
		return 0, nil, invalid("field remember_for is negative")
	}
	answer := store.ConsentAnswer{GrantedScope: granted, Remember: body.Remember, RememberFor: body.RememberFor,
		SessionAccessToken: body.Session.AccessToken, SessionIDToken: body.Session.IDToken}
	var q request
	c.AuthRequest.Decode(&q)
	if !within(q.Audience, body.Audience) {
		return 0, nil, invalid("field grant_access_token_audience has an audience that was not asked for")
	}
	if len(q.Audience) > 0 { // what the answer leaves out is not granted, as with Hydra
		q.GrantedAudience = body.Audience
		answer.AuthRequest = store.NewDocument(q)
	}
	return s.answerConsent(r, c, answer)
}

func (s *Server) rejectConsent(r *http.Request) (int, any, error) {
	c, err := s.consent(r)
	if err != nil {
		return 0, nil, err
	}
	refused, err := readRejection(r)
	if err != nil {
		return 0, nil, err
	}
	return s.answerConsent(r, c, store.ConsentAnswer{Error: refused})
}

func (s *Server) answerConsent(r *http.Request, c store.Consent, a store.ConsentAnswer) (int, any, error) {
	if err := s.store.AnswerConsent(r.Context(), c.Challenge, a); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, redirectTo{s.back(c.RequestURL, "consent_verifier", c.Verifier)}, nil
}

// listConsents is what a person has granted, the newest first.
func (s *Server) listConsents(r *http.Request) (int, any, error) {
	subject, err := need(r, "subject")
	if err != nil {
		return 0, nil, err
	}
	granted, err := s.store.Granted(r.Context(), subject)
	if err != nil {
		return 0, nil, err
	}
	clients, out := map[string]store.Client{}, []consentSession{}
	for _, c := range granted {
		client, known := clients[c.ClientID]
		if !known {
			if client, err = s.store.Client(r.Context(), c.ClientID); errors.Is(err, store.ErrNotFound) {
				continue // deleted just now
			} else if err != nil {
				return 0, nil, err
			}
			clients[c.ClientID] = client
		}
		var q request
		c.AuthRequest.Decode(&q)
		out = append(out, consentSession{Request: consentJSON(c, client), GrantScope: strings.Fields(c.GrantedScope),
			Audience: some(q.GrantedAudience), Session: sessionData{c.SessionAccessToken, c.SessionIDToken}, Remember: c.Remember,
			RememberFor: c.RememberFor, HandledAt: c.HandledAt})
	}
	return http.StatusOK, out, nil
}

// revokeConsents wants a client, or all=true, so that nobody revokes everything by leaving something out.
func (s *Server) revokeConsents(r *http.Request) (int, any, error) {
	subject, err := need(r, "subject")
	if err != nil {
		return 0, nil, err
	}
	client, all := r.URL.Query().Get("client"), r.URL.Query().Get("all") == "true"
	if (client == "") != all {
		return 0, nil, invalid("either query parameter client or all=true is wanted")
	}
	return http.StatusNoContent, nil, s.audited(r, "revoke consents", client, subject, nil).RevokeConsents(r.Context(), subject, client)
}
