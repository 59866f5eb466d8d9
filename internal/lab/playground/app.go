package playground

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/console"
)

// app is a third party's: an OAuth client with one page.
type app struct {
	place Place
	oauth oauth2.Config
	html  *template.Template
	guard *console.Guard

	mu       sync.Mutex
	visitors map[string]visitor // by their cookie
}

// visitor is what the app knows of a browser.
type visitor struct {
	state, verifier string // of a log-in under way
	token           *oauth2.Token
	name            string
}

// newApp registers the app with the server, as the first user's.
func newApp(ctx context.Context, p Place) (*app, error) {
	html, err := parse("app.html")
	if err != nil {
		return nil, err
	}
	a := &app{place: p, html: html, guard: console.NewGuard("tideover_app"), visitors: map[string]visitor{},
		oauth: oauth2.Config{ClientSecret: rand.Text(), RedirectURL: p.App + "/callback", Scopes: []string{"openid", "profile", "offline_access"},
			Endpoint: oauth2.Endpoint{AuthURL: p.Issuer + "/oauth2/auth", TokenURL: p.Issuer + "/oauth2/token", AuthStyle: oauth2.AuthStyleInHeader}}}
	body, err := json.Marshal(map[string]any{"client_name": "Holiday photos", "owner": p.Users[0].Name, "redirect_uris": []string{a.oauth.RedirectURL},
		"scope": "openid profile offline_access", "grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
		"client_secret": a.oauth.ClientSecret, "token_endpoint_auth_method": "client_secret_basic"})
	if err != nil {
		return nil, err
	}
	var made struct {
		ID string `json:"client_id"`
	}
	if err := call(ctx, http.MethodPost, p.Admin+"/clients", "application/json", body, &made); err != nil {
		return nil, fmt.Errorf("register the app: %w", err)
	}
	a.oauth.ClientID = made.ID
	return a, nil
}

func (a *app) handler(at net.Addr) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /style.css", console.Style)
	mux.HandleFunc("GET /{$}", a.show)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("GET /callback", a.callback)
	mux.HandleFunc("POST /refresh", a.refresh)
	mux.HandleFunc("POST /logout", a.logout)
	return a.guard.Around(at, "http:", mux) // its log-in leads to the server, which sends on to the console
}

func (a *app) visitor(browser string) visitor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.visitors[browser]
}

// mostVisitors is when the app forgets all of them: browsers without end would take memory without end.
const mostVisitors = 1000

func (a *app) keep(browser string, v visitor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.visitors) >= mostVisitors {
		clear(a.visitors)
	}
	a.visitors[browser] = v
}

// appView is what the app's page shows. Said is the API's answer: what introspection says of the token.
type appView struct {
	CSRF, Name, Fault string
	Said              introspection
	Page              string
}

type introspection struct {
	Active  bool   `json:"active"`
	Subject string `json:"sub"`
	Scope   string `json:"scope"`
}

// show calls the API with the visitor's token.
func (a *app) show(w http.ResponseWriter, r *http.Request) { a.page(w, r, http.StatusOK, "") }

func (a *app) page(w http.ResponseWriter, r *http.Request, status int, fault string) {
	browser := a.guard.Browser(w, r)
	v := a.visitor(browser)
	out := appView{CSRF: a.guard.Token(browser), Name: v.name, Fault: fault, Page: a.place.Playground}
	if v.token != nil {
		err := call(r.Context(), http.MethodPost, a.place.Admin+"/oauth2/introspect", "application/x-www-form-urlencoded",
			[]byte(url.Values{"token": {v.token.AccessToken}}.Encode()), &out.Said)
		if err != nil {
			status, out.Fault = http.StatusBadGateway, err.Error()
		}
	}
	show(w, status, a.html, out)
}

// login sends the browser to the server.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	browser := a.guard.Browser(w, r)
	v := a.visitor(browser)
	v.state, v.verifier = rand.Text(), oauth2.GenerateVerifier()
	a.keep(browser, v)
	http.Redirect(w, r, a.oauth.AuthCodeURL(v.state, oauth2.S256ChallengeOption(v.verifier)), http.StatusSeeOther)
}

// callback is where the server sends the browser back to.
func (a *app) callback(w http.ResponseWriter, r *http.Request) {
	browser, q := a.guard.Browser(w, r), r.URL.Query()
	v := a.visitor(browser)
	if v.state == "" || subtle.ConstantTimeCompare([]byte(v.state), []byte(q.Get("state"))) != 1 {
		a.page(w, r, http.StatusBadRequest, "This is not the answer to a log-in of this browser.")
		return
	}
	verifier := v.verifier
	v.state, v.verifier = "", ""
	a.keep(browser, v)
	if said := q.Get("error"); said != "" {
		a.page(w, r, http.StatusForbidden, "The server has refused: "+said+" "+q.Get("error_description"))
		return
	}
	token, err := a.oauth.Exchange(r.Context(), q.Get("code"), oauth2.VerifierOption(verifier))
	if err == nil {
		v.token = token
		v.name, err = a.whose(r.Context(), token)
	}
	if err != nil {
		a.page(w, r, http.StatusBadGateway, err.Error())
		return
	}
	a.keep(browser, v)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// whose asks the server who has logged in.
func (a *app) whose(ctx context.Context, token *oauth2.Token) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.place.Issuer+"/userinfo", http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := oauth2.NewClient(ctx, oauth2.StaticTokenSource(token)).Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var claims struct {
		Subject string `json:"sub"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&claims); err != nil || claims.Subject == "" {
		return "", fmt.Errorf("userinfo names nobody: status %d", resp.StatusCode)
	}
	return claims.Subject, nil
}

// refresh takes a new access token for the refresh token.
func (a *app) refresh(w http.ResponseWriter, r *http.Request) {
	browser := a.guard.Browser(w, r)
	v := a.visitor(browser)
	if v.token == nil {
		a.page(w, r, http.StatusConflict, "Nobody is logged in.")
		return
	}
	token, err := a.oauth.TokenSource(r.Context(), &oauth2.Token{RefreshToken: v.token.RefreshToken}).Token()
	if err != nil {
		a.page(w, r, http.StatusForbidden, "No new token: "+err.Error())
		return
	}
	v.token = token
	a.keep(browser, v)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// logout forgets the visitor's token, which the server goes on to know.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.keep(a.guard.Browser(w, r), visitor{})
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
