package steps

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
	"github.com/tideover/tideover/replay"
)

// seenWithin is how long green's server may take to show a session in green's database while it is asked.
const seenWithin = 5 * time.Second

// restartGreen is what helps where green's server answers from something else than green's database.
const restartGreen = "start green's server again, on green's database and with the secrets of blue's (a server keeps what it read when it started, such as a network of an earlier copy), then resume"

// greenAnswers asks green's server what green's database knows: one that was started on another database, on an earlier copy or
// with another secret is ready and serves nobody. What no other database can know is planted there for the time of asking.
func (s *cutoverStep) greenAnswers(ctx context.Context, p *Progress) error {
	asked, err := s.env.askAnswers(ctx, p, "", func(a plan.Answer) bool { return !a.Planted() })
	if err != nil {
		return err
	}
	if len(s.env.Profile.HTTP.Plant) > 0 && s.env.Runbook.Green.Admin+s.env.Runbook.Green.Public != "" {
		var not *replay.PlantError
		if err = s.planted(ctx, p); !errors.As(err, &not) {
			return err
		}
		if err := p.Note(ctx, "warn", "green was not asked for something of our own: %v", not); err != nil {
			return err
		}
	}
	if !asked {
		return nil
	}
	return s.seen(ctx)
}

// planted asks for a client and a session that were put into green a moment ago, and into no other database.
func (s *cutoverStep) planted(ctx context.Context, p *Progress) error {
	r, err := s.env.Replayer()
	if err != nil {
		return err
	}
	word := "tideover-" + strings.ToLower(rand.Text())
	return r.Planted(ctx, word, func(ctx context.Context) error {
		_, err := s.env.askAnswers(ctx, p, word, plan.Answer.Planted)
		return err
	})
}

// harmless says whether a question may be asked of a server that serves: it changes nothing, and nothing has to be planted.
func harmless(a plan.Answer) bool {
	return !a.Planted() && (a.Method == "" || a.Method == http.MethodGet)
}

// askAnswers asks green's server those questions of the profile that are wanted, and says whether there was one.
func (e *Env) askAnswers(ctx context.Context, p *Progress, word string, wanted func(plan.Answer) bool) (asked bool, err error) {
	h, side := e.Profile.HTTP, e.Runbook.Green
	for _, q := range h.Answers {
		base, listener := side.Public, h.Public
		if q.Listener == "admin" {
			base, listener = side.Admin, h.Admin
		}
		if base == "" || !wanted(q) {
			continue
		}
		values, err := e.known(ctx, q)
		if err != nil {
			return asked, err
		}
		if len(values) == 0 {
			if err := p.Note(ctx, "info", "green was not asked for %s: green has nothing to ask for", q.Path); err != nil {
				return asked, err
			}
		}
		q.Path, q.Has = strings.ReplaceAll(q.Path, "{word}", word), strings.ReplaceAll(q.Has, "{word}", word)
		for _, v := range values {
			at := base + onGreen(listener, strings.ReplaceAll(q.Path, "{}", url.PathEscape(v)))
			asked = true
			wrong := answers(ctx, at, q)
			if wrong == nil {
				continue
			}
			// What was deleted between the two looks is rightly not known: somebody may be at it.
			if now, err := e.known(ctx, q); err != nil {
				return asked, err
			} else if slices.Contains(now, v) {
				return asked, &guardError{wrong.Error(), restartGreen}
			}
		}
	}
	return asked, nil
}

// known are the values that are put into a question's path.
func (e *Env) known(ctx context.Context, q plan.Answer) ([]string, error) {
	if q.SQL == "" {
		return []string{""}, nil
	}
	var values []string
	err := pgx.BeginTxFunc(ctx, e.Green.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.UseSchema(ctx, tx, "the server's schema", e.Profile.Schema); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, q.SQL)
		if err != nil {
			return err
		}
		values, err = pgx.CollectRows(rows, pgx.RowTo[string])
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("profile: http.answers: %s: %w", q.Path, err)
	}
	return values, nil
}

// onGreen is a path as green has it.
func onGreen(l plan.Listener, path string) string {
	for _, plain := range l.GreenPlain {
		if exact, ok := strings.CutPrefix(plain, "="); path == exact || !ok && strings.HasPrefix(path, plain) {
			return path
		}
	}
	if strings.HasPrefix(path, l.GreenPrefix+"/") {
		return path
	}
	return l.GreenPrefix + path
}

// answers asks one question. The error says what was asked, what came and what should have; a body has secrets in it.
func answers(ctx context.Context, at string, q plan.Answer) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if q.Method == "" {
		q.Method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, q.Method, at, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("green's server does not answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("green's server broke off its answer: %w", err)
	}
	asked := "green's server does not know what green's database has: " + q.Method + " " + at
	if resp.StatusCode != q.Status {
		return fmt.Errorf("%s answers %s, and not %d", asked, resp.Status, q.Status)
	}
	if !strings.Contains(string(body), q.Has) {
		return fmt.Errorf("%s answers %s without %q", asked, resp.Status, q.Has)
	}
	return nil
}

// seen looks for a session of green's server in green's database, while it is asked. A session of another role than ours is there
// without its kind, and background workers have no role.
func (s *cutoverStep) seen(ctx context.Context) error {
	const sql = `SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database() AND usesysid IS NOT NULL
		AND coalesce(backend_type, 'client backend') = 'client backend' AND coalesce(application_name, '') NOT LIKE 'tideover/%')`
	for end := time.Now().Add(seenWithin); ; {
		asked := make(chan error, 1)
		go func() { asked <- s.askGreen(ctx, s.env.Runbook.Green.Admin) }()
		var there bool
		if err := s.env.Green.Pool().QueryRow(ctx, sql).Scan(&there); err != nil {
			return fmt.Errorf("ask green for the sessions of its server: %w", err)
		}
		if err := <-asked; err != nil || there {
			return err
		}
		if time.Now().After(end) {
			return &guardError{"green's server answers, and has no session in green's database: it answers from another one", restartGreen}
		}
	}
}
