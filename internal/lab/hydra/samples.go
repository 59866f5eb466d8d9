package hydra

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/tideover/tideover/internal/lab/seed"
	"github.com/tideover/tideover/internal/lab/thirdparty"
)

const plain = "plain"

// samples makes the sessions that are used before and after the run: plain ones, some that have expired, and those that
// the migration refuses or corrupts.
func (g *generator) samples(ctx context.Context) error {
	for range max(4, g.options.Sample) {
		m, err := g.session(ctx, plain, wish{})
		if err != nil {
			return err
		}
		g.show(m)
	}
	if err := g.expired(ctx); err != nil {
		return err
	}
	if err := g.refused(ctx); err != nil {
		return err
	}
	if !g.options.Offending {
		return nil
	}
	for _, o := range offences {
		for range g.options.Sample {
			if err := o.commit(ctx, g, o.kind); err != nil {
				return fmt.Errorf("%s: %w", o.kind, err)
			}
			g.result.Offending[o.kind]++
		}
	}
	return nil
}

func (g *generator) show(m made) {
	g.result.Living++
	g.result.Sample = append(g.result.Sample, m.Credential)
}

// expired makes sessions of a client whose tokens live for a second.
func (g *generator) expired(ctx context.Context) error {
	id, err := g.client(ctx, "In a hurry", nil)
	if err != nil {
		return err
	}
	second := "1s"
	lives := map[string]*string{}
	for _, grant := range []string{"authorization_code", "refresh_token"} {
		lives[grant+"_grant_access_token_lifespan"], lives[grant+"_grant_refresh_token_lifespan"] = &second, &second
	}
	var all []made
	for range g.options.Sample {
		m, err := g.session(ctx, "expired", wish{client: id})
		if err != nil {
			return err
		}
		all = append(all, m)
	}
	if err := g.target().Call(ctx, http.MethodPut, "/clients/"+url.PathEscape(id)+"/lifespans", lives, &struct{}{}); err != nil {
		return fmt.Errorf("lifespans of a client: %w", err)
	}
	for _, m := range all {
		t, err := g.token(ctx, id, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {m.Refresh}})
		if err != nil {
			return err
		}
		m.Spent, m.Access, m.Refresh = m.Refresh, t.Access, t.Refresh
		g.result.Expired = append(g.result.Expired, m.Credential)
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(1100 * time.Millisecond): // the servers' clock is ours
		return nil
	}
}

// refused is people who said no: to the login, or to what the app asked for.
func (g *generator) refused(ctx context.Context) error {
	for kind, no := range map[string]thirdparty.Answers{"refused-login": {RejectLogin: true}, "refused-consent": {RejectConsent: true}} {
		for range g.options.Sample {
			g.made++
			no.Subject = fmt.Sprintf("person-%s-%d", kind, g.made)
			client := g.ids[g.made%len(g.ids)]
			verifier := oauth2.GenerateVerifier()
			q := url.Values{"client_id": {client}, "redirect_uri": {callback}, "response_type": {"code"}, "scope": {scope}, "state": {"state-of-" + no.Subject},
				"code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"}}
			visit, err := thirdparty.NewBrowser(g.target()).Authorize(ctx, g.site.Issuer+"/oauth2/auth?"+q.Encode(), callback, no)
			if err != nil {
				return fmt.Errorf("%s: %w", kind, err)
			}
			if visit.Code != "" || visit.Error == "" {
				return fmt.Errorf("%s: the server gave a code to somebody who said no", kind)
			}
			g.result.Refused = append(g.result.Refused, seed.Credential{Kind: kind, Client: client, Subject: no.Subject})
		}
	}
	return nil
}

// offence is a kind of row that the migration to 2.x refuses or corrupts, and how it comes about.
type offence struct {
	kind   string
	commit func(ctx context.Context, g *generator, kind string) error
}

// live makes a session by a wish and lets SQL do to it what years did; $1 is its login challenge, $2 its consent's.
func live(w wish, statements ...string) func(context.Context, *generator, string) error {
	return func(ctx context.Context, g *generator, kind string) error {
		m, err := g.session(ctx, kind, w)
		if err != nil {
			return err
		}
		g.show(m)
		return g.change(ctx, m, statements...)
	}
}

func (g *generator) change(ctx context.Context, m made, statements ...string) error {
	for _, sql := range statements {
		tag, err := g.conn.Exec(ctx, "WITH session AS (SELECT $1::text AS login, $2::text AS consent, $3::text AS client) "+sql, m.login, m.consent, m.Client)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("%q changed nothing", sql)
		}
	}
	return nil
}

// quoted makes a session of a client one of whose lists has something that JSON does not.
func quoted(column, text string) func(context.Context, *generator, string) error {
	return func(ctx context.Context, g *generator, kind string) error {
		id, err := g.client(ctx, kind, nil)
		if err != nil {
			return err
		}
		m, err := g.session(ctx, kind, wish{client: id})
		if err != nil {
			return err
		}
		g.show(m)
		_, err = g.conn.Exec(ctx, fmt.Sprintf(`UPDATE hydra_client SET %[1]s = %[1]s || CASE %[1]s WHEN '' THEN '' ELSE '|' END || $2 WHERE id = $1`, column), id, text)
		return err
	}
}

// spoken makes a session of a client that asks for scopes and audiences out of the ordinary.
func spoken(more string, audience string) func(context.Context, *generator, string) error {
	return func(ctx context.Context, g *generator, kind string) error {
		all := scope
		if more != "" {
			all += " " + more
		}
		w := wish{scope: all, query: url.Values{}}
		registered := map[string]any{"scope": all}
		if audience != "" {
			registered["audience"], w.query["audience"] = []string{audience}, []string{audience}
		}
		var err error
		if w.client, err = g.client(ctx, kind, registered); err != nil {
			return err
		}
		return live(w)(ctx, g, kind)
	}
}

var offences = []offence{
	// Refused by the migration.
	{"two-consents-of-one-login", twoConsents},
	{"nul-in-login-hint", live(wish{query: url.Values{"login_hint": {"a\x00b"}}})},
	{"nul-in-login-context", live(wish{}, `UPDATE hydra_oauth2_authentication_request_handled SET context = '{"a":"x\u0000y"}' FROM session WHERE challenge = login`)},
	{"nul-in-access-session", live(wish{}, `UPDATE hydra_oauth2_consent_request_handled SET session_access_token = '{"a":"x\u0000y"}' FROM session WHERE challenge = consent`)},
	{"nul-in-id-session", live(wish{}, `UPDATE hydra_oauth2_consent_request_handled SET session_id_token = '{"a":"x\u0000y"}' FROM session WHERE challenge = consent`)},
	{"empty-oidc-context", live(wish{}, `UPDATE hydra_oauth2_authentication_request SET oidc_context = '' FROM session WHERE challenge = login`)},
	{"empty-login-context", live(wish{}, `UPDATE hydra_oauth2_authentication_request_handled SET context = '' FROM session WHERE challenge = login`)},
	{"empty-sessions", live(wish{}, `UPDATE hydra_oauth2_consent_request_handled SET session_access_token = '', session_id_token = '' FROM session WHERE challenge = consent`)},
	{"quote-in-contacts", quoted("contacts", `"Ann" <ann@app.example>`)},
	{"quote-in-cors-origins", quoted("allowed_cors_origins", `https://"app".example`)},
	{"quote-in-request-uris", quoted("request_uris", `https://app.example/"request"`)},
	{"quote-in-client-audience", quoted("audience", `urn:"api"`)},
	{"quote-in-redirect-uris", quoted("redirect_uris", `https://app.example/"back"`)},
	{"quote-in-amr", live(wish{amr: []string{`pass"word`}})},
	{"quote-in-scope", spoken(`say"hi"`, "")},
	{"quote-in-audience", spoken("", `urn:"api"`)},
	{"backslash-in-scope", spoken(`api:\zoo`, "")},
	{"client-is-gone", clientIsGone},
	{"login-session-is-gone", loginSessionIsGone},
	// Passed by the migration and corrupted. Every login is, by its state and subject; these are besides.
	{"backslash-reads-as-escape", spoken(`api:\read`, "")},
	{"logged-out", loggedOut},
	{"logins-ended", loginsEnded},
}

// twoConsents is a login verifier that was redeemed twice, as a double click does.
func twoConsents(ctx context.Context, g *generator, kind string) error {
	first, err := g.session(ctx, kind, wish{})
	if err != nil {
		return err
	}
	second, err := g.session(ctx, kind, wish{client: first.Client, subject: first.Subject})
	if err != nil {
		return err
	}
	g.show(first)
	g.show(second)
	_, err = g.conn.Exec(ctx, `WITH moved AS (
		UPDATE hydra_oauth2_consent_request c SET login_challenge = f.challenge, login_session_id = f.login_session_id
		FROM hydra_oauth2_authentication_request f WHERE f.challenge = $1 AND c.challenge = $2 RETURNING 1)
		SELECT count(*) FROM moved`, first.login, second.consent)
	if err != nil {
		return err
	}
	_, err = g.conn.Exec(ctx, `DELETE FROM hydra_oauth2_authentication_request WHERE challenge = $1`, second.login)
	return err
}

// loggedOut is a person whose browser has logged out since: the consent and its tokens live on.
func loggedOut(ctx context.Context, g *generator, kind string) error {
	m, err := g.session(ctx, kind, wish{})
	if err != nil {
		return err
	}
	g.show(m)
	q := url.Values{"id_token_hint": {m.id}, "post_logout_redirect_uri": {callback}, "state": {"goodbye-" + m.Subject}}
	to, err := m.browser.Get(ctx, g.site.Issuer+"/oauth2/sessions/logout?"+q.Encode())
	if err != nil {
		return err
	}
	u, err := url.Parse(to)
	if err != nil {
		return err
	}
	var accepted struct {
		RedirectTo string `json:"redirect_to"`
	}
	path := "/oauth2/auth/requests/logout/accept?" + url.Values{"logout_challenge": {u.Query().Get("logout_challenge")}}.Encode()
	if err := g.target().Call(ctx, http.MethodPut, path, nil, &accepted); err != nil {
		return err
	}
	if _, err := m.browser.Get(ctx, accepted.RedirectTo); err != nil {
		return err
	}
	return g.orphaned(ctx, m)
}

// loginsEnded is a person whose logins an administrator has ended.
func loginsEnded(ctx context.Context, g *generator, kind string) error {
	m, err := g.session(ctx, kind, wish{})
	if err != nil {
		return err
	}
	g.show(m)
	path := "/oauth2/auth/sessions/login?" + url.Values{"subject": {m.Subject}}.Encode()
	if err := g.target().Call(ctx, http.MethodDelete, path, nil, nil); err != nil {
		return err
	}
	return g.orphaned(ctx, m)
}

// orphaned looks whether a consent has lost its login.
func (g *generator) orphaned(ctx context.Context, m made) error {
	var orphaned bool
	if err := g.conn.QueryRow(ctx, `SELECT login_challenge IS NULL FROM hydra_oauth2_consent_request WHERE challenge = $1`, m.consent).Scan(&orphaned); err != nil {
		return err
	}
	if !orphaned {
		return fmt.Errorf("the consent still has its login")
	}
	return nil
}

// Foreign keys that are not valid: somebody has dropped them, and added them again without looking at the rows.
const unlooked = `DO $$
DECLARE c record;
BEGIN
	FOR c IN SELECT conname, conrelid::regclass AS child, pg_get_constraintdef(oid) AS def FROM pg_constraint
		WHERE contype = 'f' AND convalidated AND confrelid = '%s'::regclass LOOP
		EXECUTE format('ALTER TABLE %%s DROP CONSTRAINT %%I', c.child, c.conname);
		EXECUTE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s NOT VALID', c.child, c.conname, c.def);
	END LOOP;
END $$`

// withoutLooking runs a statement past all foreign keys to a table.
func (g *generator) withoutLooking(ctx context.Context, table, sql string, args ...any) error {
	if _, err := g.conn.Exec(ctx, fmt.Sprintf(unlooked, table)); err != nil {
		return err
	}
	if _, err := g.conn.Exec(ctx, `SET session_replication_role = replica`); err != nil {
		return err
	}
	_, err := g.conn.Exec(ctx, sql, args...)
	if _, reset := g.conn.Exec(ctx, `RESET session_replication_role`); err == nil {
		err = reset
	}
	return err
}

// clientIsGone leaves a session without its client: nobody can use it.
func clientIsGone(ctx context.Context, g *generator, kind string) error {
	id, err := g.client(ctx, kind, nil)
	if err != nil {
		return err
	}
	if _, err := g.session(ctx, kind, wish{client: id}); err != nil {
		return err
	}
	g.result.Clients--
	return g.withoutLooking(ctx, "hydra_client", `DELETE FROM hydra_client WHERE id = $1`, id)
}

// loginSessionIsGone leaves a login request that names a session which is not there. The tokens live.
func loginSessionIsGone(ctx context.Context, g *generator, kind string) error {
	m, err := g.session(ctx, kind, wish{})
	if err != nil {
		return err
	}
	g.show(m)
	return g.withoutLooking(ctx, "hydra_oauth2_authentication_session",
		`DELETE FROM hydra_oauth2_authentication_session s USING hydra_oauth2_authentication_request r
		WHERE r.login_session_id = s.id AND r.challenge = $1`, m.login)
}
