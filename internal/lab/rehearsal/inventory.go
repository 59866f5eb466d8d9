package rehearsal

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tideover/tideover/internal/lab/seed"
)

// inventory is what the old server's API says of what is older than the rehearsal: every member of every client's
// registration, of each person's consents with the login behind them, and of what each token means. Green must say the
// same. It knows neither tables nor migrations, so that a mistake in those hides nothing from it.
type inventory struct {
	api   *elders
	asked []question
	said  map[string]any // by question
}

// question is one that the API answers without changing anything.
type question struct {
	name, method, path string
	form               url.Values
	from               seed.Credential
}

// repaired are members of an answer, by the end of their path, that a rule of the profile has changed on purpose in a session
// of some kind: the old server made nothing of what they held.
var repaired = map[string][]string{
	"two-consents-of-one-login": {".consent_request.login_challenge", ".consent_request.requested_at"}, // the second has a login of its own
	"client-without-owner":      {".owner"},
	// Text that is no JSON is kept as text in JSON.
	"oidc-context-cut":         {".consent_request.oidc_context"},
	"login-context-cut":        {".consent_request.context"},
	"session-access-token-cut": {".session.access_token"},
	"session-id-token-cut":     {".session.id_token"},
	"client-contacts-cut":      {".contacts"},
	"client-metadata-cut":      {".metadata"},
	"client-redirect-uris-cut": {".redirect_uris"},
	"client-audience-cut":      {".audience"},
	// Hydra 2.x keeps one context of a login and its consent: the login's, in which there was nothing to save.
	"nul-in-login-context":  {".consent_request.context.via"},
	"empty-login-context":   {".consent_request.context.via"},
	"login-session-is-gone": {".consent_request.login_session_id"}, // it names none any more that is not there
	// A consent without its login is given one.
	"logged-out":   {".consent_request.login_challenge"},
	"logins-ended": {".consent_request.login_challenge"},
}

const (
	askedAtOnce     = 4
	differencesSaid = 3 // of one answer
)

// takeInventory asks the old side everything.
func takeInventory(ctx context.Context, e *elders, seeded seed.Result) (*inventory, error) {
	v := &inventory{api: e}
	seen := map[string]bool{}
	put := func(q question) {
		if !seen[q.name] {
			seen[q.name] = true
			v.asked = append(v.asked, q)
		}
	}
	put(question{name: "the keys", method: http.MethodGet, path: e.router.Public + "/.well-known/jwks.json"})
	known := slices.Concat(seeded.Archive, seeded.Refused)
	for _, c := range e.known {
		known = append(known, c.Credential)
	}
	for _, c := range known {
		if e.job != nil && c.Subject == e.job.Subject {
			continue
		}
		if c.Client != "" {
			put(question{name: "client " + c.Client, from: c, method: http.MethodGet, path: e.router.Admin + "/clients/" + url.PathEscape(c.Client)})
		}
		list := e.router.Admin + "/oauth2/auth/sessions/consent?" + url.Values{"subject": {c.Subject}}.Encode()
		put(question{name: "the consents of " + c.Subject, from: c, method: http.MethodGet, path: list})
		for kind, token := range map[string]string{"access": c.Access, "refresh": c.Refresh} {
			if token != "" {
				put(question{name: fmt.Sprintf("the %s token of %s (%s) for %s", kind, c.Subject, c.Kind, c.Client), method: http.MethodPost, from: c,
					path: e.router.Admin + "/oauth2/introspect", form: url.Values{"token": {token}}})
			}
		}
	}
	var err error
	v.said, err = v.ask(ctx)
	return v, err
}

func (v *inventory) ask(ctx context.Context) (map[string]any, error) {
	answers := make([]any, len(v.asked))
	some, ctx := errgroup.WithContext(ctx)
	some.SetLimit(askedAtOnce)
	for i, q := range v.asked {
		some.Go(func() error {
			var body any
			status, err := v.api.call(ctx, q.from, q.method, q.path, q.form, &body)
			if err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			answers[i] = map[string]any{"status": float64(status), "body": body}
			return nil
		})
	}
	if err := some.Wait(); err != nil {
		return nil, err
	}
	said := make(map[string]any, len(answers))
	for i, q := range v.asked {
		said[q.name] = answers[i]
	}
	return said, nil
}

// changed asks again, and says what is told otherwise, question by question.
func (v *inventory) changed(ctx context.Context) (findings []string, err error) {
	now, err := v.ask(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range v.asked {
		found := compare(nil, repaired[q.from.Kind], "", v.said[q.name], now[q.name])
		if len(found) > differencesSaid {
			found = append(found[:differencesSaid:differencesSaid], fmt.Sprintf("and %d more", len(found)-differencesSaid))
		}
		if len(found) > 0 {
			findings = append(findings, fmt.Sprintf("%s, older than the run: %s", q.name, strings.Join(found, "; ")))
		}
	}
	return findings, nil
}

// compare lists where after says something else than before. What only after has is news, and no loss.
func compare(found, except []string, at string, before, after any) []string {
	if slices.ContainsFunc(except, func(end string) bool { return strings.HasSuffix(at, end) }) {
		return found
	}
	switch was := before.(type) {
	case map[string]any:
		is, _ := after.(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(was)) {
			found = compare(found, except, at+"."+name, was[name], is[name])
		}
		return found
	case []any:
		is, _ := after.([]any)
		if strings.HasSuffix(at, ".keys") {
			is = slices.DeleteFunc(slices.Clone(is), func(key any) bool { return !slices.ContainsFunc(was, func(k any) bool { return name(k) == name(key) }) })
		}
		if len(was) != len(is) {
			return append(found, fmt.Sprintf("%s has %d elements, and had %d", at, len(is), len(was)))
		}
		was, is = sorted(was), sorted(is)
		for i := range was {
			found = compare(found, except, at+"[]", was[i], is[i])
		}
		return found
	}
	if empty(before) && empty(after) || before == after || sameTime(before, after) || withoutNUL(before) == after {
		return found
	}
	return append(found, fmt.Sprintf("%s is %v, and was %v", at, after, before))
}

// sorted puts consents and keys into an order that both servers have; lists of words keep theirs.
func sorted(list []any) []any {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b any) int { return cmp.Compare(name(a), name(b)) })
	return list
}

// name is what a key, or a consent, goes by.
func name(v any) string {
	m, _ := v.(map[string]any)
	request, _ := m["consent_request"].(map[string]any)
	return fmt.Sprint(m["kid"], m["handled_at"], request["challenge"])
}

func empty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return false
}

// sameTime compares two times to the second, which is what the older schema of some servers keeps.
func sameTime(before, after any) bool {
	a, isText := before.(string)
	b, areBoth := after.(string)
	if !isText || !areBoth {
		return false
	}
	was, err := time.Parse(time.RFC3339Nano, a)
	is, errIs := time.Parse(time.RFC3339Nano, b)
	return err == nil && errIs == nil && was.Sub(is).Abs() < time.Second
}

// withoutNUL is a text as jsonb can hold it.
func withoutNUL(v any) any {
	text, _ := v.(string)
	return strings.ReplaceAll(text, "\x00", "")
}
