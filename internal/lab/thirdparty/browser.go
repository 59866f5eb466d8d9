package thirdparty

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
)

// Target is a server to be exercised, directly or through a router.
type Target struct {
	Issuer      string // as in tokens and discovery
	Public      string // where the public listener really is; empty: at Issuer
	Admin       string
	AdminPrefix string // "" for 1.1, "/admin" for 2.0
}

// Answers is what the person in front of the browser says.
type Answers struct {
	Subject         string
	RememberLogin   bool
	RememberConsent bool
	GrantScope      []string // nil grants all that is asked for
	RejectLogin     bool
	RejectConsent   bool
	IDToken         map[string]any // claims that the consent page adds
	AMR             []string       // how the login page says that the person was recognised
}

// Visit is what a browser went through on its way back to the app.
type Visit struct {
	Code, State      string
	Error            string // the OAuth error that came back instead of a code
	LoginChallenge   string
	ConsentChallenge string
	LoginSkipped     bool
	ConsentSkipped   bool
	Redirects        []string
}

// Browser follows redirects with cookies, and answers login and consent pages through the admin API as their apps would,
// without fetching them.
type Browser struct {
	target Target
	client *http.Client
}

// NewBrowser is a browser without cookies.
func NewBrowser(t Target) *Browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it never fails without options
	}
	return &Browser{target: t, client: &http.Client{Jar: jar, Transport: t.transport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// At is the same browser, with its cookies, at another server.
func (b *Browser) At(t Target) *Browser {
	client := *b.client
	client.Transport = t.transport()
	return &Browser{target: t, client: &client}
}

// Cookies are the cookies that the server set, by name.
func (b *Browser) Cookies() map[string]string {
	out := map[string]string{}
	if u, err := url.Parse(b.target.Issuer); err == nil {
		for _, c := range b.client.Jar.Cookies(u) {
			out[c.Name] = c.Value
		}
	}
	return out
}

// Authorize walks from an authorization URL to the app's redirect URI.
func (b *Browser) Authorize(ctx context.Context, authURL, redirectURI string, a Answers) (Visit, error) {
	v := Visit{}
	for at := authURL; len(v.Redirects) < 12; {
		next, err := b.get(ctx, at)
		if err != nil {
			return v, err
		}
		v.Redirects = append(v.Redirects, next)
		u, err := url.Parse(next)
		if err != nil {
			return v, err
		}
		q := u.Query()
		switch {
		case strings.HasPrefix(next, redirectURI):
			v.Code, v.State, v.Error = q.Get("code"), q.Get("state"), q.Get("error")
			return v, nil
		case q.Has("login_challenge"):
			v.LoginChallenge = q.Get("login_challenge")
			at, v.LoginSkipped, err = b.login(ctx, v.LoginChallenge, a)
		case q.Has("consent_challenge"):
			v.ConsentChallenge = q.Get("consent_challenge")
			at, v.ConsentSkipped, err = b.consent(ctx, v.ConsentChallenge, a)
		default:
			at = next
		}
		if err != nil {
			return v, err
		}
	}
	return v, errors.New("the browser was sent in circles")
}

// get fetches a page and returns where it redirects to.
func (b *Browser) get(ctx context.Context, at string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	res, err := b.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusFound && res.StatusCode != http.StatusSeeOther {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return "", &StatusError{res.StatusCode, string(body)}
	}
	return res.Header.Get("Location"), nil
}

// Get fetches a page that redirects, such as the log-out, and returns where to.
func (b *Browser) Get(ctx context.Context, at string) (string, error) { return b.get(ctx, at) }

func (b *Browser) login(ctx context.Context, challenge string, a Answers) (string, bool, error) {
	var request struct {
		Skip    bool   `json:"skip"`
		Subject string `json:"subject"`
	}
	path := "/oauth2/auth/requests/login"
	query := "?login_challenge=" + url.QueryEscape(challenge)
	if err := b.target.Call(ctx, http.MethodGet, path+query, nil, &request); err != nil {
		return "", false, err
	}
	if a.RejectLogin {
		to, err := b.answer(ctx, path+"/reject"+query, map[string]any{"error": "access_denied", "error_description": "no"})
		return to, request.Skip, err
	}
	subject := a.Subject
	if request.Skip {
		subject = request.Subject
	}
	to, err := b.answer(ctx, path+"/accept"+query, map[string]any{"subject": subject, "remember": a.RememberLogin,
		"remember_for": 3600, "acr": "1", "context": map[string]any{"via": "password"}, "amr": a.AMR})
	return to, request.Skip, err
}

func (b *Browser) consent(ctx context.Context, challenge string, a Answers) (string, bool, error) {
	var request struct {
		Skip  bool     `json:"skip"`
		Scope []string `json:"requested_scope"`
	}
	path := "/oauth2/auth/requests/consent"
	query := "?consent_challenge=" + url.QueryEscape(challenge)
	if err := b.target.Call(ctx, http.MethodGet, path+query, nil, &request); err != nil {
		return "", false, err
	}
	if a.RejectConsent {
		to, err := b.answer(ctx, path+"/reject"+query, map[string]any{"error": "access_denied"})
		return to, request.Skip, err
	}
	granted := a.GrantScope
	if granted == nil {
		granted = request.Scope
	}
	to, err := b.answer(ctx, path+"/accept"+query, map[string]any{"grant_scope": granted, "remember": a.RememberConsent,
		"session": map[string]any{"id_token": a.IDToken, "access_token": map[string]any{"plan": "gold"}}})
	return to, request.Skip, err
}

func (b *Browser) answer(ctx context.Context, path string, body any) (string, error) {
	var out struct {
		RedirectTo string `json:"redirect_to"`
	}
	err := b.target.Call(ctx, http.MethodPut, path, body, &out)
	return out.RedirectTo, err
}

// StatusError is an answer that was not the wanted one.
type StatusError struct {
	Status int
	Body   string
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Call calls the admin API: body goes out and out comes in as JSON; url.Values go out as a form. A status of 300 and
// above is a [StatusError].
func (t Target) Call(ctx context.Context, method, path string, body, out any) error {
	var reader io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
	case url.Values:
		reader, kind = strings.NewReader(b.Encode()), "application/x-www-form-urlencoded"
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, t.Admin+t.AdminPrefix+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	return Do(req, out)
}

// Do sends a request and reads the JSON that comes into out. A status of 300 and above is a [StatusError].
func Do(req *http.Request, out any) error {
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return &StatusError{res.StatusCode, string(answer)}
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(answer, out)
}

// Active asks the introspection endpoint whether a token lives.
func (t Target) Active(ctx context.Context, token string) (bool, error) {
	var out struct {
		Active bool `json:"active"`
	}
	err := t.Call(ctx, http.MethodPost, "/oauth2/introspect", url.Values{"token": {token}}, &out)
	return out.Active, err
}

// transport reaches the issuer's URLs where the public listener really is.
func (t Target) transport() http.RoundTripper {
	if t.Public == "" || t.Public == t.Issuer {
		return http.DefaultTransport
	}
	return elsewhere{t}
}

type elsewhere struct{ Target }

func (e elsewhere) RoundTrip(r *http.Request) (*http.Response, error) {
	issuer, err := url.Parse(e.Issuer)
	if err != nil {
		return nil, err
	}
	public, err := url.Parse(e.Public)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	if r.URL.Host == issuer.Host {
		r.URL.Scheme, r.URL.Host = public.Scheme, public.Host
	}
	return http.DefaultTransport.RoundTrip(r)
}
