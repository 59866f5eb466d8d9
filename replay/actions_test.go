package replay

import "fmt"

// blueAction does what servers of 1.1, their operators and their janitors do.
func blueAction(x *txn) {
	actions := []struct {
		weight int
		do     func(*txn)
	}{
		{2, newClient}, {2, changeClient}, {1, deleteClient}, {1, dropClient}, {1, clientAgain},
		{6, login}, {2, secondConsent}, {2, answerConsent}, {2, changeAnswers}, {2, moveConsent}, {1, deleteLogin},
		{4, issueAgain}, {8, rotate}, {4, revokeChain}, {1, revokeHalf}, {1, deleteAccess}, {4, revokeConsent}, {3, logOut},
		{2, clientCredentials}, {1, orphan}, {2, expiredTokens}, {3, janitor}, {1, newKey},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	n := x.w.rng.IntN(total)
	for _, a := range actions {
		if n -= a.weight; n < 0 {
			a.do(x)
			return
		}
	}
}

// text is what stands in 1.1's text columns: JSON, mostly.
func (x *txn) text() string {
	odd := []string{"{}", `{"a":1}`, "", "null", "no json", `{"a":"x\u0000y"}`, `{"a":"\\u0000"}`, `[1,{"b":[]}`, `"\ud800"`}
	if x.w.rng.IntN(2) == 0 {
		return "{}"
	}
	return odd[x.w.rng.IntN(len(odd))]
}

func (x *txn) client() string  { return x.pick("id", "oauth_client", "true") }
func (x *txn) consent() string { return x.pick("challenge", "oauth_consent_request", "true") }
func (x *txn) subject() string { return fmt.Sprintf("u%d", x.w.rng.IntN(3)) }

func newClient(x *txn) { x.makeClient(x.w.name("c")) }

func (x *txn) makeClient(id string) {
	x.tell("client", `INSERT INTO oauth_client (id, owner, redirect_uris) VALUES ($1, $2, '["https://x"]') RETURNING id`,
		id, []string{"", "o"}[x.w.rng.IntN(2)])
	x.rows(`INSERT INTO oauth_client_details (client_id, metadata) VALUES ($1, $2)`, id, x.text())
}

// clientAgain is an app that is registered anew under the id of one that was deleted.
func clientAgain(x *txn) {
	for _, id := range []string{"c1", "c2", "again"} {
		if len(x.rows(`SELECT 1 FROM oauth_client WHERE id = $1`, id)) == 0 {
			x.makeClient(id)
			return
		}
	}
}

func changeClient(x *txn) {
	x.rows(`UPDATE oauth_client SET name = name || 'x', audience = $2 WHERE id = $1`, x.client(), x.text())
}

// deleteClient is 1.1's own way: everything of the client goes.
func deleteClient(x *txn) {
	id := x.lockClient()
	x.tell("no consent", `DELETE FROM oauth_consent_request WHERE client_id = $1 RETURNING challenge`, id)
	x.rows(`DELETE FROM oauth_code WHERE client_id = $1`, id)
	x.tell("end", `DELETE FROM oauth_refresh WHERE client_id = $1 RETURNING signature`, id)
	x.tell("end", `DELETE FROM oauth_access WHERE client_id = $1 RETURNING signature`, id)
	x.tell("no client", `DELETE FROM oauth_client WHERE id = $1 RETURNING id`, id)
}

// dropClient is an operator's way, by hand: tokens without a consent stay behind, and are refused.
func dropClient(x *txn) {
	id := x.lockClient()
	x.tell("no consent", `SELECT challenge FROM oauth_consent_request WHERE client_id = $1`, id)
	x.tell("no client", `DELETE FROM oauth_client WHERE id = $1 RETURNING id`, id)
}

func (x *txn) lockClient() string {
	id := x.client()
	if x.w.rng.IntN(2) == 0 {
		id = ""
	}
	x.rows(`SELECT 1 FROM oauth_client WHERE id = $1 FOR UPDATE`, id)
	return id
}

// login is a login and its consent, the whole way or a part of it.
func login(x *txn) {
	s, l, k, client := x.w.name("s"), x.w.name("l"), x.w.name("k"), x.client()
	if client == "" {
		return
	}
	x.rows(`INSERT INTO oauth_session (id, subject) VALUES ($1, $2)`, s, x.subject())
	x.rows(`INSERT INTO oauth_login_request (challenge, verifier, client_id, session_id, request_url, oidc_context) VALUES ($1, 'v' || $1, $2, $3, 'u', $4)`,
		l, client, s, x.text())
	if x.w.rng.IntN(4) == 0 {
		return
	}
	x.rows(`INSERT INTO oauth_login_handled (challenge, subject, was_used, context) VALUES ($1, $2, true, $3)`, l, x.subject(), x.text())
	x.tell("consent", `INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject) VALUES ($1, 'v' || $1, $2, $3, $4) RETURNING challenge`,
		k, l, client, x.subject())
	if x.w.rng.IntN(4) == 0 {
		return
	}
	x.rows(`INSERT INTO oauth_consent_handled (challenge, granted_scope, was_used, session_id_token) VALUES ($1, 'openid', true, $2)`, k, x.text())
	x.rows(`INSERT INTO oauth_code (signature, request_id, client_id, consent_challenge, expires_at) VALUES ('code' || $1, $1, $2, $1, now() + '1 hour')`, k, client)
	if x.w.rng.IntN(5) > 0 {
		x.rows(`UPDATE oauth_code SET active = false WHERE signature = 'code' || $1`, k)
		x.issue(k, k)
	}
}

// issue gives a chain its tokens.
func (x *txn) issue(chain, consent string) {
	from := ` SELECT $1, $2, client_id, subject, challenge, now() + '1 day' FROM oauth_consent_request WHERE challenge = $3`
	x.give(`INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at)`+from, x.w.name("a"), chain, consent)
	x.give(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at)`+from, x.w.name("r"), chain, consent)
}

func issueAgain(x *txn) { x.issue(x.w.name("q"), x.consent()) }

// secondConsent is a double click on the login page.
func secondConsent(x *txn) {
	x.tell("consent", `INSERT INTO oauth_consent_request (challenge, verifier, login_challenge, client_id, subject)
SELECT $1, 'v' || $1, challenge, client_id, 'u2' FROM oauth_login_request WHERE challenge = $2 RETURNING challenge`,
		x.w.name("k"), x.pick("challenge", "oauth_login_request", "true"))
}

func answerConsent(x *txn) {
	x.rows(`INSERT INTO oauth_consent_handled (challenge, was_used, session_access_token) SELECT challenge, true, $1 FROM oauth_consent_request k
WHERE NOT EXISTS (SELECT 1 FROM oauth_consent_handled h WHERE h.challenge = k.challenge) ORDER BY challenge LIMIT 1`, x.text())
}

func changeAnswers(x *txn) {
	x.rows(`UPDATE oauth_consent_handled SET granted_scope = granted_scope || ' more', session_id_token = $2 WHERE challenge = $1`,
		x.pick("challenge", "oauth_consent_handled", "true"), x.text())
	x.rows(`UPDATE oauth_login_handled SET acr = acr || '1', context = $2 WHERE challenge = $1`, x.pick("challenge", "oauth_login_handled", "true"), x.text())
}

// moveConsent gives a consent another login of its client.
func moveConsent(x *txn) {
	x.rows(`UPDATE oauth_consent_request k SET login_challenge = l.challenge FROM oauth_login_request l
WHERE k.challenge = $1 AND l.challenge = $2 AND l.client_id = k.client_id`, x.consent(), x.pick("challenge", "oauth_login_request", "true"))
}

func deleteLogin(x *txn) {
	x.rows(`DELETE FROM oauth_login_request WHERE challenge = $1`, x.pick("challenge", "oauth_login_request", "true"))
}

// logOut takes the logins of a session along. Its consents and tokens stay.
func logOut(x *txn) {
	x.rows(`DELETE FROM oauth_session WHERE id = $1`, x.pick("id", "oauth_session", "true"))
}

func revokeConsent(x *txn) {
	x.tell("no consent", `DELETE FROM oauth_consent_request WHERE challenge = $1 RETURNING challenge`, x.consent())
}

func rotate(x *txn) {
	used := x.pick("signature", "oauth_refresh", "active AND expires_at > now()")
	if used == "" {
		return
	}
	x.rows(`SELECT 1 FROM oauth_refresh WHERE signature = $1 FOR UPDATE`, used)
	x.tell("end", `DELETE FROM oauth_access WHERE request_id = (SELECT request_id FROM oauth_refresh WHERE signature = $1) RETURNING signature`, used)
	if len(x.rows(`UPDATE oauth_refresh SET active = false WHERE signature = $1 AND active RETURNING signature`, used)) == 0 {
		return
	}
	x.facts = append(x.facts, fact{kind: "end", id: used})
	from := ` SELECT $1, request_id, client_id, subject, consent_challenge, now() + '1 day' FROM oauth_refresh WHERE signature = $2`
	x.give(`INSERT INTO oauth_access (signature, request_id, client_id, subject, consent_challenge, expires_at)`+from, x.w.name("a"), used)
	x.give(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at)`+from, x.w.name("r"), used)
}

func (x *txn) chain() string { return x.pick("request_id", "oauth_refresh", "active") }

func revokeChain(x *txn) {
	chain := x.chain()
	x.tell("end", `UPDATE oauth_refresh SET active = false WHERE request_id = $1 AND active RETURNING signature`, chain)
	x.tell("end", `DELETE FROM oauth_access WHERE request_id = $1 RETURNING signature`, chain)
}

func revokeHalf(x *txn) {
	x.tell("end", `UPDATE oauth_refresh SET active = false WHERE request_id = $1 AND active RETURNING signature`, x.chain())
}

func deleteAccess(x *txn) {
	x.tell("end", `DELETE FROM oauth_access WHERE signature = $1 RETURNING signature`, x.pick("signature", "oauth_access", "true"))
}

func clientCredentials(x *txn) {
	client := x.client()
	if client == "" {
		return
	}
	x.give(`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ($1, $1, $2, now() + '1 day')`, x.w.name("a"), client)
}

// orphan is a token of a client that has never been there, or is no more.
func orphan(x *txn) {
	x.give(`INSERT INTO oauth_refresh (signature, request_id, client_id, expires_at) VALUES ($1, $1, $2, now() + '1 day')`, x.w.name("r"),
		[]string{"c1", "c2", "again", "never"}[x.w.rng.IntN(4)])
}

func expiredTokens(x *txn) {
	x.give(`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ($1, $1, $2, now() - interval '1 day')`, x.w.name("a"), x.client())
	x.give(`INSERT INTO oauth_refresh (signature, request_id, client_id, expires_at) VALUES ($1, $1, $2, now() - interval '1 day')`, x.w.name("r"), x.client())
}

// janitor cleans up what has no authority any more.
func janitor(x *txn) {
	x.rows(`DELETE FROM oauth_access WHERE expires_at < now()`)
	x.rows(`DELETE FROM oauth_refresh WHERE NOT active OR expires_at < now()`)
	x.rows(`DELETE FROM oauth_code WHERE NOT active`)
}

func newKey(x *txn) {
	x.rows(`DELETE FROM oauth_jwk WHERE kid = $1`, x.pick("kid", "oauth_jwk", "true"))
	x.rows(`INSERT INTO oauth_jwk (kid, alg, keydata) VALUES ($1, 'RS256', 'x')`, x.w.name("j"))
}
