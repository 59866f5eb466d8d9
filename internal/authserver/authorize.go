package authserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

// request is what must be remembered of an authorization request until its code is exchanged. It lies as JSON in
// auth_request and, with what the consent added, in the session_data of code and tokens; both generations read the same.
type request struct {
	RedirectURI     string   `json:"redirect_uri"`
	ResponseMode    string   `json:"response_mode,omitempty"`
	State           string   `json:"state,omitempty"`
	Nonce           string   `json:"nonce,omitempty"`
	CodeChallenge   string   `json:"code_challenge,omitempty"`
	ChallengeMethod string   `json:"code_challenge_method,omitempty"`
	Prompt          []string `json:"prompt,omitempty"`
	Audience        []string `json:"audience,omitempty"`         // asked for; in a grant: given
	GrantedAudience []string `json:"granted_audience,omitempty"` // by the consent page, of those asked for
	HintSubject     string   `json:"hint_subject,omitempty"`     // of the ID token that the app brought
	Device          string   `json:"device,omitempty"`           // signature of the device's code that this is for
	Browser         string   `json:"browser"`                    // signature of the cookie of the browser that began
}

// VerifyAuthRequest finds the client and demands a redirect URI of its own. Failures from here are shown, not redirected.
func (p protocol) VerifyAuthRequest(ctx context.Context, r *op.Request[oidc.AuthRequest]) (*op.ClientRequest[oidc.AuthRequest], error) {
	c, err := p.store.Client(ctx, r.Data.ClientID)
	if errors.Is(err, store.ErrNotFound) {
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "invalid_client", Description: "the client is unknown"})
	}
	if err != nil {
		return nil, refuse(err)
	}
	a := app{Client: c}
	if len(r.Form["client_id"]) > 1 || len(r.Form["redirect_uri"]) > 1 {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("client_id or redirect_uri is there more than once")
	}
	if !p.redirects(a, r.Data.RedirectURI) {
		return nil, oidc.ErrInvalidRequestRedirectURI().WithDescription("the redirect_uri is not registered for this client")
	}
	// Package op looks at some parameters next, and would name another error than the one that is right. What it must
	// not judge is put aside; checkNew judges it.
	if notServed(r.Form) != nil {
		r.Data.ResponseType, r.Data.Scopes, r.Data.Prompt = oidc.ResponseTypeCode, []string{oidc.ScopeOpenID}, nil
	}
	if len(r.Data.Scopes) == 0 {
		r.Data.Scopes = []string{""}
	}
	a.asked = r.Data.ResponseType
	return &op.ClientRequest[oidc.AuthRequest]{Request: r, Client: a}, nil
}

// notServed refuses requests whose parameters are elsewhere (OpenID Connect Core, section 6) or that register a client
// (section 7.2.1): without those parameters they mean something else.
func notServed(form url.Values) error {
	switch {
	case form.Get("request") != "":
		return oidc.ErrRequestNotSupported()
	case form.Get("request_uri") != "":
		return &oidc.Error{ErrorType: "request_uri_not_supported", Description: "parameters by reference are not served"}
	case form.Get("registration") != "":
		return &oidc.Error{ErrorType: "registration_not_supported", Description: "clients are registered beforehand"}
	}
	return nil
}

// Authorize is one of three steps: a new request, the way back from the login page, the way back from the consent page.
func (p protocol) Authorize(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest]) (*op.Redirect, error) {
	a := r.Client.(app)
	if err := notServed(r.Form); err != nil {
		return nil, err
	}
	if name := repeated(r.Form); name != "" {
		return nil, oidc.ErrInvalidRequest().WithDescription("parameter %s is there more than once", name)
	}
	var redirect *op.Redirect
	var err error
	if verifier := r.Form.Get("login_verifier"); verifier != "" {
		redirect, err = p.afterLogin(ctx, r, a, verifier)
	} else if verifier := r.Form.Get("consent_verifier"); verifier != "" {
		redirect, err = p.afterConsent(ctx, r, a, verifier)
	} else {
		redirect, err = p.begin(ctx, r, a)
	}
	var oidcErr *oidc.Error
	if err != nil && !errors.As(err, &oidcErr) {
		err = refuse(err)
	}
	return redirect, err
}

// begin stores a login request and sends the browser to the login page. With a living session the page is told to skip.
func (p protocol) begin(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest], a app) (*op.Redirect, error) {
	q, audience := r.Data, strings.Fields(r.Form.Get("audience"))
	if err := checkNew(q, a, audience); err != nil {
		return nil, err
	}
	if p.judges {
		return op.NewRedirect(judged), nil
	}
	session, err := p.session(ctx, r.Header)
	if err != nil {
		return nil, err
	}
	skip := session != nil && !slices.Contains(q.Prompt, oidc.PromptLogin) &&
		(q.MaxAge == nil || time.Since(session.AuthenticatedAt) <= time.Duration(*q.MaxAge)*time.Second)
	expected := ""
	if q.IDTokenHint != "" {
		claims, err := p.hint(ctx, q.IDTokenHint)
		if err != nil {
			return nil, oidc.ErrInvalidRequest().WithDescription("the id_token_hint is invalid")
		}
		expected = claims.GetSubject()
		skip = skip && session.Subject == expected
	}
	if !skip && slices.Contains(q.Prompt, oidc.PromptNone) {
		return nil, oidc.ErrLoginRequired()
	}
	browser, cookie := p.browser(r.Header)
	login := store.Login{
		Challenge: p.generation.newChallenge(), Verifier: p.generation.newChallenge(), ClientID: a.ID, Skip: skip,
		RequestURL: p.config.Issuer + pathAuth + "?" + r.Form.Encode(), RequestedScope: strings.Join(q.Scopes, " "),
		OIDCContext: store.NewDocument(map[string]any{"login_hint": q.LoginHint, "display": q.Display,
			"acr_values": q.ACRValues, "ui_locales": localeNames(q.UILocales)}),
		AuthRequest: store.NewDocument(request{RedirectURI: q.RedirectURI, ResponseMode: string(q.ResponseMode), State: q.State,
			Nonce: q.Nonce, CodeChallenge: q.CodeChallenge, ChallengeMethod: string(q.CodeChallengeMethod), Prompt: q.Prompt,
			Audience: audience, HintSubject: expected, Browser: Signature(browser)}),
	}
	if skip {
		login.SessionID, login.Subject = &session.ID, session.Subject
	}
	if err := p.store.CreateLogin(ctx, login); err != nil {
		return nil, err
	}
	redirect := op.NewRedirect(withQuery(p.config.LoginURL, "login_challenge", login.Challenge))
	setCookie(redirect, cookie)
	return redirect, nil
}

// checkNew refuses what package op lets pass: codes without PKCE for public clients, and audiences nobody allowed.
func checkNew(q *oidc.AuthRequest, a app, audience []string) error {
	if q.ResponseType != oidc.ResponseTypeCode {
		return &oidc.Error{ErrorType: "unsupported_response_type", Description: "only response_type code is served"}
	}
	switch q.ResponseMode {
	case "", oidc.ResponseModeQuery, oidc.ResponseModeFragment:
	default:
		return oidc.ErrInvalidRequest().WithDescription("only the response_mode query and fragment are served")
	}
	if !slices.Contains(a.Client.ResponseTypes.List(), string(oidc.ResponseTypeCode)) {
		return oidc.ErrUnauthorizedClient().WithDescription("the client may not use response_type code")
	}
	if !op.ValidateGrantType(a, oidc.GrantTypeCode) {
		return oidc.ErrUnauthorizedClient().WithDescription("the client may not use the authorization_code grant")
	}
	scope := strings.Join(q.Scopes, " ")
	if strings.TrimSpace(scope) == "" {
		return oidc.ErrInvalidScope().WithDescription("no scope is asked for that the client may have")
	}
	if !store.Covers(a.Scope, scope) {
		return oidc.ErrInvalidScope().WithDescription("the client may not ask for these scopes")
	}
	if !within(a.Audience.List(), audience) {
		return oidc.ErrInvalidRequest().WithDescription("the client may not ask for this audience")
	}
	if q.CodeChallenge == "" && a.AuthMethod() == oidc.AuthMethodNone {
		return oidc.ErrInvalidRequest().WithDescription("public clients must use PKCE")
	}
	if q.CodeChallenge != "" && q.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return oidc.ErrInvalidRequest().WithDescription("only code_challenge_method S256 is served")
	}
	if q.CodeChallenge != "" && !challenge.MatchString(q.CodeChallenge) {
		return oidc.ErrInvalidRequest().WithDescription("the code_challenge is no SHA-256 in base64url")
	}
	if q.CodeChallenge == "" && q.CodeChallengeMethod != "" {
		return oidc.ErrInvalidRequest().WithDescription("code_challenge_method without a code_challenge")
	}
	return nil
}

// challenge is what S256 makes of any verifier (RFC 7636, section 4.2).
var challenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

// within tells whether every one of wanted is allowed.
func within(allowed, wanted []string) bool {
	return !slices.ContainsFunc(wanted, func(w string) bool { return !slices.Contains(allowed, w) })
}

// assured tells whether it is sure which app asks: it has a secret, or an address that no other can answer at. Anybody
// on a person's machine can take a loopback port or a scheme, so that an earlier consent says nothing of who asks now
// (RFC 8252, section 8.6).
func assured(a app, redirectURI string) bool {
	return a.AuthMethod() != oidc.AuthMethodNone || strings.HasPrefix(redirectURI, "https://")
}

// afterLogin uses the login's answer and asks for consent.
func (p protocol) afterLogin(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest], a app, verifier string) (*op.Redirect, error) {
	login, err := p.store.LoginByVerifier(ctx, verifier)
	if err != nil {
		return nil, stale(err)
	}
	var q request
	login.AuthRequest.Decode(&q)
	if err := p.sameBrowser(r, a, login.ClientID, q); err != nil {
		return nil, err
	}
	if err := answered(login.Handled, login.Error); err != nil {
		return p.refused(ctx, q, login.Challenge, login.Handled, err)
	}
	if q.HintSubject != "" && q.HintSubject != login.Subject { // OpenID Connect Core, section 3.1.2.2
		return nil, oidc.ErrLoginRequired().WithDescription("somebody else has logged in than the id_token_hint names")
	}
	consent := store.Consent{
		Challenge: p.generation.newChallenge(), Verifier: p.generation.newChallenge(), ClientID: a.ID, Subject: login.Subject,
		RequestURL: login.RequestURL, RequestedScope: login.RequestedScope, OIDCContext: login.OIDCContext,
		AuthRequest: login.AuthRequest, ACR: login.ACR,
	}
	remembered, err := p.store.Remembered(ctx, login.Subject, a.ID)
	if err != nil {
		return nil, err
	}
	consent.Skip = q.Device == "" && assured(a, q.RedirectURI) && !slices.Contains(q.Prompt, oidc.PromptConsent) && slices.ContainsFunc(remembered, func(m store.Memory) bool {
		var then request
		m.AuthRequest.Decode(&then)
		return store.Covers(m.GrantedScope, login.RequestedScope) && within(then.GrantedAudience, q.Audience)
	})
	if !consent.Skip && slices.Contains(q.Prompt, oidc.PromptNone) {
		return nil, &oidc.Error{ErrorType: "consent_required", Description: "the user has not consented yet"}
	}
	var session *store.Session
	var cookie *http.Cookie
	if login.SessionID == nil {
		value := newToken("")
		session = &store.Session{ID: Signature(value), Subject: login.Subject, Remember: login.Remember}
		if login.Remember {
			cookie = p.cookie(cookieSession, value, int(login.RememberFor))
		}
	}
	if err := p.store.BeginConsent(ctx, login, session, consent); err != nil {
		return nil, stale(err)
	}
	redirect := op.NewRedirect(withQuery(p.config.ConsentURL, "consent_challenge", consent.Challenge))
	setCookie(redirect, cookie)
	return redirect, nil
}

// afterConsent uses the consent's answer and issues a code.
func (p protocol) afterConsent(ctx context.Context, r *op.ClientRequest[oidc.AuthRequest], a app, verifier string) (*op.Redirect, error) {
	consent, err := p.store.ConsentByVerifier(ctx, verifier)
	if err != nil {
		return nil, stale(err)
	}
	var q request
	consent.AuthRequest.Decode(&q)
	if err := p.sameBrowser(r, a, consent.ClientID, q); err != nil {
		return nil, err
	}
	if err := answered(consent.Handled, consent.Error); err != nil {
		login := ""
		if consent.LoginChallenge != nil {
			login = *consent.LoginChallenge
		}
		return p.refused(ctx, q, login, consent.Handled, err)
	}
	q.Audience, q.GrantedAudience = q.GrantedAudience, nil
	data := grant{request: q, ConsentChallenge: consent.Challenge, ACR: consent.ACR, AuthTime: consent.RequestedAt.Unix()}
	if consent.SessionID != nil {
		data.SessionID = *consent.SessionID
		if s, err := p.store.Session(ctx, data.SessionID); err == nil {
			data.AuthTime = s.AuthenticatedAt.Unix()
		} else if !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	consent.SessionAccessToken.Decode(&data.AccessToken)
	consent.SessionIDToken.Decode(&data.IDToken)
	if q.Device != "" {
		return p.grantDevice(ctx, consent, data)
	}
	code := newToken(p.generation.code)
	err = p.store.IssueCode(ctx, consent, store.Token{
		Signature: Signature(code), RequestID: consent.Challenge, ClientID: a.ID, Subject: consent.Subject,
		ConsentChallenge: &consent.Challenge, Scope: consent.GrantedScope, SessionData: store.NewDocument(data),
		Lifetime: p.config.CodeLifetime,
	})
	if err != nil {
		return nil, stale(err)
	}
	target, err := op.AuthResponseURL(q.RedirectURI, oidc.ResponseTypeCode, oidc.ResponseMode(q.ResponseMode),
		&op.CodeResponseType{Code: code, State: q.State}, p.encoder())
	if err != nil {
		return nil, err
	}
	return op.NewRedirect(target), nil
}

// stale is a verifier that is unknown, used, or whose request has been deleted.
func stale(err error) error {
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUsed) || store.Dangling(err) {
		return oidc.ErrAccessDenied().WithDescription("the login or consent has been used already or is gone; start again")
	}
	return err
}

// answered passes a refusal of the login or consent page on to the app.
func answered(handled bool, failure store.Document) error {
	if !handled {
		return oidc.ErrAccessDenied().WithDescription("the request has not been answered yet")
	}
	if failure == "{}" || failure == "" {
		return nil
	}
	var said struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = json.Unmarshal([]byte(failure), &said)
	e := oidc.ErrAccessDenied().WithDescription("%s", printable(said.Description))
	switch said.Code {
	case "login_required":
		e.ErrorType = oidc.LoginRequired
	case "interaction_required":
		e.ErrorType = oidc.InteractionRequired
	case "consent_required":
		e.ErrorType = "consent_required"
	case "invalid_scope":
		e.ErrorType = oidc.InvalidScope
	case "temporarily_unavailable":
		e.ErrorType = "temporarily_unavailable"
	}
	return e
}

// printable leaves of a page's words what an error_description may have (RFC 6749, section 4.1.2.1).
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return ' '
		}
		return r
	}, text)
}

func withQuery(target, key, value string) string {
	separator := "?"
	if strings.Contains(target, "?") {
		separator = "&"
	}
	return target + separator + key + "=" + url.QueryEscape(value)
}

func localeNames(locales oidc.Locales) []string {
	names := []string{}
	for _, l := range locales {
		names = append(names, l.String())
	}
	return names
}
