package e2e

import "github.com/tideover/tideover/internal/lab/mutant"

func changed(name, file, old, new string) mutant.Mutant {
	return mutant.Mutant{Name: name, Edits: []mutant.Edit{{File: file, Old: old, New: new}}}
}

const (
	flowSQL   = "internal/authserver/schema/20002_flow.sql"
	tokensSQL = "internal/authserver/schema/20003_tokens_to_flow.sql"
	clientSQL = "internal/authserver/schema/20006_client_json.sql"
	profile   = "plan/profiles/bundled.yaml"
)

// unwatched switches off what would stop a rule that reaches too far before anybody could see what it did.
func unwatched(m mutant.Mutant) mutant.Mutant {
	m.Edits = append(m.Edits, mutant.Edit{File: "internal/cleanup/healthy.go", Old: "if left != h.rows {", New: "if false {"})
	return m
}

// mutants are mistakes in the product, in a vendor's migrations and in a profile, of kinds that a client, a person or an operator
// would notice. The demo must end red with each of them, by a judge that the mistake does not touch.
var mutants = []mutant.Mutant{
	// The fence lets writers under way go on.
	changed("the fence waits for no writer", "replay/fence.go", "` IN SHARE MODE`", "` IN ACCESS SHARE MODE`"),
	changed("the fence waits for the writers of one table", "replay/fence.go", "	for _, table := range all {\n		if err := f.await(", "	for _, table := range all[:1] {\n		if err := f.await("),
	changed("blue is fenced after the last replay", "cutover/stages.go", "	if err := s.Fence.Raise(ctx, last+fenceOutlasts); err != nil {", "	if err := s.Replay(ctx); err != nil {\n		return err\n	}\n	s.Replay = func(context.Context) error { return nil }\n	if err := s.Fence.Raise(ctx, last+fenceOutlasts); err != nil {"),
	changed("the fence refuses nothing", "replay/fence.go", "IF refused_until OPERATOR(pg_catalog.<>) 0", "IF refused_until OPERATOR(pg_catalog.<) 0"),

	// What was spent can be spent again.
	changed("migrations revive codes", tokensSQL, "DROP TABLE oauth_consent_handled,", "UPDATE oauth_code SET active = true;\nDROP TABLE oauth_consent_handled,"),
	changed("a rule revives codes", profile, "  - name: flow-state\n    phase: after\n", "  - name: codes\n    phase: after\n    description: x\n    table: oauth_code\n    where: NOT t.active\n    fix: [UPDATE oauth_code SET active = true WHERE NOT active]\n    repair: true\n\n  - name: flow-state\n    phase: after\n"),
	changed("migrations revive refresh tokens", tokensSQL, "DROP TABLE oauth_consent_handled,", "UPDATE oauth_refresh SET active = true;\nDROP TABLE oauth_consent_handled,"),

	// A rule changes more than it names.
	changed("a rule changes all clients", profile, "UPDATE oauth_client t SET owner = 'unknown' WHERE t.owner = ''", "UPDATE oauth_client t SET owner = 'unknown'"),
	unwatched(changed("a rule changes all clients, unwatched", profile, "UPDATE oauth_client t SET owner = 'unknown' WHERE t.owner = ''", "UPDATE oauth_client t SET owner = 'unknown'")),
	changed("a rule ends living sessions", profile, "  - name: flow-state\n    phase: after\n", "  - name: old\n    phase: after\n    description: x\n    table: oauth_refresh\n    where: t.requested_at < now() - interval '1 day' AND t.active\n    fix: [UPDATE oauth_refresh t SET active = false WHERE t.requested_at < now() - interval '1 day' AND t.active]\n    repair: true\n\n  - name: flow-state\n    phase: after\n"),

	// Who said no has said yes.
	{Name: "migrations make refused consents valid", Edits: []mutant.Edit{
		{File: flowSQL, Old: "CASE WHEN ch.error = '{}' THEN NULL ELSE ch.error::jsonb END", New: "NULL"},
		{File: flowSQL, Old: "        WHEN ch.error IS NOT NULL THEN 129\n", New: ""},
	}},
	changed("a rule makes refused consents valid", profile, "  - name: flow-state\n    phase: after\n", "  - name: consents\n    phase: after\n    description: x\n    table: oauth_flow\n    where: t.consent_error IS NOT NULL\n    fix: [UPDATE oauth_flow SET consent_error = NULL WHERE consent_error IS NOT NULL]\n    repair: true\n\n  - name: flow-state\n    phase: after\n"),
	{Name: "refused consents become remembered ones of all scopes", Edits: []mutant.Edit{
		{File: flowSQL, Old: "coalesce(ch.granted_scope, '')", New: "CASE WHEN ch.granted_scope = '' THEN lr.requested_scope ELSE coalesce(ch.granted_scope, '') END"},
		{File: flowSQL, Old: "coalesce(ch.remember, false)", New: "coalesce(ch.remember OR ch.granted_scope = '', false)"},
		{File: flowSQL, Old: "CASE WHEN ch.error = '{}' THEN NULL", New: "CASE WHEN ch.error = '{}' OR ch.granted_scope = '' THEN NULL"},
		{File: flowSQL, Old: "WHEN ch.error IS NOT NULL THEN 129", New: "WHEN ch.error IS NOT NULL AND ch.granted_scope <> '' THEN 129"},
	}},

	// Sessions lose what binds them.
	changed("migrations lose session links", flowSQL, "SELECT id FROM oauth_network LIMIT 1), lr.client_id, lr.session_id,", "SELECT id FROM oauth_network LIMIT 1), lr.client_id, NULL,"),
	changed("a rule loses session links", profile, "  - name: flow-state\n    phase: after\n", "  - name: links\n    phase: after\n    description: x\n    table: oauth_flow\n    where: t.session_id IS NOT NULL\n    fix: [UPDATE oauth_flow SET session_id = NULL WHERE session_id IS NOT NULL]\n    repair: true\n\n  - name: flow-state\n    phase: after\n"),

	changed("deltas lose session links", "replay/merge.go", "		if err := r.setAside(ctx, tx, s, d);", "		if rel.name == \"oauth_flow\" {\n			if _, err := tx.Exec(ctx, `UPDATE `+s.temp+` SET session_id = NULL`); err != nil {\n				return nil, err\n			}\n		}\n		if err := r.setAside(ctx, tx, s, d);"),

	// What a person would look up is gone.
	changed("migrations lose request URLs", flowSQL, "lr.skip, lr.request_url, lr.requested_scope,", "lr.skip, '', lr.requested_scope,"),
	changed("migrations shorten request URLs", flowSQL, "lr.skip, lr.request_url, lr.requested_scope,", "lr.skip, left(lr.request_url, 40), lr.requested_scope,"),
	changed("migrations lose when consents were given", flowSQL, "coalesce(ch.was_used, false), ch.handled_at,", "coalesce(ch.was_used, false), CASE WHEN ch.handled_at IS NULL THEN NULL ELSE now() END,"),
	changed("migrations lose the extra claims of tokens", flowSQL, "coalesce(ch.session_access_token, '{}')::jsonb,", "'{}'::jsonb,"),
	changed("migrations lose that a consent is remembered", flowSQL, "coalesce(ch.remember, false), coalesce(ch.remember_for, 0)", "false, coalesce(ch.remember_for, 0)"),
	changed("migrations lose the audience of clients", clientSQL, "ALTER COLUMN audience TYPE jsonb USING audience::jsonb, ALTER COLUMN audience SET DEFAULT '[]';\nALTER TABLE oauth_client_details", "ALTER COLUMN audience TYPE jsonb USING '[]'::jsonb, ALTER COLUMN audience SET DEFAULT '[]';\nALTER TABLE oauth_client_details"),
	changed("migrations lose contacts", clientSQL, "ALTER COLUMN contacts TYPE jsonb USING contacts::jsonb", "ALTER COLUMN contacts TYPE jsonb USING '[]'::jsonb"),
	changed("migrations double redirect URIs", clientSQL, "ALTER COLUMN redirect_uris TYPE jsonb USING redirect_uris::jsonb", "ALTER COLUMN redirect_uris TYPE jsonb USING redirect_uris::jsonb || redirect_uris::jsonb"),
	changed("migrations let tokens live a day longer", tokensSQL, "DROP TABLE oauth_consent_handled,", "UPDATE oauth_access SET expires_at = expires_at + interval '1 day';\nDROP TABLE oauth_consent_handled,"),
	changed("migrations lose the links of tokens", tokensSQL, "UPDATE oauth_refresh t SET consent_challenge = NULL WHERE NOT EXISTS (SELECT 1 FROM oauth_flow f WHERE f.consent_challenge = t.consent_challenge);", "UPDATE oauth_refresh t SET consent_challenge = NULL;"),
	changed("migrations widen scopes", tokensSQL, "DROP TABLE oauth_consent_handled,", "UPDATE oauth_access SET scope = scope || ' admin';\nDROP TABLE oauth_consent_handled,"),
	changed("migrations give sessions to the wrong people", flowSQL, "lr.client_id, lr.session_id, lr.subject,", "lr.client_id, lr.session_id, lower(lr.subject || 'x'),"),

	// Lifetimes stay raised.
	changed("lifetimes stay raised on green", "steps/tokenlifetimes.go", "	return true, s.restore(ctx, p.State(), side)", "	_ = side\n	return true, nil"),
	changed("lifetimes are restored on blue", "steps/tokenlifetimes.go", "	side := s.env.Green\n", "	side := s.env.Blue\n"),
	changed("lifetimes are restored a second off", "steps/tokenlifetimes.go", "		if err := writeLifetime(ctx, side, s.env.Profile, id, was); err != nil {\n			return err\n		}\n	}\n	return nil", "		off := int64(3601)\n		if was != nil {\n			off = *was + 1\n		}\n		was = &off\n		if err := writeLifetime(ctx, side, s.env.Profile, id, was); err != nil {\n			return err\n		}\n	}\n	return nil"),

	// Clients wait for a lock.
	changed("the fence is put up slowly", "replay/fence.go", "		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)\n		return err\n	})\n}\n\n// Raised", "		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)\n		if strings.Contains(sql, `TRIGGER tideover_fence BEFORE`) && strings.Contains(sql, `\"oauth_refresh\"`) {\n			time.Sleep(2500 * time.Millisecond)\n		}\n		return err\n	})\n}\n\n// Raised"),
	changed("the fence is taken off slowly", "replay/fence.go", "		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)\n		return err\n	})\n}\n\n// Raised", "		_, err := tx.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol)\n		if strings.Contains(sql, `DROP TRIGGER IF EXISTS tideover_fence ON`) && strings.Contains(sql, `\"oauth_client\"`) {\n			time.Sleep(2500 * time.Millisecond)\n		}\n		return err\n	})\n}\n\n// Raised"),
	changed("lifetimes are raised under a lock", "steps/tokenlifetimes.go", "	var longest int64\n	err = ", "	if err := s.env.Blue.InSchema(ctx, s.env.Profile.Schema, func(tx pgx.Tx) error {\n		_, err := tx.Exec(ctx, `LOCK TABLE oauth_client IN ACCESS EXCLUSIVE MODE`)\n		time.Sleep(2500 * time.Millisecond)\n		return err\n	}); err != nil {\n		return err\n	}\n	var longest int64\n	err = "),

	// The run leaves things behind.
	changed("capture stays on green", "steps/retire.go", "	if err := replay.NewCapture(s.env.Green, s.env.Profile, plan.Green).Remove(ctx, s.env.budget()); err != nil {\n		return err\n	}\n", ""),
	changed("the fence stays on green", "steps/retire.go", "	if err := s.env.greenFence().Remove(ctx, s.env.budget()); err != nil {\n		return err\n	}\n", ""),
	changed("capture stays on blue", "steps/retire.go", "	if err := s.env.source().Remove(ctx, s.env.budget()); err != nil {\n		return err\n	}\n", ""),
	changed("scratch databases stay", "steps/retire.go", "		if err := r.Close(ctx); err != nil {", "		r.Disconnect()\n		if err := error(nil); err != nil {"),

	// Changes do not come over.
	changed("inserts are not captured", "replay/trigger.go", `record("I", "NEW")+";"`, `"NULL;"`),
	changed("updates are not captured", "replay/trigger.go", `record("U", "OLD")+";"`, `"NULL;"`),
	changed("deletes are not captured", "replay/trigger.go", `record("D", "OLD")+";"`, `"NULL;"`),
	changed("nothing is deleted from green", "replay/merge.go", "if n, err = r.remove(ctx, tx, stages, d, gone.keys);", "if n, err = 0, error(nil);"),
	changed("a row of each delta is lost", "replay/merge.go", `"SELECT "+columns+" FROM "+rel.rows(), tx.Conn()`, `"SELECT "+columns+" FROM "+rel.rows()+" OFFSET 1", tx.Conn()`),
	changed("a row that is there stays as it is", "replay/stage.go", "\tif len(set) == 0 {\n\t\treturn sql + \"NOTHING\"", "\tif len(set) >= 0 {\n\t\treturn sql + \"NOTHING\""),
	changed("the last changes are not replayed", "steps/cutover.go", "	applied, err := r.Drain(ctx)\n	if err != nil {\n		return err\n	}\n	if len(applied.Parked) > 0 {", "	applied, err := replay.Applied{}, error(nil)\n	if err != nil {\n		return err\n	}\n	if len(applied.Parked) > 0 {"),
	{Name: "a copy ends early", Edits: []mutant.Edit{
		{File: "internal/snapshot/relation.go", Old: "FROM %s%s t%s\", list", New: "FROM %s%s t%s LIMIT 40\", list"},
		{File: "internal/snapshot/relation.go", Old: "	if r.root || condition != \"\" {", New: "	if true {"},
	}},

	// The router.
	{Name: "writes are not held", Edits: []mutant.Edit{ // one that the fence refuses would be sent again, and nobody harmed
		{File: "cutover/router/gate.go", Old: "	for g.phase == Holding || (g.phase == Draining && newLogin) {", New: "	for g.phase == Draining && newLogin {"},
		{File: "cutover/router/exchange.go", Old: "		if err != nil || !fenced(resp) {", New: "		if err != nil || resp != nil {"},
	}},
	changed("reads go to green while requests are held", "cutover/router/exchange.go", "	req.URL = &to\n	x.listener.aim(req.URL, side)", "	req.URL = &to\n	if !x.class.waits() && x.router.gate.holding() {\n		side = plan.Green\n	}\n	x.listener.aim(req.URL, side)"),
	changed("reads stay with blue", "cutover/router/exchange.go", "	req.URL = &to\n	x.listener.aim(req.URL, side)", "	req.URL = &to\n	if !x.class.waits() {\n		side = plan.Blue\n	}\n	x.listener.aim(req.URL, side)"),
	changed("the router sends a body no second time", "cutover/router/exchange.go", "	if len(body) > 0 {", "	if len(body) > 0 && !x.outcome.wasHeld {"),
	changed("refreshes are not coalesced", "cutover/router/coalesce.go", `form.Get("grant_type") != "refresh_token"`, `form.Get("grant_type") == "refresh_token"`),
	changed("coalesced answers outlive revocations", "cutover/router/coalesce.go", "f.cleared < doubts\n", "f.cleared > doubts\n"),
	changed("strangers get a coalesced answer", "cutover/router/coalesce.go", "c.key(append(parts, form.Encode())...)", "c.key(form.Get(\"client_id\"))"),
	changed("answers may be kept by caches", "cutover/router/exchange.go", "	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {", "	if x.outcome.side == plan.Green {\n		resp.Header.Del(\"Cache-Control\")\n	}\n	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {"),
	changed("coalesced answers may be kept by caches", "cutover/router/coalesce.go", "header: a.header.Clone()", "header: func() http.Header { h := a.header.Clone(); h.Del(`Cache-Control`); return h }()"),
	changed("answers say nothing of their kind", "cutover/router/exchange.go", "	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {", "	if x.outcome.side == plan.Green {\n		resp.Header.Set(\"Content-Type\", \"text/plain\")\n	}\n	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {"),
	changed("scripts can read cookies", "cutover/router/exchange.go", "	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {", "	if cookies := resp.Header.Values(\"Set-Cookie\"); x.outcome.side == plan.Green {\n		for i := range cookies {\n			cookies[i] = string(bytes.ReplaceAll([]byte(cookies[i]), []byte(\"; HttpOnly\"), nil))\n		}\n	}\n	x.outcome.status = resp.StatusCode\n	if x.listener.name == \"public\" && x.class == Login {"),

	// Green's server.
	changed("green takes spent codes", "internal/authserver/store/token.go", "`UPDATE oauth_code SET active = false WHERE signature = $1`", "`UPDATE oauth_code SET active = true WHERE signature = $1`"),
	changed("green lists refused consents", "internal/authserver/store/flow_second.go", " WHERE subject = $1 AND state = 6 AND NOT consent_skip\n\t\tAND consent_error IS NULL AND", " WHERE subject = $1 AND state IN (6, 129) AND NOT consent_skip\n\t\tAND"),
	changed("green tells nothing of a consent's login", "internal/authserver/store/flow_second.go", "login_challenge, session_id,\n\tclient_id,", "login_challenge, NULL::text AS session_id,\n\tclient_id,"),
	changed("green tells no request URLs", "internal/authserver/store/flow_second.go", "acr, request_url, requested_scope, oidc_context::text AS oidc_context,", "acr, '' AS request_url, requested_scope, oidc_context::text AS oidc_context,"),
	changed("green's answers may be kept", "internal/authserver/server.go", `rec.Header().Set("Cache-Control", "no-store")`, `if s.generation.admin == "" { rec.Header().Set("Cache-Control", "no-store") }`),
	changed("log-out ends no session", "internal/authserver/store/session.go", "`DELETE FROM oauth_session WHERE id = $1`", "`DELETE FROM oauth_session WHERE id = $1 AND false`"),
	changed("green takes any secret", "internal/authserver/secrets.go", "return bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret))", "_ = bcrypt.CompareHashAndPassword([]byte(hash), []byte(secret))\n\t\treturn nil"),
}
