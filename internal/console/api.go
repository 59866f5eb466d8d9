package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// api is the admin API of the server: that of Ory Hydra 1.x or 2.x, which the bundled one speaks too.
type api struct {
	base, token            string
	actor, address, intent string // for whom it is called and why, which the bundled server writes down
	http                   *http.Client
}

func newAPI(base, token string) *api {
	return &api{base: base, token: token, http: &http.Client{Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// apiError is an answer that is not 2xx.
type apiError struct {
	Status      int
	Path        string
	Description string `json:"error_description"`
	RedirectTo  string `json:"redirect_to"` // of a challenge that was used: where it began
}

func (e *apiError) Error() string {
	return fmt.Sprintf("admin API: %s: status %d: %s", e.Path, e.Status, e.Description)
}

const mostAnswer = 16 << 20

// call asks the admin API; out may be nil.
func (a *api) call(ctx context.Context, method, path string, query url.Values, in, out any) (http.Header, error) {
	target := a.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, errors.New("admin API: no request can be made of " + path)
	}
	req.Header.Set("Accept", "application/json")
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	for name, value := range map[string]string{"X-Tideover-Actor": a.actor, "X-Tideover-Actor-Address": a.address, "X-Tideover-Intent": a.intent} {
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	res, err := a.http.Do(req)
	if err != nil {
		if e := new(url.Error); errors.As(err, &e) {
			err = e.Err // the URL has the challenge
		}
		return nil, fmt.Errorf("admin API: %s: %w", path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, mostAnswer))
	if err != nil {
		return nil, fmt.Errorf("admin API: %s: %w", path, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		e := &apiError{Status: res.StatusCode, Path: path}
		_ = json.Unmarshal(text, e) // what is no JSON has nothing to say
		e.Status, e.Path = res.StatusCode, path
		return nil, e
	}
	if out != nil && len(text) > 0 {
		numbers := json.NewDecoder(bytes.NewReader(text))
		numbers.UseNumber()
		if err := numbers.Decode(out); err != nil {
			return nil, fmt.Errorf("admin API: %s: the answer is no JSON of the right shape", path)
		}
	}
	return res.Header, nil
}

// client is an app, as far as the console reads it.
type client struct {
	ID           string          `json:"client_id"`
	Name         string          `json:"client_name"`
	Secret       string          `json:"client_secret"`
	Owner        string          `json:"owner"`
	RedirectURIs []string        `json:"redirect_uris"`
	Scope        string          `json:"scope"`
	AuthMethod   string          `json:"token_endpoint_auth_method"`
	Metadata     json.RawMessage `json:"metadata"`
	URI          string          `json:"client_uri"`
	LogoURI      string          `json:"logo_uri"`
	PolicyURI    string          `json:"policy_uri"`
	TermsURI     string          `json:"tos_uri"`
	CreatedAt    time.Time       `json:"created_at"`
	OldSecret    int64           `json:"client_secret_previous_expires_at"` // Unix seconds; the secret before the last works until then
}

type loginRequest struct {
	Challenge      string   `json:"challenge"`
	RequestedScope []string `json:"requested_scope"`
	Skip           bool     `json:"skip"`
	Subject        string   `json:"subject"`
	Client         client   `json:"client"`
	RequestURL     string   `json:"request_url"`
	OIDCContext    struct {
		LoginHint string `json:"login_hint"`
	} `json:"oidc_context"`
}

type consentRequest struct {
	Challenge      string   `json:"challenge"`
	RequestedScope []string `json:"requested_scope"`
	Audience       []string `json:"requested_access_token_audience"`
	Skip           bool     `json:"skip"`
	Subject        string   `json:"subject"`
	Client         client   `json:"client"`
	RequestURL     string   `json:"request_url"`
	LoginChallenge string   `json:"login_challenge"`
}

type logoutRequest struct {
	Subject    string  `json:"subject"`
	RequestURL string  `json:"request_url"`
	Client     *client `json:"client"`
}

const pathRequests = "/oauth2/auth/requests/"

// question reads a challenge's request: kind is login, consent or logout.
func (a *api) question(ctx context.Context, kind, challenge string, out any) error {
	_, err := a.call(ctx, http.MethodGet, pathRequests+kind, url.Values{kind + "_challenge": {challenge}}, nil, out)
	return err
}

// answer accepts or rejects a challenge and returns where the browser goes on, which may be "" for a log-out.
func (a *api) answer(ctx context.Context, kind, challenge, verdict string, body any) (string, error) {
	var out struct {
		RedirectTo string `json:"redirect_to"`
	}
	_, err := a.call(ctx, http.MethodPut, pathRequests+kind+"/"+verdict, url.Values{kind + "_challenge": {challenge}}, body, &out)
	return out.RedirectTo, err
}

// endLogins has the server forget the browsers in which the person is logged in.
func (a *api) endLogins(ctx context.Context, subject string) error {
	_, err := a.call(ctx, http.MethodDelete, "/oauth2/auth/sessions/login", url.Values{"subject": {subject}}, nil, nil)
	return err
}

// clients are all apps, or one owner's, page by page: by the Link header where there is one (Hydra), or by counting.
func (a *api) clients(ctx context.Context, owner string) ([]client, error) {
	size := strconv.Itoa(pageSize)
	query := url.Values{"limit": {size}, "page_size": {size}}
	if owner != "" {
		query.Set("owner", owner)
	}
	var all []client
	for {
		var page []client
		header, err := a.call(ctx, http.MethodGet, "/clients", query, nil, &page)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(all) >= mostClients || len(page) == 0 {
			return all, nil
		}
		more, linked := nextPage(header)
		switch {
		case more != nil:
			query = more
		case linked || len(page) < pageSize:
			return all, nil
		default:
			query.Set("offset", strconv.Itoa(len(all)))
		}
	}
}

const pageSize = 250 // no server gives less where that is asked for

// mostClients bounds what is looked through for apps that look alike.
const mostClients = 20_000

// nextPage is the query of the Link header's next page (RFC 8288). Its host is not followed.
func nextPage(h http.Header) (query url.Values, linked bool) {
	for _, line := range h.Values("Link") {
		for _, link := range strings.Split(line, ",") {
			target, rest, ok := strings.Cut(link, ">")
			if !ok {
				continue
			}
			linked = true
			if !strings.Contains(rest, `rel="next"`) {
				continue
			}
			if u, err := url.Parse(strings.Trim(strings.TrimSpace(target), "<")); err == nil {
				return u.Query(), true
			}
		}
	}
	return nil, linked
}

// pathOf is a client's path. Ids are the server's words: one that would climb out of the path is none.
func pathOf(id string) (string, error) {
	if id == "" || id == "." || id == ".." || len(id) > 255 {
		return "", &fault{status: http.StatusNotFound, name: "noapp"}
	}
	return "/clients/" + url.PathEscape(id), nil
}

func (a *api) client(ctx context.Context, id string) (client, error) {
	var c client
	path, err := pathOf(id)
	if err == nil {
		_, err = a.call(ctx, http.MethodGet, path, nil, nil, &c)
	}
	return c, err
}

// change replaces an app by itself with a change, which leaves fields alone of which the console knows nothing. It returns
// the app as the server has it then.
func (a *api) change(ctx context.Context, id string, with func(all map[string]any)) (client, error) {
	path, err := pathOf(id)
	if err != nil {
		return client{}, err
	}
	var all map[string]any
	if _, err := a.call(ctx, http.MethodGet, path, nil, nil, &all); err != nil {
		return client{}, err
	}
	with(all)
	if _, err := a.call(ctx, http.MethodPut, path, nil, all, nil); err != nil {
		return client{}, err
	}
	return a.client(ctx, id)
}

// rotate has the server make a new secret for an app, and keep the old one for a day. Of the servers that the console
// drives not all can.
func (a *api) rotate(ctx context.Context, id string) (string, error) {
	path, err := pathOf(id)
	if err != nil {
		return "", err
	}
	var out client
	_, err = a.call(ctx, http.MethodPost, path+"/secrets/rotate", nil, map[string]int{"keep_seconds": 24 * 3600}, &out)
	if e := new(apiError); missing(err) || errors.As(err, &e) && e.Status == http.StatusMethodNotAllowed || err == nil && out.Secret == "" {
		return "", &fault{status: http.StatusConflict, name: "nokeep", cause: err}
	}
	return out.Secret, err
}

// endTokens deletes an app's access tokens, as the API means it: refresh tokens live on.
func (a *api) endTokens(ctx context.Context, id string) error {
	_, err := a.call(ctx, http.MethodDelete, "/oauth2/tokens", url.Values{"client_id": {id}}, nil, nil)
	return err
}

// given is a consent that a person gave.
type given struct {
	Request    consentRequest `json:"consent_request"`
	GrantScope []string       `json:"grant_scope"`
	Audience   []string       `json:"grant_access_token_audience"`
	HandledAt  *time.Time     `json:"handled_at"`
}

func (a *api) consents(ctx context.Context, subject string) ([]given, error) {
	var out []given
	_, err := a.call(ctx, http.MethodGet, "/oauth2/auth/sessions/consent",
		url.Values{"subject": {subject}, "limit": {"500"}, "page_size": {"500"}}, nil, &out)
	if missing(err) { // Hydra 1.x, where there is none
		return nil, nil
	}
	return out, err
}

// revoke takes back what a person gave to an app, or to all where it is "".
func (a *api) revoke(ctx context.Context, subject, app string) error {
	query := url.Values{"subject": {subject}, "all": {"true"}}
	if app != "" {
		query = url.Values{"subject": {subject}, "client": {app}}
	}
	_, err := a.call(ctx, http.MethodDelete, "/oauth2/auth/sessions/consent", query, nil, nil)
	if missing(err) { // it is gone already
		return nil
	}
	return err
}

func missing(err error) bool {
	e := new(apiError)
	return errors.As(err, &e) && e.Status == http.StatusNotFound
}

// refusedField is what the server has against a client, or "" where that is not the trouble.
func refusedField(err error) string {
	if e := new(apiError); errors.As(err, &e) && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnprocessableEntity) {
		return visible(e.Description)
	}
	return ""
}
