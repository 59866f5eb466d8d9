package replay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// wayBack lets green serve for a while and then goes back: what was taken away on green must be refused on blue, once
// the reverse replay is through, and nothing else may be.
func (h *history) wayBack(ctx context.Context) error {
	must(NewCapture(h.green, h.profile, plan.Green).Install(ctx, postgres.DefaultBudget()))
	before := slices.Clone(h.model.living())
	consents, clients := maps.Clone(h.model.consents), maps.Clone(h.model.clients)
	w := &writers{rng: h.rng, model: h.model, do: greenAction, prefix: "g"}
	for range 3 {
		conn, err := pgx.Connect(ctx, h.green.DSN())
		must(err)
		defer hangUp(ctx, conn)
		w.free = append(w.free, conn)
	}
	w.impasse = newImpasse(ctx, h.green.DSN(), w.free)
	defer hangUp(ctx, w.impasse.conn)
	w.steps(ctx, 20+h.rng.IntN(40))
	w.endAll(4)
	if err := hold(ctx, h.green, h.model.living()); err != nil {
		return fmt.Errorf("the model of green: %w", err)
	}
	v := NewReverse(h.blue, h.green, h.profile)
	v.batch = 1 + h.rng.IntN(20)
	crashes := 3
	ctx = at(ctx, func(point string) error {
		if crashes > 0 && h.rng.IntN(3) == 0 {
			crashes--
			return fmt.Errorf("%w: %s", errCrash, point)
		}
		return nil
	})
	for {
		_, err := v.Drain(ctx)
		if err == nil {
			break
		}
		if !errors.Is(err, errCrash) {
			return fmt.Errorf("the way back: %w", err)
		}
	}
	found, err := v.Verify(ctx)
	must(err)
	if len(found.Differences) > 0 || found.Captured != found.Verified {
		return fmt.Errorf("the way back: verification: %+v", found)
	}
	return h.back(ctx, before, consents, clients)
}

// back compares blue with what it was at the switch, less what was taken away on green.
func (h *history) back(ctx context.Context, before []string, consents, clients map[string]bool) error {
	alive := make(map[string]bool) // chains
	for s, t := range h.model.tokens {
		alive[t.chain] = alive[t.chain] || h.model.lives(s)
	}
	var want []string
	for _, s := range before {
		if alive[h.model.tokens[s].chain] {
			want = append(want, s)
		}
	}
	if err := hold(ctx, h.blue, want); err != nil {
		return fmt.Errorf("the way back: %w", err)
	}
	for _, kept := range []struct {
		what, sql   string
		then, after map[string]bool
	}{
		{"consent", `SELECT challenge FROM oauth_consent_request`, consents, h.model.consents},
		{"client", `SELECT id FROM oauth_client`, clients, h.model.clients},
	} {
		have := texts1(ctx, h.blue, kept.sql)
		for _, id := range have {
			if !kept.after[id] {
				return fmt.Errorf("the way back: %s %s is still on blue", kept.what, id)
			}
		}
		for id, was := range kept.then {
			if was && kept.after[id] && !slices.Contains(have, id) {
				return fmt.Errorf("the way back: %s %s is not on blue any more", kept.what, id)
			}
		}
	}
	return nil
}

// greenAction does what servers of 2.0 do.
func greenAction(x *txn) {
	switch x.w.rng.IntN(12) {
	case 0, 1, 2:
		greenRotate(x)
	case 3, 4:
		chain := x.chain()
		x.tell("end", `DELETE FROM oauth_refresh WHERE request_id = $1 RETURNING signature`, chain)
		x.tell("end", `DELETE FROM oauth_access WHERE request_id = $1 RETURNING signature`, chain)
	case 5:
		x.tell("end", `DELETE FROM oauth_access WHERE signature = $1 RETURNING signature`, x.pick("signature", "oauth_access", "true"))
	case 6, 7: // a log-out comes first, at times
		consent := x.pick("consent_challenge", "oauth_flow", "consent_challenge IS NOT NULL")
		if x.w.rng.IntN(3) == 0 {
			x.rows(`DELETE FROM oauth_session WHERE id = (SELECT session_id FROM oauth_flow WHERE consent_challenge = $1)`, consent)
		}
		x.tell("no consent", `DELETE FROM oauth_flow WHERE consent_challenge = $1 RETURNING consent_challenge`, consent)
	case 8:
		greenDeleteClient(x)
	case 9:
		x.rows(`DELETE FROM oauth_session WHERE id = $1`, x.pick("id", "oauth_session", "true"))
	case 10:
		x.rows(`DELETE FROM oauth_refresh WHERE NOT active OR expires_at < now()`)
		x.rows(`DELETE FROM oauth_access WHERE expires_at < now()`)
	case 11:
		if client := x.client(); client != "" {
			x.give(`INSERT INTO oauth_access (signature, request_id, client_id, expires_at) VALUES ($1, $1, $2, now() + '1 day')`, x.w.name("a"), client)
		}
	}
}

func greenRotate(x *txn) {
	used := x.pick("signature", "oauth_refresh", "active AND expires_at > now()")
	if used == "" {
		return
	}
	x.rows(`SELECT 1 FROM oauth_refresh WHERE signature = $1 FOR UPDATE`, used)
	x.tell("end", `DELETE FROM oauth_access WHERE request_id = (SELECT request_id FROM oauth_refresh WHERE signature = $1) RETURNING signature`, used)
	x.tell("end", `UPDATE oauth_refresh SET active = false, first_used_at = now() WHERE signature = $1 AND active RETURNING signature`, used)
	x.give(`INSERT INTO oauth_refresh (signature, request_id, client_id, subject, consent_challenge, expires_at)
SELECT $1, request_id, client_id, subject, consent_challenge, now() + '1 day' FROM oauth_refresh WHERE signature = $2`, x.w.name("r"), used)
}

func greenDeleteClient(x *txn) {
	id := x.client()
	x.rows(`SELECT 1 FROM oauth_client WHERE id = $1 FOR UPDATE`, id)
	x.tell("no consent", `SELECT consent_challenge FROM oauth_flow WHERE client_id = $1 AND consent_challenge IS NOT NULL`, id)
	for _, table := range []string{"oauth_refresh", "oauth_access"} { // they go by cascade, and don't come back with the client
		x.tell("end", `SELECT signature FROM `+table+` WHERE client_id = $1`, id)
	}
	x.tell("no client", `DELETE FROM oauth_client WHERE id = $1 RETURNING id`, id)
}
