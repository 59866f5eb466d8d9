package rehearsal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tideover/tideover/internal/lab/deployment"
	"github.com/tideover/tideover/internal/lab/seed"
)

// elders are sessions that are older than the rehearsal: seeded into blue before it began, some by every kind of row that
// the new schema refuses or corrupts. The traffic has never seen them, so that the checker knows nothing of them. They
// must be after the run what they were before it: of a living one the access token means the same, the consent is listed,
// the refresh token refreshes, the refresh token that was used up long ago is refused, and the consent can be revoked. Of
// one that has expired, or was revoked before the run, nothing may live.
type elders struct {
	router deployment.Endpoint
	client *http.Client
	known  []elder
	job    *elder // a plain one that a job ends in the switch; nil: there are too few
}

// forJob is how many plain sessions there must be for one to be left to a job.
const forJob = 4

type elder struct {
	seed.Credential
	death  string // "": it lives; else how it died
	before meaning
}

// meaning is what a server says of an access token and of its person's consents.
type meaning struct {
	Active                  bool
	Subject, Client, Scope  string
	Consents                int // of the person for the client
	IntrospectedBy, Consent int // HTTP statuses
}

// meet asks the old side what the seeded sessions are, and revokes some of the plain ones: half of them by their access
// token, half by their refresh token, but for the first.
func meet(ctx context.Context, router deployment.Endpoint, seeded seed.Result) (*elders, error) {
	e := &elders{router: router, client: &http.Client{Timeout: 30 * time.Second}}
	for _, c := range seeded.Expired {
		e.known = append(e.known, elder{Credential: c, death: "expired"})
	}
	all, plain := 0, 0
	for _, c := range seeded.Sample {
		if c.Kind == "plain" {
			all++
		}
	}
	for _, c := range seeded.Sample {
		known := elder{Credential: c}
		if c.Kind == "plain" && plain == forJob-1 && all >= forJob && e.job == nil {
			e.job = &known
		} else if c.Kind == "plain" {
			if plain++; plain > 1 {
				token := []string{c.Access, c.Refresh}[plain%2]
				status, err := e.call(ctx, c, http.MethodPost, router.Public+"/oauth2/revoke", url.Values{"token": {token}}, nil)
				if err != nil || status != http.StatusOK {
					return nil, fmt.Errorf("revoke a seeded session: status %d, %w", status, err)
				}
				known.death = "revoked"
			}
		}
		e.known = append(e.known, known)
	}
	for i, c := range e.known {
		before, err := e.ask(ctx, c.Credential)
		if err != nil {
			return nil, fmt.Errorf("ask for a seeded session: %w", err)
		}
		if before.Active != (c.death == "") {
			return nil, fmt.Errorf("a seeded session of kind %q: active is %t before the run (status %d), though it should be %s", c.Kind,
				before.Active, before.IntrospectedBy, cmp.Or(c.death, "living"))
		}
		e.known[i].before = before
	}
	if e.job != nil {
		at := slices.IndexFunc(e.known, func(c elder) bool { return c.Access == e.job.Access })
		e.job = &elder{Credential: e.job.Credential, before: e.known[at].before}
		e.known = slices.Delete(e.known, at, at+1)
	}
	if len(e.known) == 0 {
		return nil, fmt.Errorf("no session was seeded")
	}
	return e, nil
}

// lost asks again, and says in how many sessions something was lost: authorizations, revocations, with what it found.
// What cannot be asked, or is no answer, counts as lost. The error says that ctx has ended.
//
// The last thing that is done with a session ends it, rightly. So the first of each kind is asked for its used refresh
// token, and the second is revoked.
func (e *elders) lost(ctx context.Context) (authorizations, revocations int, findings []string, err error) {
	living := map[string]int{}
	for _, c := range e.known {
		lives := e.living
		count := &authorizations
		if c.death != "" {
			lives, count = e.dead, &revocations
		}
		found := lives(ctx, &c)
		if len(found) > 0 {
			*count++
		}
		last := e.spent
		if c.death == "" {
			if living[c.Kind]++; living[c.Kind] == 2 {
				last = e.revoked
			}
		}
		if wrong := last(ctx, c); wrong != "" {
			found = append(found, wrong)
			revocations++
		}
		if ctx.Err() != nil {
			return 0, 0, nil, context.Cause(ctx)
		}
		for _, f := range found {
			state := cmp.Or(c.death, "living")
			findings = append(findings, fmt.Sprintf("a session of kind %q (%s) that is older than the run: %s", c.Kind, state, f))
		}
	}
	return authorizations, revocations, findings, nil
}

// spent says what is wrong with the refresh token that was used long ago. A server may take the question for theft.
func (e *elders) spent(ctx context.Context, c elder) string {
	status, _, err := e.refresh(ctx, c.Credential, c.Spent)
	if err != nil || status != http.StatusBadRequest && status != http.StatusUnauthorized {
		return fmt.Sprintf("its used refresh token is not refused (%s)", answered(status, err))
	}
	return ""
}

// revoked revokes a session's consent, by its subject as a person does who looks at a list, and says what lives on.
func (e *elders) revoked(ctx context.Context, c elder) string {
	consents := e.router.Admin + "/oauth2/auth/sessions/consent?" + url.Values{"subject": {c.Subject}, "client": {c.Client}}.Encode()
	status, err := e.call(ctx, c.Credential, http.MethodDelete, consents, nil, nil)
	if err != nil || status != http.StatusNoContent {
		return fmt.Sprintf("its consent can't be revoked (%s)", answered(status, err))
	}
	after, err := e.ask(ctx, c.Credential)
	if err != nil {
		return err.Error()
	}
	if after.Active || after.Consents > 0 {
		return fmt.Sprintf("its consent was revoked by subject, and it is %+v", after)
	}
	if status, _, err := e.refresh(ctx, c.Credential, c.Refresh); err != nil || status != http.StatusBadRequest && status != http.StatusUnauthorized {
		return fmt.Sprintf("its consent was revoked by subject, and its refresh token is not refused (%s)", answered(status, err))
	}
	return ""
}

// living says what is wrong with a session that lives. It has new tokens then.
func (e *elders) living(ctx context.Context, c *elder) (found []string) {
	found = e.same(ctx, c)
	status, fresh, err := e.refresh(ctx, c.Credential, c.Refresh)
	if err != nil || status != http.StatusOK || fresh.Access == "" || fresh.Access == c.Access {
		return append(found, fmt.Sprintf("its refresh token gives no new tokens (%s)", answered(status, err)))
	}
	c.Access, c.Refresh = fresh.Access, fresh.Refresh
	for _, f := range e.same(ctx, c) {
		found = append(found, "after a refresh: "+f)
	}
	return found
}

// dead says what is wrong with a session that has ended.
func (e *elders) dead(ctx context.Context, c *elder) (found []string) {
	found = e.same(ctx, c)
	status, _, err := e.refresh(ctx, c.Credential, c.Refresh)
	if err != nil || status != http.StatusBadRequest && status != http.StatusUnauthorized {
		found = append(found, fmt.Sprintf("its refresh token is not refused (%s)", answered(status, err)))
	}
	return found
}

// same compares what the server says with what the old side said before the run.
func (e *elders) same(ctx context.Context, c *elder) []string {
	after, err := e.ask(ctx, c.Credential)
	if err != nil {
		return []string{err.Error()}
	}
	if after != c.before {
		return []string{fmt.Sprintf("it was %+v and is %+v", c.before, after)}
	}
	return nil
}

func answered(status int, err error) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("status %d", status)
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

// pair is what a refresh gives.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

func (e *elders) refresh(ctx context.Context, c seed.Credential, token string) (status int, fresh pair, err error) {
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
	status, err = e.call(ctx, c, http.MethodPost, e.router.Public+"/oauth2/token", form, &fresh)
	return status, fresh, err
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
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // without the method and the whole URL, which are said below
	}
	if err != nil {
		return 0, fmt.Errorf("%s %s: no answer: %w", method, req.URL.Path, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, fmt.Errorf("%s %s: the answer broke off", method, req.URL.Path)
	}
	if res.StatusCode == http.StatusOK && into != nil {
		if err := json.Unmarshal(body, into); err != nil {
			return 0, fmt.Errorf("%s %s: the answer is not what it should be", method, req.URL.Path)
		}
	}
	return res.StatusCode, nil
}
