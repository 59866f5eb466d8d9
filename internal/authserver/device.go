package authserver

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tideover/tideover/internal/authserver/store"
)

const (
	pathDevice       = "/oauth2/device/auth"
	pathDeviceVerify = "/oauth2/device/verify"

	deviceChallengePurpose = "device challenge"
	deviceVerifierPurpose  = "device verifier"

	deviceInterval = 5 * time.Second // between two questions of a device

	// userLetters are the characters of a code that people type (RFC 8628, section 6.1): no vowels, so that it is no
	// word. Eight of them are 34 bits, which is why tries are counted.
	userLetters = "BCDFGHJKLMNPQRSTVWXZ"
	userLength  = 8
)

// devices is the part of the store that serves devices, or nil where the generation has none or nobody says where the page
// is on which people type codes.
func (s *Server) devices() store.Devices {
	if s.config.DeviceURL == "" {
		return nil
	}
	d, _ := s.store.(store.Devices)
	return d
}

// newUserCode makes a code to be typed.
func newUserCode() (string, error) {
	code := make([]byte, userLength)
	for i := range code {
		n, err := rand.Int(rand.Reader, big.NewInt(int64(len(userLetters))))
		if err != nil {
			return "", err
		}
		code[i] = userLetters[n.Int64()]
	}
	return string(code), nil
}

// typed is a user code without what people put between its letters, in the case that it was made in.
func typed(code string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(userLetters, r) {
			return r
		}
		return -1
	}, strings.ToUpper(code))
}

// userSignature is what the database keeps of a user code. It is short, and would be found from a mere hash of it.
func userSignature(secret, code string) string {
	return hex.EncodeToString(derivedMAC("user code", secret, code))
}

// DeviceAuthorization is RFC 8628, section 3.1.
func (p protocol) DeviceAuthorization(ctx context.Context, r *op.ClientRequest[oidc.DeviceAuthorizationRequest]) (*op.Response, error) {
	a, devices := r.Client.(app), p.devices()
	if devices == nil {
		return nil, refusal(&oauthError{Status: http.StatusNotFound, Code: "not_found", Description: "devices are not served"})
	}
	scope, audience := strings.Join(r.Data.Scopes, " "), strings.Fields(r.Form.Get("audience"))
	switch {
	case !op.ValidateGrantType(a, oidc.GrantTypeDeviceCode):
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "unauthorized_client", Description: "the client may not use the device grant"})
	case strings.TrimSpace(scope) == "" || !store.Covers(a.Scope, scope):
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "invalid_scope", Description: "no scope is asked for, or one that the client may not have"})
	case !within(a.Audience.List(), audience):
		return nil, refusal(invalid("the client may not ask for this audience"))
	}
	// Anybody can ask in a public client's name, and each request is a row until it runs out.
	if !p.deviceAsks.take(a.ID+"\x00"+r.Header.Get(addressHeader), time.Now()) {
		return nil, refusal(&oauthError{Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "too many devices; try again later"})
	}
	code, lifetime := newToken(p.generation.device), p.config.DeviceLifetime
	for try := 0; ; try++ {
		user, err := newUserCode()
		if err != nil {
			return nil, refuse(err)
		}
		err = devices.AskDevice(ctx, store.Device{Signature: Signature(code), UserSignature: userSignature(p.config.SystemSecret, user), ClientID: a.ID,
			Scope: scope, Audience: store.NewDocument(some(audience)), Lifetime: lifetime, Interval: deviceInterval})
		if errors.Is(err, store.ErrExists) && try < 5 {
			continue
		}
		if err != nil {
			return nil, refuse(err)
		}
		shown := user[:userLength/2] + "-" + user[userLength/2:]
		at := p.config.Issuer + pathDeviceVerify
		return op.NewResponse(&oidc.DeviceAuthorizationResponse{DeviceCode: code, UserCode: shown, VerificationURI: at,
			VerificationURIComplete: withQuery(at, "user_code", shown), ExpiresIn: int(lifetime.Seconds()), Interval: int(deviceInterval.Seconds())}), nil
	}
}

// DeviceToken is RFC 8628, section 3.4. The package's rule that a client may ask for the grant is applied before.
func (p protocol) DeviceToken(ctx context.Context, r *op.ClientRequest[oidc.DeviceAccessTokenRequest]) (*op.Response, error) {
	devices := p.devices()
	if devices == nil {
		return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: "unsupported_grant_type", Description: "devices are not served"})
	}
	a := r.Client.(app)
	var out *issued
	err := devices.Collect(ctx, p.generation.signature(r.Data.DeviceCode), a.ID, func(d store.Token) (store.Pair, error) {
		scope, err := still(a, d.Scope, nil)
		if err != nil {
			return store.Pair{}, err
		}
		refresh := ""
		if op.ValidateGrantType(a, oidc.GrantTypeRefreshToken) && offline(scope) {
			refresh = newToken(p.generation.refresh)
		}
		var pair store.Pair
		out, pair = p.issue(a, d, scope, refresh)
		return pair, nil
	})
	for e, code := range map[error]string{store.ErrPending: "authorization_pending", store.ErrTooFast: "slow_down", store.ErrExpired: "expired_token", store.ErrRefused: "access_denied"} {
		if errors.Is(err, e) {
			return nil, refusal(&oauthError{Status: http.StatusBadRequest, Code: code, Description: e.Error()})
		}
	}
	if err != nil {
		return nil, refusal(grantError(err))
	}
	return p.tokens(out)
}

// deviceAsk ties a page on which a code is typed to the browser that shows it, and a code that was right to both. It is
// sealed, and nothing of it is stored.
type deviceAsk struct {
	Browser string    `json:"browser"`          // signature of its cookie
	Device  string    `json:"device,omitempty"` // signature of the device's code
	Client  string    `json:"client,omitempty"`
	Until   time.Time `json:"until"`
}

const deviceAskLifetime = 15 * time.Minute

func (s *Server) sealAsk(purpose string, ask deviceAsk) string {
	ask.Until = time.Now().Add(deviceAskLifetime)
	return base64.RawURLEncoding.EncodeToString(s.config.seal(purpose, []byte(store.NewDocument(ask)), nil))
}

func (s *Server) openAsk(purpose, sealed string) (ask deviceAsk, ok bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err == nil {
		b, _, err = s.config.open(purpose, b, nil)
	}
	if err == nil {
		err = json.Unmarshal(b, &ask)
	}
	return ask, err == nil && time.Now().Before(ask.Until)
}

// acceptDevice is what the page calls with the code that a person typed. It says where the browser goes on. That changes
// nothing yet: the browser's own request does.
func (s *Server) acceptDevice(r *http.Request) (int, any, error) {
	devices := s.devices()
	if devices == nil {
		return 0, nil, &oauthError{Status: http.StatusNotFound, Code: "not_found", Description: "devices are not served"}
	}
	challenge, err := need(r, "device_challenge")
	if err != nil {
		return 0, nil, err
	}
	ask, ok := s.openAsk(deviceChallengePurpose, challenge)
	if !ok {
		return 0, nil, invalid("the device_challenge is unknown or too old")
	}
	var body struct {
		UserCode string `json:"user_code"`
	}
	if err := read(r, &body); err != nil {
		return 0, nil, err
	}
	if !s.userCodes.take("", time.Now()) {
		return 0, nil, &oauthError{Status: http.StatusTooManyRequests, Code: "temporarily_unavailable", Description: "too many wrong codes; try again later"}
	}
	d, err := devices.DeviceOf(r.Context(), s.userSignatures(typed(body.UserCode)))
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil, err // the try is gone
	}
	s.userCodes.giveBack("")
	if err != nil {
		return 0, nil, err
	}
	ask.Device, ask.Client = d.Signature, d.ClientID
	to := withQuery(s.config.Issuer+pathDeviceVerify, "client_id", d.ClientID)
	return http.StatusOK, redirectTo{withQuery(to, "device_verifier", s.sealAsk(deviceVerifierPurpose, ask))}, nil
}

// userSignatures are those that a code may have been stored with.
func (s *Server) userSignatures(code string) (all []string) {
	for _, secret := range s.config.systemSecrets() {
		all = append(all, userSignature(secret, code))
	}
	return all
}

// verifyDevice is where a person begins who has a code, and where the login and consent pages send the browser back to.
func (s *Server) verifyDevice(w http.ResponseWriter, r *http.Request) {
	p := protocol{Server: s}
	q := r.URL.Query()
	if name := repeated(q); name != "" {
		writeError(w, invalid("parameter "+name+" is there more than once"))
		return
	}
	var redirect *op.Redirect
	var err error
	switch {
	case q.Get("device_verifier") != "":
		redirect, err = p.beginDevice(r, q.Get("device_verifier"))
	case q.Get("login_verifier") != "" || q.Get("consent_verifier") != "":
		redirect, err = p.goOn(r, q)
	default:
		browser, cookie := s.browser(r.Header)
		to := withQuery(s.config.DeviceURL, "device_challenge", s.sealAsk(deviceChallengePurpose, deviceAsk{Browser: Signature(browser)}))
		if code := typed(q.Get("user_code")); code != "" {
			to = withQuery(to, "user_code", code)
		}
		redirect = op.NewRedirect(to)
		setCookie(redirect, cookie)
	}
	if err != nil && !errors.As(err, new(*oidc.Error)) && oauthErrorOf(err).Status >= http.StatusInternalServerError {
		writeError(w, err) // it can be tried again
		return
	}
	if err != nil {
		redirect = op.NewRedirect(withQuery(s.config.DeviceURL, "done", "failed"))
	}
	for k, v := range redirect.Header {
		w.Header()[k] = v
	}
	http.Redirect(w, r, redirect.URL, http.StatusSeeOther)
}

// beginDevice uses the code and sends the browser to the login page.
func (p protocol) beginDevice(r *http.Request, verifier string) (*op.Redirect, error) {
	ask, ok := p.openAsk(deviceVerifierPurpose, verifier)
	if !ok || !hmac.Equal([]byte(Signature(cookieValue(r.Header, cookieBrowser))), []byte(ask.Browser)) {
		return nil, oidc.ErrAccessDenied().WithDescription("the code was typed in another browser, or too long ago")
	}
	session, err := p.session(r.Context(), r.Header)
	if err != nil {
		return nil, err
	}
	d, err := p.devices().Device(r.Context(), ask.Device)
	if err != nil {
		return nil, stale(err)
	}
	login := store.Login{Challenge: p.generation.newChallenge(), Verifier: p.generation.newChallenge(), ClientID: d.ClientID, Skip: session != nil,
		RequestURL: withQuery(p.config.Issuer+pathDeviceVerify, "client_id", d.ClientID), RequestedScope: d.Scope, OIDCContext: "{}",
		AuthRequest: store.NewDocument(request{Audience: d.Audience.List(), Device: d.Signature, Browser: ask.Browser})}
	if login.Skip {
		login.SessionID, login.Subject = &session.ID, session.Subject
	}
	if err := p.devices().BeginDevice(r.Context(), d.Signature, login); err != nil {
		return nil, stale(err)
	}
	return op.NewRedirect(withQuery(p.config.LoginURL, "login_challenge", login.Challenge)), nil
}

// goOn goes the way that an app's authorization goes, which leads to no app here.
func (p protocol) goOn(r *http.Request, q url.Values) (*op.Redirect, error) {
	c, err := p.store.Client(r.Context(), q.Get("client_id"))
	if err != nil {
		return nil, stale(err)
	}
	ask := &op.ClientRequest[oidc.AuthRequest]{Request: &op.Request[oidc.AuthRequest]{Header: r.Header, Form: q, Data: &oidc.AuthRequest{ClientID: c.ID}}, Client: app{Client: c}}
	if verifier := q.Get("login_verifier"); verifier != "" {
		return p.afterLogin(r.Context(), ask, app{Client: c}, verifier)
	}
	return p.afterConsent(r.Context(), ask, app{Client: c}, q.Get("consent_verifier"))
}

// grantDevice is the end of a consent that was for a device.
func (p protocol) grantDevice(ctx context.Context, consent store.Consent, g grant) (*op.Redirect, error) {
	err := p.devices().GrantDevice(ctx, consent, g.Device, store.Token{Subject: consent.Subject, Scope: consent.GrantedScope,
		Audience: store.NewDocument(some(g.Audience)), SessionData: store.NewDocument(g)})
	if err != nil {
		return nil, stale(err)
	}
	return op.NewRedirect(withQuery(p.config.DeviceURL, "done", "granted")), nil
}

// refused passes a refusal of the login or consent page on: to the app, or to the device, which learns of it when it asks.
func (p protocol) refused(ctx context.Context, q request, login string, handled bool, refusal error) (*op.Redirect, error) {
	if q.Device == "" || !handled {
		return nil, refusal
	}
	if err := p.devices().RefuseDevice(ctx, q.Device, login); err != nil {
		return nil, err
	}
	return op.NewRedirect(withQuery(p.config.DeviceURL, "done", "refused")), nil
}
