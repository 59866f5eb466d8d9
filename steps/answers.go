package steps

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tideover/tideover/internal/postgres"
	"github.com/tideover/tideover/plan"
)

// seenWithin is how long green's server may take to show a session in green's database while it is asked.
const seenWithin = 5 * time.Second

// restartGreen is what helps where green's server answers from something else than green's database.
const restartGreen = "start green's server again, on green's database and with the secrets of blue's (a server keeps what it read when it started, such as a network of an earlier copy), then resume"

// greenAnswers asks green's server what green's database knows: one that was started on another database, on an earlier copy or
// with another secret is ready and serves nobody.
func (s *cutoverStep) greenAnswers(ctx context.Context, p *Progress) error {
	h, side := s.env.Profile.HTTP, s.env.Runbook.Green
	asked := false
	for _, q := range h.Answers {
		base, listener := side.Public, h.Public
		if q.Listener == "admin" {
			base, listener = side.Admin, h.Admin
		}
		if base == "" {
			continue
		}
		values, err := s.known(ctx, q)
		if err != nil {
			return err
		}
		if len(values) == 0 {
			if err := p.Note(ctx, "info", "green was not asked for %s: green has nothing to ask for", q.Path); err != nil {
				return err
			}
		}
		for _, v := range values {
			at := base + onGreen(listener, strings.ReplaceAll(q.Path, "{}", url.PathEscape(v)))
			if err := answers(ctx, at, q.Status); err != nil {
				return &guardError{err.Error(), restartGreen}
			}
			asked = true
		}
	}
	if !asked {
		return nil
	}
	return s.seen(ctx)
}

// known are the values that are put into a question's path.
func (s *cutoverStep) known(ctx context.Context, q plan.Answer) ([]string, error) {
	if q.SQL == "" {
		return []string{""}, nil
	}
	var values []string
	err := pgx.BeginTxFunc(ctx, s.env.Green.Pool(), pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := postgres.UseSchema(ctx, tx, "the server's schema", s.env.Profile.Schema); err != nil {
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

func answers(ctx context.Context, at string, status int) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("green's server does not answer: %w", err)
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)); err != nil {
		return fmt.Errorf("green's server broke off its answer: %w", err)
	}
	if resp.StatusCode != status {
		return fmt.Errorf("green's server does not know what green's database has: %s answers %s, and not %d", at, resp.Status, status)
	}
	return nil
}

// seen looks for a session of green's server in green's database, while it is asked.
func (s *cutoverStep) seen(ctx context.Context) error {
	const sql = `SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()
		AND backend_type IS NOT DISTINCT FROM 'client backend' AND coalesce(application_name, '') NOT LIKE 'tideover/%')`
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
