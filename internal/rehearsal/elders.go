package rehearsal

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/authserver/seed"
	"github.com/tideover/tideover/internal/stage"
)

// elders are sessions that are older than the rehearsal: seeded into blue before it began, some by every kind of row that
// the new schema refuses or corrupts. The traffic has never seen them, so that the checker knows nothing of them. They
// must be after the run what they were before it: the access token means the same, the consent is listed, the refresh
// token refreshes, and the refresh token that was used up long ago is refused.
type elders struct {
	router stage.Endpoint
	client *http.Client
	known  []elder
}

type elder struct {
	seed.Credential
	before meaning
}

// meaning is what a server says of an access token and of its person's consents.
type meaning struct {
	Active                  bool
	Subject, Client, Scope  string
	Consents                int // of the person for the client
	IntrospectedBy, Consent int // HTTP statuses
}

// meet asks the old side what the seeded sessions are.
func meet(ctx context.Context, s *stage.Stage) (*elders, error) {
	e := &elders{router: s.Router, client: &http.Client{Timeout: 30 * time.Second}}
	for _, c := range s.Seeded.Sample {
		before, err := e.ask(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("ask for a seeded session: %w", err)
		}
		if !before.Active {
			return nil, fmt.Errorf("a seeded session of kind %q does not live before the run (status %d)", c.Kind, before.IntrospectedBy)
		}
		e.known = append(e.known, elder{c, before})
	}
	if len(e.known) == 0 {
		return nil, fmt.Errorf("no session was seeded")
	}
	return e, nil
}

// lost asks again, and says in how many sessions something was lost: authorizations, revocations, with what it found.
func (e *elders) lost(ctx context.Context) (authorizations, revocations int, findings []string, err error) {
	find := func(c elder, format string, args ...any) {
		findings = append(findings, fmt.Sprintf("a session of kind %q that is older than the run: %s", c.Kind, fmt.Sprintf(format, args...)))
	}
	for _, c := range e.known {
		after, err := e.ask(ctx, c.Credential)
		if err != nil {
			return 0, 0, nil, err
		}
		dead := false
		if after != c.before {
			find(c, "it was %+v and is %+v", c.before, after)
			dead = true
		}
		status, got, err := e.refresh(ctx, c.Credential, c.Refresh)
		if err != nil {
			return 0, 0, nil, err
		}
		if status != http.StatusOK || got == "" || got == c.Access {
			find(c, "its refresh token is refused (status %d)", status)
			dead = true
		}
		if dead {
			authorizations++
		}
		// Last: a server may take it for theft, and end the session.
		if status, _, err = e.refresh(ctx, c.Credential, c.Spent); err != nil {
			return 0, 0, nil, err
		}
		if status != http.StatusBadRequest && status != http.StatusUnauthorized {
			find(c, "its used refresh token is not refused (status %d)", status)
			revocations++
		}
	}
	return authorizations, revocations, findings, nil
}

func (e *elders) ask(ctx context.Context, c seed.Credential) (meaning, error) {
	var m meaning
	var token struct {
		Active   bool   `json:"active"`
		Subject  string `json:"sub"`
		ClientID string `json:"client_id"`
		Scope    string `json:"scope"`
	}
	var err error
	if m.IntrospectedBy, err = e.call(ctx, c, http.MethodPost, e.router.Admin+"/oauth2/introspect", url.Values{"token": {c.Access}}, &token); err != nil {
		return m, err
	}
	m.Active, m.Subject, m.Client, m.Scope = token.Active, token.Subject, token.ClientID, token.Scope
	var consents []struct {
		Request struct {
			Client struct {
				ID string `json:"client_id"`
			} `json:"client"`
		} `json:"consent_request"`
	}
	list := e.router.Admin + "/oauth2/auth/sessions/consent?" + url.Values{"subject": {c.Subject}}.Encode()
	if m.Consent, err = e.call(ctx, c, http.MethodGet, list, nil, &consents); err != nil {
		return m, err
	}
	for _, consent := range consents {
		if consent.Request.Client.ID == c.Client {
			m.Consents++
		}
	}
	return m, nil
}

func (e *elders) refresh(ctx context.Context, c seed.Credential, token string) (status int, access string, err error) {
	var answer struct {
		Access string `json:"access_token"`
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	status, err = e.call(ctx, c, http.MethodPost, e.router.Public+"/oauth2/token", form, &answer)
	return status, answer.Access, err
}

// call sends one request. The error never has the URL or the body, which may hold a token.
func (e *elders) call(ctx context.Context, c seed.Credential, method, to string, form url.Values, into any) (int, error) {
	req, err := http.NewRequestWithContext(ctx, method, to, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(c.Client), url.QueryEscape(c.Secret))
	}
	res, err := e.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%s %s: no answer: %w", method, req.URL.Path, err.(*url.Error).Err) //nolint:errorlint // Do returns nothing else
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("%s %s: the answer broke off", method, req.URL.Path)
	}
	if res.StatusCode == http.StatusOK {
		if err := json.Unmarshal(body, into); err != nil {
			return 0, fmt.Errorf("%s %s: the answer is not what it should be", method, req.URL.Path)
		}
	}
	return res.StatusCode, nil
}
